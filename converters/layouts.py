"""Which network a checkpoint holds, and in whose names: the layout whose table explains most of them."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from vtcd_jax.base.errors import InputError, nearest

from .files.containers import Container
from .files.modules import as_dict
from .files.pickles import Record
from .files.tensors import LazyTensor
from .finding import CONTAINERS, WRAPPERS, find_weights
from .foreign import check_weights, unrecognised
from .tables.rules import Rule
from .tables.settings import Vocabulary


@dataclass(frozen=True)
class Layout:
    """How one family is written by one code base: all that a converter needs to know.

    family:  our family name.  name: whose names these are, for messages.
    rules:   the table.
    marks:   patterns of tensor names, each of which at least one name must match.
    never:   patterns of tensor names that no such file has.
    sizes:   tensor shapes -> the config fields that they tell. Raises InputError when they contradict themselves.
    assume:  config fields known so far -> {field: (value, why)} for fields that nobody told.
    check:   config -> problems in words.
    vocabulary: foreign names of settings.
    containers: further keys of the file that hold the state dict, tried first.
    prefixes: stripped from names, repeatedly.
    arguments: keys of the file with the training program's arguments (a Namespace or a dict); the tensors know better.
    resizable: config fields that the user may set otherwise than the tensors tell; rules with ``resize`` follow.
    side: file beside the weights with settings, and what turns its JSON into settings by name; None: there
          is none but a ``config.json`` of ``model_type``.
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
    never: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = WRAPPERS
    arguments: tuple[str, ...] = ("args",)
    resizable: tuple[str, ...] = ()
    model_type: str | None = None
    side: tuple[str, Callable[[dict[str, Any]], dict[str, Any]]] | None = None


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
    """Every layout of every table: what the modules of ``families`` offer as ``LAYOUTS``."""
    package = import_module(".families", __package__)
    modules = [import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    return [layout for module in modules for layout in getattr(module, "LAYOUTS", ())]


def recognise(container: Container, family: str | None = None, weights: str | None = None) -> State:
    """Finds the state dict and the layout whose table explains most of its names.

    family: consider only this one.  weights: which of several state dicts to take, as in ``convert``.
    Raises InputError when nothing fits, and for weights that cannot be taken as they are.
    """
    known, source = layouts(), str(container.path)
    families = sorted({layout.family for layout in known})
    if family is not None and family not in families:
        raise InputError(f"unknown model family {family!r}; known: {', '.join(families)}")
    states = [find_state(container, layout, weights) for layout in known if family in (None, layout.family)]
    found = [(explained(state), state) for state in states if state is not None and _marked(state)]
    if not found:
        raise InputError(unrecognised(container, family, families))
    most = max(share for share, _ in found)
    best = [state for share, state in found if share == most]
    if len({state.layout.family for state in best}) > 1:
        named = " and ".join(sorted({state.layout.family for state in best}))
        raise InputError(f"{source} could be {named}; choose with --family NAME")
    return best[0]


def explained(state: State) -> float:
    """Share of the names that a rule of the layout matches."""
    patterns = [re.compile(rule.pattern) for rule in state.layout.rules]
    return sum(any(p.fullmatch(name) for p in patterns) for name in state.tensors) / max(len(state.tensors), 1)


def _marked(state: State) -> bool:
    """Whether every mark of the layout is there, and no name that it never has."""

    def some(pattern: str) -> bool:
        return any(re.fullmatch(pattern, name) for name in state.tensors)

    return all(map(some, state.layout.marks)) and not any(map(some, state.layout.never))


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


def find_state(container: Container, layout: Layout, weights: str | None = None) -> State | None:
    """The state dict in a file's content, as ``layout`` would have it; None when there are no tensors."""
    content = container.content
    found = find_weights(content, (*layout.containers, *CONTAINERS), layout.prefixes, weights)
    if found is None:
        return None
    check_weights(found, str(container.path))
    ignored, arguments = dict(found.ignored), {}
    for key in layout.arguments:
        value = (as_dict(content) or {}).get(key)
        value = value.fields if isinstance(value, Record) else value
        if isinstance(value, dict):
            arguments |= value
            ignored[key] = "read for settings"
    return State(layout, found.tensors, found.names, found.where, ignored, arguments)
