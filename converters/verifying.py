"""Compares a converted network with recorded values of the original one, site by site.

The recording is an ``.npz`` file (or a dict). Its arrays ``video``, ``text``, ``query`` and ``token_mask`` are the
inputs (``vtcd_jax.models.Inputs``); every other one is called like a site of the network or a field of its ``Output``,
in our layout. The error of an array is its largest difference over its largest magnitude.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vtcd_jax.base.errors import InputError, nearest
from vtcd_jax.models import forward, sites
from vtcd_jax.models.types import Inputs, Model, Output

from .files.npz import NpzArray, read_npz

INPUTS = ("video", "text", "query", "token_mask")
OUTPUTS = tuple(f.name for f in dataclasses.fields(Output))
MAX_CLIPS = 64
MAX_TEXT = 2**20
Recording = str | Path | Mapping[str, Any]
Array = NpzArray | np.ndarray


class Compared(NamedTuple):
    """A line of the report. name: site or output.  error: largest difference over largest magnitude."""

    name: str
    shape: tuple[int, ...]
    error: float


def verify(model: Model, recording: Recording, tolerance: float) -> tuple[Compared, ...]:
    """The errors of all recorded arrays, in the order of the forward pass.

    Raises InputError where the recording does not fit the network, and where an error is above ``tolerance``; the
    message names the first such array.
    """
    where, recorded = _open(recording)
    known = [*sites(model), *OUTPUTS]
    wrong = [
        f"{where} holds {name!r}, which is neither an input nor a site nor an output; nearest: {nearest(name, known)}"
        for name in recorded
        if name not in (*INPUTS, *known)
    ]
    if wrong:
        raise InputError("\n".join(wrong))
    names = [name for name in known if name in recorded]
    if not names:
        raise InputError(f"{where} holds inputs only; record sites or outputs too, such as 'logits'")
    inputs = _inputs(where, recorded, model)
    run = _runner(inputs, names)
    try:
        expected = jax.eval_shape(run, model)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{where}: the inputs do not fit the network ({reason})") from None
    _check_shapes(where, recorded, expected)
    with jax.default_matmul_precision("highest"):
        found = jax.jit(run)(model)
    compared = tuple(Compared(n, recorded[n].shape, _error(found[n], _values(recorded[n]))) for n in names)
    if any(not row.error <= tolerance for row in compared):
        raise InputError(_diverged(where, compared, tolerance))
    return compared


def table(compared: tuple[Compared, ...]) -> list[str]:
    """A line per array: name, shape, error."""
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*map(_cells, compared), strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(_cells(row), widths, strict=True)) for row in compared]


def _cells(row: Compared) -> tuple[str, str, str]:
    return row.name, "x".join(map(str, row.shape)), f"{row.error:.1e}"


def _diverged(where: str, compared: tuple[Compared, ...], tolerance: float) -> str:
    first = next(i for i, row in enumerate(compared) if not row.error <= tolerance)
    name, _, error = compared[first]
    lines = [f"the converted network differs from {where}: first at {name}, by {error:.1e} (--tolerance {tolerance:g})"]
    return "\n  ".join(lines + table(compared[: first + 1]))


def _open(recording: Recording) -> tuple[str, dict[str, Array]]:
    """(what to call it, name -> array). Raises InputError for arrays that are no numbers."""
    if not isinstance(recording, Mapping):
        return str(recording), dict(read_npz(recording))
    arrays: dict[str, Array] = {str(name): np.asarray(value) for name, value in recording.items()}
    wrong = [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]
    if wrong:
        raise InputError(f"the recorded {wrong[0]!r} holds no numbers")
    return "the recorded values", arrays


def _values(array: Array) -> np.ndarray:
    return array.read() if isinstance(array, NpzArray) else array


def _inputs(where: str, recorded: Mapping[str, Array], model: Model) -> Inputs:
    """The recorded inputs, each small enough to be one. Raises InputError where they do not fit the network."""
    p = model.preprocessing
    clip = (p.num_frames, p.height, p.width, 3)
    if "video" not in recorded:
        raise InputError(f"{where} holds no 'video', the network's input [batch, {', '.join(map(str, clip))}]")
    video = recorded["video"]
    if len(video.shape) != 5 or video.shape[1:] != clip or not 1 <= video.shape[0] <= MAX_CLIPS:
        expected = f"[1 to {MAX_CLIPS}, {', '.join(map(str, clip))}]"
        raise InputError(f"{where}: video has shape {list(video.shape)}, the network takes {expected}")
    if video.dtype.kind != "f":
        raise InputError(f"{where}: video holds {video.dtype}, expected what the network takes: normalised floats")
    limits = {"text": MAX_TEXT, "query": video.size, "token_mask": video.size}
    for name, limit in limits.items():
        if name in recorded and recorded[name].size > limit:
            raise InputError(f"{where}: {name} has shape {list(recorded[name].shape)}, too large for this network")
    types: dict[str, Any] = {"video": np.float32, "text": np.int32, "query": np.float32, "token_mask": bool}
    found: dict[str, Any] = {n: _values(recorded[n]).astype(types[n]) for n in INPUTS if n in recorded}
    return Inputs(**found)


def _runner(inputs: Inputs, names: list[str]) -> Callable[[Model], dict[str, jax.Array]]:
    """A function of the model that gives the named sites and outputs."""

    def run(model: Model) -> dict[str, jax.Array]:
        output, captured = forward(model, inputs, capture=[name for name in names if name not in OUTPUTS])
        outputs = {name: getattr(output, name) for name in names if name in OUTPUTS}
        return {name: value for name, value in (captured | outputs).items() if value is not None}

    return run


def _check_shapes(where: str, recorded: Mapping[str, Array], expected: Mapping[str, Any]) -> None:
    for name, array in recorded.items():
        if name in INPUTS:
            continue
        if name not in expected:
            raise InputError(f"{where} holds {name!r}, an output that this network does not have")
        if array.shape != expected[name].shape:
            shape = list(expected[name].shape)
            raise InputError(f"{where}: {name} has shape {list(array.shape)}, the converted network gives {shape}")


def _error(got: Any, expected: np.ndarray) -> float:
    """Largest difference over largest magnitude; infinite where either holds values that are not finite."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return math.inf
    difference, magnitude = np.abs(got - expected).max(initial=0), np.abs(expected).max(initial=0)
    return float(difference / magnitude) if magnitude else (math.inf if difference else 0.0)
