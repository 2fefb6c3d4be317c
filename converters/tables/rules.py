"""Rules that carry a source tensor to our parameters, and the strict loop that applies a table of them.

Every source tensor must match exactly one rule and every parameter of ours must be filled exactly once, with the right
shape and finite values. Whatever is wrong is collected, so that a user sees all of it at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..files.tensors import FLOATING, LazyTensor
from .resizing import Resize
from .transforms import identity, split_bias, split_qkv, transpose

Transform = Callable[[np.ndarray], "np.ndarray | tuple[np.ndarray, ...]"]
Read = Callable[[str], "np.ndarray | None"]


# -- rules ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Rule:
    r"""One line of a table.

    pattern: regular expression for the whole source name.
    target:  our name with ``\1`` for the pattern's groups; several names where the transform gives several arrays;
             None for tensors that fill nothing.
    transform: a pure function above.
    verify:  for tensors that fill nothing: (values, match, read) -> None, or what is wrong. ``read(name)`` gives
             another source tensor or None.
    reason:  why the tensor fills nothing.
    refused: the tensor changes the maths in a way our network has no variant for.
    spare:   why the tensor fills nothing in networks that lack its target; "": they must have it.
    resize:  (transformed array, our shape) -> array of our shape, where the two differ (``resizing``); ValueError
             where the original cannot resize either. None: another shape is an error.
    """

    pattern: str
    target: str | tuple[str, ...] | None
    transform: Transform = identity
    verify: Callable[[np.ndarray, re.Match[str], Read], str | None] | None = None
    reason: str = ""
    refused: bool = False
    resize: Resize | None = None
    spare: str = ""

    def targets(self, match: re.Match[str]) -> tuple[str, ...]:
        templates = (self.target,) if isinstance(self.target, str) else self.target or ()
        return tuple(match.expand(template) for template in templates)


def ignore(pattern: str, reason: str) -> Rule:
    """A tensor that has no effect on the network's output."""
    return Rule(pattern, None, reason=reason)


def check(pattern: str, verify: Callable[[np.ndarray, re.Match[str], Read], str | None], reason: str) -> Rule:
    """A tensor that repeats what is known already: verified, then ignored."""
    return Rule(pattern, None, verify=verify, reason=reason)


def refuse(pattern: str, reason: str) -> Rule:
    """A tensor of a variant that our network does not have."""
    return Rule(pattern, None, reason=reason, refused=True)


# -- the usual parts of a network ----------------------------------------------------------------------------------
def attention(source: str, projection: str, target: str) -> tuple[Rule, ...]:
    """Rules of one attention. source: pattern of what comes before ``qkv``.  projection: the same of the last layer."""
    parts = ("query", "key", "value")
    return (
        Rule(source + r"qkv\.weight", tuple(f"{target}/{part}/kernel" for part in parts), split_qkv),
        Rule(source + r"qkv\.bias", tuple(f"{target}/{part}/bias" for part in parts), split_bias),
        *linear(projection, f"{target}/out"),
    )


def linear(source: str, target: str) -> tuple[Rule, ...]:
    return (
        Rule(source + r"\.weight", f"{target}/kernel", transpose),
        Rule(source + r"\.bias", f"{target}/bias", identity),
    )


def norm(source: str, target: str) -> tuple[Rule, ...]:
    return (
        Rule(source + r"\.weight", f"{target}/scale", identity),
        Rule(source + r"\.bias", f"{target}/bias", identity),
    )


# -- what fills what -----------------------------------------------------------------------------------------------
class Row(NamedTuple):
    """A line of the report. target: our names, or "" for tensors that fill nothing."""

    source: str
    shape: tuple[int, ...]
    dtype: str
    target: str
    transform: str


@dataclass(frozen=True)
class Fill:
    """How a parameter is made.

    source, tensor: what it is made of.  rule: how.  index: of the array among the transform's results.
    shape:  of the parameter; None when the sizes could not be told.
    """

    source: str
    tensor: LazyTensor
    rule: Rule
    index: int
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Plan:
    """What fills what.

    rows: per used source tensor, in order.  ignored: source name -> reason.
    fills: our name -> how it is made.  problems: all that is wrong, in words.
    """

    rows: tuple[Row, ...]
    ignored: dict[str, str]
    fills: dict[str, Fill]
    problems: tuple[str, ...]


def plan(
    tensors: Mapping[str, LazyTensor],
    names: Mapping[str, str],
    rules: Sequence[Rule],
    shapes: Mapping[str, tuple[int, ...]] | None,
) -> Plan:
    """Matches names and shapes; reads no values.

    tensors: source name (prefixes stripped) -> tensor.  names: that name -> the name in the file, for messages.
    shapes:  our name -> shape; None when the sizes could not be told (then only the names are checked).
    """
    rows: list[Row] = []
    ignored: dict[str, str] = {}
    fills: dict[str, Fill] = {}
    problems: list[str] = []
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    for name, tensor in tensors.items():
        matches = [(match, rule) for pattern, rule in compiled if (match := pattern.fullmatch(name))]
        if len(matches) != 1:
            fault = "unexpected" if not matches else f"ambiguous ({len(matches)} rules)"
            problems.append(f"{fault} tensor {names[name]} {list(tensor.shape)}")
            continue
        match, rule = matches[0]
        targets = rule.targets(match)
        if rule.refused:
            problems.append(f"tensor {names[name]} belongs to a variant that is not supported: {rule.reason}")
        elif rule.target is None:
            ignored[names[name]] = rule.reason
        elif rule.spare and shapes is not None and not set(targets) & set(shapes):
            ignored[names[name]] = rule.spare
        else:
            how, faults = _fill(names[name], tensor, rule, targets, shapes, fills)
            problems += faults
            rows.append(Row(names[name], tensor.shape, tensor.dtype, ", ".join(targets), how))
    if shapes is not None:
        problems += _missing(rules, [target for target in shapes if target not in fills])
    return Plan(tuple(rows), ignored, fills, tuple(problems))


def _fill(
    source: str,
    tensor: LazyTensor,
    rule: Rule,
    targets: tuple[str, ...],
    shapes: Mapping[str, tuple[int, ...]] | None,
    fills: dict[str, Fill],
) -> tuple[str, list[str]]:
    """Enters one tensor's targets into ``fills``; returns the transform in words, and what is wrong."""
    how, problems = rule.transform.__name__, []
    for index, target in enumerate(targets):
        if target in fills:
            problems.append(f"tensors {fills[target].source} and {source} both fill {target}")
        shape = None if shapes is None or target not in shapes else tuple(shapes[target])
        fills.setdefault(target, Fill(source, tensor, rule, index, shape))
    if tensor.dtype not in FLOATING:
        return how, [*problems, f"tensor {source} holds {tensor.dtype}, expected floating-point weights"]
    try:
        # A view without memory of its own shows what the transform does to the shape.
        parts = rule.transform(np.broadcast_to(np.float32(0), tensor.shape))
    except ValueError as error:
        return how, [*problems, f"tensor {source} {list(tensor.shape)} does not fit {how} ({error})"]
    for target, part in zip(targets, parts if isinstance(parts, tuple) else (parts,), strict=True):
        if shapes is None:
            continue
        if target not in shapes:
            problems.append(f"unexpected tensor {source}: a model of these settings has no parameter {target}")
        elif part.shape != tuple(shapes[target]):
            fault = _resize_problem(part, tuple(shapes[target]), rule)
            problems += [f"tensor {source} gives {target} {fault}"] if fault else []
            how += "" if fault else f", resized from {'x'.join(map(str, part.shape))}"
    return how, problems


def _resize_problem(part: np.ndarray, shape: tuple[int, ...], rule: Rule) -> str | None:
    """Why an array cannot become a parameter of another shape; None when it can."""
    fault = f"the shape {list(part.shape)}, expected {list(shape)}"
    if rule.resize is None:
        return fault
    try:
        resized = rule.resize(part, shape)
    except ValueError as error:
        return f"{fault}; it cannot be resized ({error})"
    return None if resized.shape == shape else fault


def _missing(rules: Sequence[Rule], targets: Sequence[str]) -> list[str]:
    """One line per absent source tensor, by the name it would have."""
    absent: dict[str, list[str]] = {}
    for target in targets:
        absent.setdefault(_source_name(rules, target), []).append(target)
    return [f"missing tensor {source} (for {', '.join(filled)})" for source, filled in absent.items()]


def _source_name(rules: Sequence[Rule], target: str) -> str:
    """The first rule that could fill ``target``, read backwards."""
    for rule in rules:
        for template in (rule.target,) if isinstance(rule.target, str) else rule.target or ():
            backwards = re.sub(r"\\\\(\d)", r"(?P<g\1>.+?)", re.escape(template))
            if match := re.fullmatch(backwards, target):
                name = re.sub(r"\(\?:([^|)]*)[^)]*\)", r"\1", rule.pattern)
                for value in match.groupdict().values():
                    name = re.sub(r"\([^)]*\)", value, name, count=1)
                return name.replace("\\", "")
    return "?"


def value_problems(tensors: Mapping[str, LazyTensor], names: Mapping[str, str], rules: Sequence[Rule]) -> list[str]:
    """Reads every tensor once: NaN or infinite weights, and repeated tensors that contradict the others."""

    def read(name: str) -> np.ndarray | None:
        return as_float32(tensors[name].read()) if name in tensors else None

    problems: list[str] = []
    for name, tensor in tensors.items():
        matched = [(match, rule) for rule in rules if (match := re.fullmatch(rule.pattern, name))]
        if len(matched) != 1 or tensor.dtype not in FLOATING:
            continue
        match, rule = matched[0]
        if rule.target is None and rule.verify is None:
            continue
        values = as_float32(tensor.read())
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            problems.append(f"tensor {names[name]} has {bad} NaN or infinite values of {values.size}")
        elif rule.verify is not None and (fault := rule.verify(values, match, read)):
            problems.append(f"tensor {names[name]} {fault}")
    return problems


def as_float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def make(fill: Fill) -> np.ndarray:
    """The parameter, float32."""
    result = fill.rule.transform(as_float32(fill.tensor.read()))
    part = result[fill.index] if isinstance(result, tuple) else result
    if fill.rule.resize is not None and fill.shape is not None and part.shape != fill.shape:
        part = as_float32(fill.rule.resize(part, fill.shape))
    return np.ascontiguousarray(part)
