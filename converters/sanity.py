"""A first look at a converted network: two clips go through it, and what comes out must depend on them.

This finds weights that are all zero, values that overflow, and networks that ignore their input. It does not show that
the network is the original one; ``verifying`` does.
"""

from __future__ import annotations

import dataclasses
import time

import jax
import numpy as np

from vtcd_jax.models import example_inputs, forward, staged
from vtcd_jax.models.errors import InputError
from vtcd_jax.models.types import Inputs, Model, Output

# Relative to the largest magnitude; rounding alone differs by less.
LEAST_DIFFERENCE = 1e-6
FIELDS = tuple(f.name for f in dataclasses.fields(Output))


def sanity(model: Model) -> str:
    """Runs the network on a noisy and on a smooth clip; returns what was found, in words.

    Raises InputError for outputs that are not finite, the same everywhere, or the same for both clips.
    """
    begin = time.perf_counter()
    run = staged.run_in_parts if staged.is_staged(model) else jax.jit(lambda m, inputs: forward(m, inputs)[0])
    first, second = (jax.block_until_ready(run(model, _inputs(model, clip))) for clip in _clips(model))
    problems = [
        f"its {name} {fault}"
        for name in FIELDS
        if getattr(first, name) is not None
        and (fault := _fault(name, np.asarray(getattr(first, name)), np.asarray(getattr(second, name))))
    ]
    if problems:
        raise InputError(
            "the converted network makes no sense: " + "; ".join(problems) + "; is the checkpoint trained? "
            "(--no-sanity converts it all the same)"
        )
    return f"outputs are finite, not constant, and differ for two clips ({time.perf_counter() - begin:.1f} s)"


def _fault(name: str, first: np.ndarray, second: np.ndarray) -> str | None:
    """What is wrong with an output on two clips; None when nothing is."""
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return "hold values that are not finite"
    least = LEAST_DIFFERENCE * float(np.abs(first).max(initial=0))
    if first[0].size > 1 and float(np.ptp(first[0])) <= least:
        return "are the same everywhere"
    if name != "text_features" and float(np.abs(first - second).max(initial=0)) <= least:
        return "are the same for two different clips"
    return None


def _clips(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [1, time, height, width, 3]: noise, and a ramp that moves."""
    p = model.preprocessing
    shape = (1, p.num_frames, p.height, p.width, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    t, y, x, colour = np.ogrid[: p.num_frames, : p.height, : p.width, :3]
    return noise, ((8 * t + 3 * y + 2 * x + 60 * colour) % 256).astype(np.uint8)[None]


def _inputs(model: Model, clip: np.ndarray) -> Inputs:
    """The clip with what else the network takes: word ids in a row, a query over the first frame's middle."""
    wanted = example_inputs(model)
    text, query = wanted.text, wanted.query
    if text is not None:
        words = min(100, getattr(model.config, "vocab_size", 100))
        text = np.arange(text.size, dtype=text.dtype).reshape(text.shape) % words
    if query is not None:
        height, width = query.shape[-2:]
        marked = np.zeros(query.shape, query.dtype)
        marked[:, 0, height // 4 : -(height // 4), width // 4 : -(width // 4)] = 1
        query = marked
    return Inputs(video=model.preprocessing.normalise(clip), text=text, query=query)  # type: ignore[arg-type]
