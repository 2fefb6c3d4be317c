"""From a published checkpoint to a model folder, or to one error that lists everything that is wrong.

Recognise the layout, put the config together, match every tensor to a rule, look at every value, and only then write:
tensor by tensor, under a temporary name, renamed at the end.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from vtcd_jax.models import files, registry, store
from vtcd_jax.models.errors import InputError
from vtcd_jax.models.types import Model, Preprocessing

from .containers import Container, open_checkpoint, read_json
from .labels import read_labels
from .layouts import State, recognise
from .report import ConversionReport
from .rules import Plan, make, plan, value_problems
from .settings import Told, combine, translate

FORMATS = ("safetensors", "orbax")
MAX_PROBLEMS = 200


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    family: str | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    labels: str | Path | Sequence[str] | Mapping[Any, Any] | None = None,
    format: str = "safetensors",
    overwrite: bool = False,
    dry_run: bool = False,
) -> ConversionReport:
    """Converts a checkpoint into a model folder for ``vtcd_jax.models.load``.

    checkpoint: a ``.safetensors`` or torch zip file, or a Hugging Face folder.
    out:        the folder to make.
    family:     convert only as this family; by default it is recognised.
    config:     settings (a JSON file or a dict, in our names or the source's) that tensors cannot tell.
    labels:     class names (see ``read_labels``); by default those of a ``config.json``, else "class_0", ….
    format:     "safetensors", or "orbax" for a sharded checkpoint.
    overwrite:  replace ``out`` if it is a model folder.
    dry_run:    check everything, write nothing.
    Raises InputError with all problems at once; then nothing is written. Raises OSError when writing fails.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    if not dry_run:
        _check_out(Path(out), Path(checkpoint), overwrite)
    container = open_checkpoint(checkpoint)
    state = recognise(container.content, str(container.path), family)
    settings, kind = _told(container, state, config), registry.family(state.layout.family)
    fields, assumed, problems = _fields(state, settings)
    network, preprocessing = None, None
    if not problems:
        network = kind.config(**fields)
        problems = state.layout.check(network)
    if network is not None and not problems:
        preprocessing, problems = _preprocessing(kind.preprocessing(network), settings)
        if not any("stride" in told.preprocessing for _, told in settings):
            assumed.append(f"stride = {preprocessing.stride} (frames between samples: the family's default)")
    shapes = None
    if network is not None and not problems:
        shapes = {name: tuple(s.shape) for name, s in files.flatten(registry.param_shapes(network)).items()}
    planned = plan(state.tensors, state.names, state.layout.rules, shapes)
    problems += planned.problems
    problems += value_problems(state.tensors, state.names, state.layout.rules)
    names, label_problems = _labels(labels, container, state, network)
    problems += label_problems
    if problems or network is None or preprocessing is None or shapes is None:
        raise InputError(_message(container, state, problems))
    report = ConversionReport(
        family=state.layout.family,
        layout=state.layout.name,
        why=f"{container.kind}, {state.where}",
        rows=planned.rows,
        ignored=state.ignored | planned.ignored,
        assumed=tuple(assumed),
        config=network,
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        labels=names,
        out=None if dry_run else Path(out),
    )
    if not dry_run:
        model = Model({}, kind.module(network), network, preprocessing, names, Path(out).name)
        _write(model, planned, shapes, Path(out), _manifest(container, report), format, overwrite)
    return report


# -- settings ------------------------------------------------------------------------------------------------------
def _told(container: Container, state: State, config: str | Path | Mapping[str, Any] | None) -> list[tuple[str, Told]]:
    """(who says it, what), from the least to the most trusted."""
    layout = state.layout
    config_class = registry.family(layout.family).config
    told: list[tuple[str, Told]] = []
    if state.arguments:
        said = translate(state.arguments, layout.vocabulary, config_class, "the checkpoint", strict=False)
        told.append(("the checkpoint's arguments", dataclasses.replace(said, preprocessing={})))
    beside = container.beside("config.json") if layout.model_type is not None else None
    if beside is not None and beside.get("model_type", layout.model_type) == layout.model_type:
        told.append(("config.json", translate(beside, layout.vocabulary, config_class, "config.json")))
        told.append(("preprocessor_config.json", _hub_preprocessing(container)))
    elif beside is not None:
        problem = f"config.json beside it is for {beside['model_type']!r}, not for {layout.model_type!r}"
        told.append(("config.json", Told({}, {}, (problem,))))
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


def _fields(state: State, settings: list[tuple[str, Told]]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Config fields, assumptions and problems from the tensors and all that was told."""
    problems = [problem for _, told in settings for problem in told.problems]
    config_class = registry.family(state.layout.family).config
    try:
        by_tensors = state.layout.sizes({name: tensor.shape for name, tensor in state.tensors.items()})
    except InputError as error:
        return {}, [], [*problems, str(error)]
    told: dict[str, tuple[Any, str]] = {}
    for source, said in settings:
        # A program's arguments may describe another stage of the training; the tensors know better.
        lenient = source == "the checkpoint's arguments"
        told |= {n: (v, source) for n, v in said.fields.items() if not (lenient and n in by_tensors)}
    known = {n: v for n, (v, _) in told.items()} | by_tensors
    fields, assumed, more = combine(state.layout.family, config_class, by_tensors, told, state.layout.assume(known))
    return fields, assumed, problems + more


def _preprocessing(default: Preprocessing, settings: list[tuple[str, Told]]) -> tuple[Preprocessing, list[str]]:
    fields: dict[str, Any] = {}
    problems: list[str] = []
    for source, told in settings:
        for name, value in told.preprocessing.items():
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


def _labels(
    labels: str | Path | Sequence[str] | Mapping[Any, Any] | None,
    container: Container,
    state: State,
    config: Any,
) -> tuple[tuple[str, ...], list[str]]:
    count = getattr(config, "num_classes", None)
    if count is None:
        return (), [] if labels is None or config is None else [f"{config.family} has no classes; leave the labels out"]
    if labels is None and state.layout.model_type is not None:
        labels = (container.beside("config.json") or {}).get("id2label")
    try:
        return (tuple(f"class_{i}" for i in range(count)) if labels is None else read_labels(labels, count)), []
    except InputError as error:
        return (), [str(error)]


# -- messages and files --------------------------------------------------------------------------------------------
def _message(container: Container, state: State, problems: Sequence[str]) -> str:
    problems = list(dict.fromkeys(problems))
    shown = problems[:MAX_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(f"… and {len(problems) - len(shown)} more")
    recognised = f"{state.layout.family}, {state.layout.name}; {state.where}"
    return f"cannot convert {container.path} (recognised as {recognised}):\n  " + "\n  ".join(shown)


def _check_out(out: Path, checkpoint: Path, overwrite: bool) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise InputError(f"{out} exists; choose another folder or pass --overwrite")
    if not out.is_dir() or (any(out.iterdir()) and not (out / "manifest.json").exists()):
        raise InputError(f"{out} is no model folder, so it is not overwritten; choose another folder")
    if out.resolve() in (checkpoint.resolve(), *checkpoint.resolve().parents):
        raise InputError(f"{out} holds the checkpoint itself; choose another folder")


def _manifest(container: Container, report: ConversionReport) -> dict[str, Any]:
    """Where the parameters come from. No dates and no paths: the same checkpoint gives the same bytes."""
    versions = {}
    for package in ("vtcd-jax", "jax", "flax", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "source": container.path.name,
        "source_sha256": container.hashes(),
        "family": report.family,
        "layout": report.layout,
        "why": report.why,
        "assumed": list(report.assumed),
        "parameters": report.parameters,
        "licence": "that of the source checkpoint",
        "versions": versions,
    }


def _write(
    model: Model,
    planned: Plan,
    shapes: Mapping[str, tuple[int, ...]],
    out: Path,
    manifest: dict[str, Any],
    format: str,
    overwrite: bool,
) -> None:
    """Safetensors are made and written one by one; Orbax takes the whole tree."""
    if format == "safetensors":
        lazy = {name: (shapes[name], "float32", lambda f=fill: make(f)) for name, fill in planned.fills.items()}
        store.save(
            dataclasses.replace(model, params=files.unflatten(lazy)), out, manifest=manifest, overwrite=overwrite
        )
        return
    import orbax.checkpoint as ocp

    params = files.unflatten({name: make(fill) for name, fill in planned.fills.items()})
    with files.replacing_folder(out) as new:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((new / "params").resolve(), params)
            checkpointer.wait_until_finished()
        store.write_description(new, model, manifest)
