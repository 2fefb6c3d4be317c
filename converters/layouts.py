"""Which network a checkpoint holds, in whose names, and where in the file its weights lie.

Checkpoints wrap the state dict in containers (``model``, ``module``, ``state_dict``, …) and its names in prefixes
(DataParallel's ``module.``, torch.compile's ``_orig_mod.``). Both are undone here, and said in the report.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from vtcd_jax.models.errors import InputError, nearest

from .pickles import Record
from .rules import Rule
from .settings import Vocabulary
from .tensors import LazyTensor

# In this order: the published files' keys first, averaged weights only when there is nothing else.
CONTAINERS = (
    "model", "module", "state_dict", "model_state", "model_state_dict", "model_ema", "ema", "state_dict_ema",
    "ema_state_dict",
)  # fmt: skip
WRAPPERS = ("module.", "_orig_mod.", "_forward_module.", "model.", "backbone.", "net.", "network.")


@dataclass(frozen=True)
class Layout:
    """How one family is written by one code base: all that a converter needs to know.

    family:  our family name.  name: whose names these are, for messages.
    rules:   the table.
    marks:   patterns of tensor names, each of which at least one name must match.
    sizes:   tensor shapes -> the config fields that they tell. Raises InputError when they contradict themselves.
    assume:  config fields known so far -> {field: (value, why)} for fields that nobody told.
    check:   config -> problems in words.
    vocabulary: foreign names of settings.
    containers: further keys of the file that hold the state dict, tried first.
    prefixes: stripped from names, repeatedly.
    arguments: keys of the file with the training program's arguments (a Namespace or a dict); the tensors know better.
    resizable: config fields that the user may set otherwise than the tensors tell; rules with ``resize`` follow.
    model_type: what a ``config.json`` beside the weights must say to belong to them; None: there is never one.
    """

    family: str
    name: str
    rules: tuple[Rule, ...]
    marks: tuple[str, ...]
    sizes: Callable[[Mapping[str, tuple[int, ...]]], dict[str, Any]]
    assume: Callable[[Mapping[str, Any]], dict[str, tuple[Any, str]]]
    check: Callable[[Any], list[str]]
    vocabulary: Vocabulary
    containers: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = WRAPPERS
    arguments: tuple[str, ...] = ("args",)
    resizable: tuple[str, ...] = ()
    model_type: str | None = None


@dataclass(frozen=True)
class State:
    """A state dict found in a file, its names stripped.

    tensors: name -> tensor.  names: that name -> the name in the file.  where: the container, for messages.
    ignored: what else lies in the file -> why it is left.
    arguments: the training program's arguments.  settings: the network's own settings.
    """

    layout: Layout
    tensors: dict[str, LazyTensor]
    names: dict[str, str]
    where: str
    ignored: dict[str, str]
    arguments: dict[str, Any]


def layouts() -> list[Layout]:
    """Every layout of every table in this folder: the modules that define ``LAYOUTS``."""
    package = import_module(__package__ or "vtcd_jax.converters")
    modules = [import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    return [layout for module in modules for layout in getattr(module, "LAYOUTS", ())]


def recognise(content: Any, source: str, family: str | None = None) -> State:
    """Finds the state dict and the layout whose table explains most of its names.

    content: what ``open_checkpoint`` gave.  source: the file, for messages.  family: consider only this one.
    Raises InputError when nothing fits.
    """
    known = layouts()
    families = sorted({layout.family for layout in known})
    if family is not None and family not in families:
        raise InputError(f"unknown model family {family!r}; known: {', '.join(families)}")
    states = [find_state(content, layout) for layout in known if family in (None, layout.family)]
    found = [(explained(state), state) for state in states if state is not None and _marked(state)]
    if not found:
        raise InputError(_unrecognised(content, source, family, families))
    most = max(share for share, _ in found)
    best = [state for share, state in found if share == most]
    if len({state.layout.family for state in best}) > 1:
        named = " and ".join(sorted({state.layout.family for state in best}))
        raise InputError(f"{source} could be {named}; choose with --family NAME")
    return best[0]


def explained(state: State) -> float:
    """Share of the names that a rule of the layout matches."""
    patterns = [re.compile(rule.pattern) for rule in state.layout.rules]
    return sum(any(p.fullmatch(name) for p in patterns) for name in state.tensors) / len(state.tensors)


def _marked(state: State) -> bool:
    """Whether every mark of the layout is there."""
    return all(any(re.fullmatch(mark, name) for name in state.tensors) for mark in state.layout.marks)


def ignoring(state: State, patterns: Sequence[str]) -> tuple[State, list[str]]:
    """``state`` without the tensors whose whole name (in the file or stripped) a pattern matches, and what is wrong.

    Raises InputError for a pattern that is no regular expression.
    """
    ignored, problems = dict(state.ignored), []
    left = dict(state.tensors)
    for pattern in patterns:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise InputError(f"--ignore {pattern!r} is no regular expression ({error})") from None
        hit = [n for n, full in state.names.items() if compiled.fullmatch(n) or compiled.fullmatch(full)]
        if not hit:
            near = nearest(pattern, state.names.values())
            problems.append(f"--ignore {pattern!r} matches the whole name of no tensor; nearest: {near}")
        for name in hit:
            left.pop(name, None)
            ignored[state.names[name]] = "ignored on request"
    return replace(state, tensors=left, ignored=ignored), problems


def _unrecognised(content: Any, source: str, family: str | None, families: list[str]) -> str:
    tensors, _ = _descend(content, CONTAINERS)
    if not tensors:
        return f"{source} holds no tensors by name; give a file that holds a model's state dict"
    names = list(tensors)
    shown = ", ".join(name[:60] for name in names[:3])
    wanted = f"a checkpoint of {family}" if family else f"any known network ({', '.join(families)})"
    return f"{source} is not {wanted}; its {len(names)} tensors begin with {shown}"


def find_state(content: Any, layout: Layout) -> State | None:
    """The state dict in a file's content, as ``layout`` would have it; None when there are no tensors."""
    tensors, path = _descend(content, (*layout.containers, *CONTAINERS))
    if not tensors:
        return None
    stripped, names, prefixes = strip(tensors, layout.prefixes)
    where = f"weights under {'/'.join(path)!r}" if path else "a bare state dict"
    if prefixes:
        where += ", prefix " + ", ".join(f"{prefix!r} stripped from {n} names" for prefix, n in prefixes.items())
    ignored: dict[str, str] = {}
    if path:
        ignored |= {key: "not the weights" for key in content if isinstance(key, str) and key != path[0]}
    arguments: dict[str, Any] = {}
    for key in layout.arguments:
        value = content.get(key)
        value = value.fields if isinstance(value, Record) else value
        if isinstance(value, dict):
            arguments |= value
            ignored[key] = "read for settings"
    return State(layout, stripped, names, where, ignored, arguments)


def _descend(
    content: Any, containers: tuple[str, ...], path: tuple[str, ...] = ()
) -> tuple[dict[str, LazyTensor], tuple[str, ...]]:
    """Follows the first container key that leads to tensors, at most three deep; else takes the tensors right here."""
    if not isinstance(content, dict):
        return {}, path
    for key in containers if len(path) < 3 else ():
        tensors, inner = _descend(content.get(key), containers, (*path, key))
        if tensors:
            return tensors, inner
    return {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, LazyTensor)}, path


def strip(
    tensors: Mapping[str, LazyTensor], prefixes: tuple[str, ...]
) -> tuple[dict[str, LazyTensor], dict[str, str], dict[str, int]]:
    """Takes wrapper prefixes off. Returns tensors and file names by stripped name, and how often each prefix went.

    A name that would collide with another keeps its prefix, so that both are seen (and one of them reported).
    """
    stripped: dict[str, LazyTensor] = {}
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for full, tensor in tensors.items():
        name, taken = full, []
        while prefix := next((p for p in prefixes if name.startswith(p) and len(name) > len(p)), None):
            name = name.removeprefix(prefix)
            taken.append(prefix)
        if name in stripped or (taken and name in tensors):
            name, taken = full, []
        stripped[name], names[name] = tensor, full
        for prefix in taken:
            counts[prefix] = counts.get(prefix, 0) + 1
    return stripped, names, counts
