"""From the settings of other code bases to our configs.

A network's config is put together from what its tensors tell, what the user, a ``config.json`` or the checkpoint's own
arguments tell (in that order of trust), and assumptions, each of which is named in the report. A setting that would
change the maths in a way our network cannot follow is refused.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from vtcd_jax.base.errors import nearest


@dataclass(frozen=True)
class Vocabulary:
    """Foreign names of settings.

    aliases: their name -> our field, or several.  Our own names need no entry. Settings inside another one are called
             "vision_config.hidden_size".
    fixed:   their name -> the values with which our network is the same; others are refused.
    ignored: pattern of names without effect on the network's output, or told better by the tensors.
    values:  their name -> their value as ours, where they differ; ValueError for one that we do not have.
    defaults: their name -> its value in a group of settings ("vision_config") that is there and does not say it.
    """

    aliases: Mapping[str, str | tuple[str, ...]]
    fixed: Mapping[str, tuple[Any, ...]]
    ignored: str
    values: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


# What every Hugging Face config may say without a bearing on the network.
HUB_IGNORED = (
    r"_.*|architectures|model_type|transformers_version|torch_dtype|dtype|id2label|label2id|problem_type|initializer_range"
    r"|.*drop(out)?(_prob|_rate|_path_rate)?|return_dict|output_.*|torchscript|use_bfloat16|use_cache|pruned_heads|tie_.*"
    r"|is_.*|cross_attention.*|add_cross_attention|chunk_size_feed_forward|finetuning_task|task_specific_params|prefix"
    r"|tokenizer_class|.*_token_id|gradient_checkpointing|attn_implementation|name_or_path|auto_map|pipeline_tag"
)
# What the project's reference files say beside the settings.
NOTES = (
    r"model|hf_class|batch|seed|ablations|variants|torch|transformers|state_dict_keys|parameters|names_only_in_.*"
    r"|max_abs_.*"
)
PREPROCESSING = {
    "stride": "stride",
    "sampling_rate": "stride",
    "frame_sample_rate": "stride",
    "mean": "mean",
    "std": "std",
}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a setting. names: the setting's, and those of our fields that it would fill."""

    text: str
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Told:
    """Settings that somebody told, in our names: config fields, preprocessing fields, and what is wrong.

    said: every name that was given, and our fields that it stands for.
    """

    fields: dict[str, Any]
    preprocessing: dict[str, Any]
    problems: tuple[Problem, ...] = ()
    said: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Combined:
    """A network's settings. fields: of its config.  assumed, changed, problems: in words."""

    fields: dict[str, Any]
    assumed: tuple[str, ...]
    changed: tuple[str, ...]
    problems: tuple[str, ...]


def translate(
    settings: Mapping[str, Any],
    vocabulary: Vocabulary,
    config_class: type,
    source: str,
    *,
    strict: bool = True,
) -> Told:
    """Foreign settings in our names.

    config_class: the family's config dataclass.  source: who says it, for messages.
    strict: refuse what is neither known nor known to be harmless (a program's arguments are read leniently).
    """
    own = {f.name: f.default for f in dataclasses.fields(config_class)}
    fields: dict[str, Any] = {}
    preprocessing: dict[str, Any] = {}
    by: dict[str, tuple[str, Any]] = {}
    problems: list[Problem] = []
    said: set[str] = set()
    for name, value in _flat(settings, vocabulary).items():
        targets = vocabulary.aliases.get(name, name)
        targets = [t for t in ((targets,) if isinstance(targets, str) else targets) if t in own]
        names = frozenset((name, *targets))
        said |= names
        if name == "preprocessing" and isinstance(value, dict):
            preprocessing |= {k: v for k, v in value.items() if k in PREPROCESSING.values()}
        elif name in PREPROCESSING and not targets:
            target = PREPROCESSING[name]
            said.add(target)
            problems += _clash(by, target, name, value, source)
            preprocessing[target] = value
        elif name in vocabulary.fixed:
            if strict and value not in vocabulary.fixed[name]:
                good = " or ".join(map(repr, vocabulary.fixed[name]))
                problems.append(
                    Problem(f"{source} says {name} = {value!r}, which is not supported (only {good})", names)
                )
        elif targets:
            try:
                ours = vocabulary.values.get(name, lambda same: same)(value)
            except ValueError as error:
                problems.append(Problem(f"{source} says {name} = {value!r}, which is not supported ({error})", names))
                continue
            for target in targets:
                fitted = _fit(ours, own[target])
                if fitted is None and strict:
                    text = f"{source} says {name} = {value!r}, expected {type(own[target]).__name__}"
                    problems.append(Problem(text, names))
                elif fitted is not None:
                    problems += _clash(by, target, name, fitted, source) if strict else []
                    fields[target] = fitted
        elif strict and not re.fullmatch(f"{vocabulary.ignored}|{NOTES}", name.rpartition(".")[2]):
            near = nearest(name, [*own, *vocabulary.aliases])
            problems.append(Problem(f"{source} has the setting {name!r}, which is not known; nearest: {near}", names))
    return Told(fields, preprocessing, tuple(problems), frozenset(said))


def _clash(by: dict[str, tuple[str, Any]], target: str, name: str, value: Any, source: str) -> list[Problem]:
    """What is wrong where another setting of the same source filled ``target`` with another value."""
    other, before = by.setdefault(target, (name, value))
    if before == value:
        return []
    text = f"{source} says {other} = {before!r} and {name} = {value!r}, but this network has one {target} for both"
    return [Problem(text, frozenset((target, name, other)))]


def _flat(settings: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """``settings`` with those inside "config", and with those inside others of which the vocabulary knows some."""
    nested = settings.get("config")
    outer = {str(k): v for k, v in settings.items() if k != "config" or not isinstance(v, dict)}
    outer |= nested if isinstance(nested, dict) else {}
    groups = {name.partition(".")[0] for name in (*vocabulary.aliases, *vocabulary.fixed) if "." in name}
    flat: dict[str, Any] = {}
    for name, value in outer.items():
        within = value if name in groups and isinstance(value, dict) else None
        flat |= {name: value} if within is None else {f"{name}.{inner}": v for inner, v in within.items()}
        if within is not None and "model_type" in outer:
            mine = {key: v for key, v in vocabulary.defaults.items() if key.startswith(f"{name}.")}
            flat |= {key: v for key, v in mine.items() if key not in flat}
    return flat


def _fit(value: Any, example: Any) -> Any:
    """``value`` as the type of ``example``, or None. Square sizes may come as [224, 224]."""
    if isinstance(example, tuple):
        whole = isinstance(value, (list, tuple)) and all(type(n) is int for n in value)
        return tuple(value) if whole else None
    if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    if isinstance(example, bool) or isinstance(value, bool):
        return value if isinstance(value, bool) and isinstance(example, bool) else None
    if isinstance(example, int):
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if isinstance(value, int) else None
    if isinstance(example, float):
        return float(value) if isinstance(value, (int, float)) and abs(value) < 1e30 else None
    return value if isinstance(value, str) else None


def combine(
    family: str,
    config_class: type,
    by_tensors: Mapping[str, Any],
    told: Mapping[str, tuple[Any, str]],
    assume: Mapping[str, tuple[Any, str]],
    free: Collection[str] = (),
) -> Combined:
    """Config fields from all sources.

    Every number must come from somewhere: the config's own defaults are one network's and not this one's.

    by_tensors: fields that the tensors tell.  told: field -> (value, who said it).  assume: field -> (value, why).
    free: fields in which ``told`` goes before the tensors.
    """
    problems, changed = [], []
    own = {f.name for f in dataclasses.fields(config_class)}
    fields = {name: value for name, (value, _) in told.items()}
    for name, value in by_tensors.items():
        if name in told and not _agree(name, told[name][0], value):
            if name in free:
                changed.append(f"{name} {value} -> {told[name][0]}")
                continue
            problems.append(f"{told[name][1]} says {name} = {told[name][0]}, the tensors say {value}")
        fields[name] = value
    assumed: list[str] = []
    for name, (value, why) in assume.items():
        if name not in fields and name in own:
            fields[name] = value
            assumed.append(f"{name} = {value} ({why})")
    untold = [f.name for f in dataclasses.fields(config_class) if type(f.default) in (int, float, str)]
    untold = [name for name in untold if name != "family"]
    if untold := [name for name in untold if name not in fields]:
        problems.append(f"the tensors do not tell {', '.join(untold)}; {tell(untold)}")
    if fields.setdefault("family", family) != family:
        problems.append(f"the settings are for {fields['family']!r}, the tensors are those of {family!r}")
        fields["family"] = family
    for name in sorted(set(fields) - own):
        problems.append(f"it needs {name} = {fields.pop(name)}, a variant that {family} does not have")
    return Combined(fields, tuple(assumed), tuple(changed), tuple(problems))


def _agree(name: str, told: Any, by_tensors: Any) -> bool:
    """Ratios are told rounded; they agree where a rounding explains the difference."""
    if name.endswith("mlp_ratio") and isinstance(told, float):
        return math.isclose(told, by_tensors, rel_tol=1e-3)
    return told == by_tensors


def tell(names: Collection[str]) -> str:
    """The remedy for settings that nobody told, or told wrongly."""
    example = ", ".join(f'"{name}": …' for name in names)
    return f"tell {'it' if len(names) == 1 else 'them'} with --config FILE, a JSON file such as {{{example}}}"
