"""Which network a checkpoint holds: config, preprocessing and class names, from all that is told about it.

Told by, from the least to the most trusted: the training program's arguments in the checkpoint, a ``config.json``
beside the weights, settings in the checkpoint itself, the tensors' shapes, and the user.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError
from vtcd_jax.models import registry
from vtcd_jax.models.types import Preprocessing

from .files.containers import Container, read_json
from .labels import read_labels
from .layouts import State
from .tables.settings import Combined, Problem, Told, combine, translate
from .vocabulary import takes_text

ARGUMENTS = "the checkpoint's arguments"
Config = str | Path | Mapping[str, Any] | None
Labels = str | Path | Sequence[str] | Mapping[Any, Any] | None


@dataclass(frozen=True)
class Network:
    """What is known about a network before its values are read.

    config, preprocessing: None where problems with the settings stand in the way.  labels: class names in logit order.
    assumed, changed, problems: in words.
    """

    config: Any
    preprocessing: Preprocessing | None
    labels: tuple[str, ...]
    assumed: tuple[str, ...]
    changed: tuple[str, ...]
    problems: tuple[str, ...]


def describe(container: Container, state: State, config: Config, labels: Labels) -> Network:
    """Everything that can be told without reading values. config, labels: the user's, as in ``convert``."""
    settings, kind = _told(container, state, config), registry.family(state.layout.family)
    combined = _fields(state, settings, by_user=config is not None)
    assumed, problems = list(combined.assumed), list(combined.problems)
    network, preprocessing = None, None
    if not problems:
        network = kind.config(**combined.fields)
        problems = list(state.layout.check(network))
    if network is not None and not problems:
        preprocessing, problems = _preprocessing(kind.preprocessing(network), settings, config is not None)
        strides = [source for source, told in settings if "stride" in told.preprocessing]
        if strides:
            assumed.append(f"stride = {preprocessing.stride} (told by {strides[-1]})")
        else:
            assumed.append(f"stride = {preprocessing.stride} (frames between samples: the family's default)")
    names, label_problems = _labels(labels, container, state, network)
    return Network(
        config=network,
        preprocessing=None if problems else preprocessing,
        labels=names,
        assumed=tuple(assumed),
        changed=combined.changed,
        problems=(*problems, *label_problems),
    )


def _told(container: Container, state: State, config: Config) -> list[tuple[str, Told]]:
    """(who says it, what), from the least to the most trusted."""
    layout = state.layout
    config_class = registry.family(layout.family).config
    told: list[tuple[str, Told]] = []
    if state.arguments:
        said = translate(state.arguments, layout.vocabulary, config_class, ARGUMENTS, strict=False)
        stride = {name: value for name, value in said.preprocessing.items() if name == "stride"}
        told.append((ARGUMENTS, dataclasses.replace(said, preprocessing=stride)))
    beside = container.beside("config.json") if layout.model_type is not None else None
    if beside is not None and beside.get("model_type", layout.model_type) == layout.model_type:
        told.append(("config.json", translate(beside, layout.vocabulary, config_class, "config.json")))
        told.append(("preprocessor_config.json", _hub_preprocessing(container)))
    elif beside is not None:
        problem = f"config.json beside it is for {beside['model_type']!r}, not for {layout.model_type!r}"
        told.append(("config.json", Told({}, {}, (Problem(problem, frozenset({"model_type"})),))))
    if layout.side is not None and (found := container.beside(layout.side[0])) is not None:
        name, settings_of = layout.side
        told.append((name, translate(settings_of(found), layout.vocabulary, config_class, name)))
    if config is not None:
        name = str(config) if isinstance(config, (str, Path)) else "config"
        value = read_json(config) if isinstance(config, (str, Path)) else config
        if not isinstance(value, Mapping):
            raise InputError(f"{name} holds no JSON object; give settings by name")
        told.append((name, translate(value, layout.vocabulary, config_class, name)))
    return told


def _hub_preprocessing(container: Container) -> Told:
    found = container.beside("preprocessor_config.json") or {}
    return Told(
        {},
        {ours: found[name] for name, ours in (("image_mean", "mean"), ("image_std", "std")) if name in found},
    )


def _fields(state: State, settings: list[tuple[str, Told]], by_user: bool) -> Combined:
    """Config fields from the tensors and all that was told; the last of ``settings`` may be the user's."""
    # What the user says goes before what a file says, also where the file's word would be refused.
    users_words = settings[-1][1].said if by_user else frozenset()
    problems = tuple(
        problem.text
        for i, (_, told) in enumerate(settings)
        for problem in told.problems
        if (by_user and i == len(settings) - 1) or not problem.names & users_words
    )
    config_class = registry.family(state.layout.family).config
    try:
        by_tensors = state.layout.sizes({name: tensor.shape for name, tensor in state.tensors.items()})
    except InputError as error:
        return Combined({}, (), (), (*problems, str(error)))
    told: dict[str, tuple[Any, str]] = {}
    for source, said in settings:
        # A program's arguments may describe another stage of the training; the tensors know better.
        told |= {n: (v, source) for n, v in said.fields.items() if not (source == ARGUMENTS and n in by_tensors)}
    users = settings[-1][1].fields if by_user else {}
    free = set(state.layout.resizable) & set(users)
    known = by_tensors | {n: v for n, (v, _) in told.items() if n in free or n not in by_tensors}
    found = combine(state.layout.family, config_class, by_tensors, told, state.layout.assume(known), free)
    changed = found.changed + tuple(
        f"{name} {said.fields[name]} -> {value} ({source} says {said.fields[name]})"
        for name, value in users.items()
        for source, said in settings[:-1]
        if name not in by_tensors and said.fields.get(name, value) != value
    )
    return dataclasses.replace(found, changed=changed, problems=problems + found.problems)


def _preprocessing(
    default: Preprocessing, settings: list[tuple[str, Told]], by_user: bool
) -> tuple[Preprocessing, list[str]]:
    fields: dict[str, Any] = {}
    problems: list[str] = []
    users = settings[-1][1].preprocessing if by_user else {}
    for i, (source, told) in enumerate(settings):
        for name, value in told.preprocessing.items():
            if name in users and i < len(settings) - 1:
                continue
            fitted = value if name == "stride" and type(value) is int and value > 0 else _colours(name, value)
            if fitted is None:
                problems.append(f"{source} says {name} = {value!r}, which is no valid preprocessing")
            else:
                fields[name] = fitted
    return dataclasses.replace(default, **fields), problems


def _colours(name: str, value: Any) -> tuple[float, ...] | None:
    """Three finite numbers, above zero for ``std``; else None."""
    if name == "stride" or not isinstance(value, (list, tuple)) or len(value) != 3:
        return None
    lowest = 0.0 if name == "std" else -1e6
    return tuple(map(float, value)) if all(type(v) in (int, float) and lowest < v < 1e6 for v in value) else None


def _labels(labels: Labels, container: Container, state: State, config: Any) -> tuple[tuple[str, ...], list[str]]:
    count = getattr(config, "num_classes", None)
    if takes_text(config):
        try:
            return (() if labels is None else read_labels(labels)), []
        except InputError as error:
            return (), [str(error)]
    if count is None:
        return (), [] if labels is None or config is None else [f"{config.family} has no classes; leave the labels out"]
    if labels is None and state.layout.model_type is not None:
        labels = (container.beside("config.json") or {}).get("id2label")
    try:
        return (tuple(f"class_{i}" for i in range(count)) if labels is None else read_labels(labels, count)), []
    except InputError as error:
        return (), [str(error)]
