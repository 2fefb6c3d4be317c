"""A first look at a converted network: two clips go through it, and what comes out must depend on them.

This finds weights that are all zero, values that overflow, and networks that ignore their input. It does not show that
the network is the original one; ``verifying`` does.
"""

from __future__ import annotations

import dataclasses
import time

import jax
import numpy as np

from vtcd_jax.base import files
from vtcd_jax.base.errors import InputError
from vtcd_jax.models import building, example_inputs, forward, registry, staged
from vtcd_jax.models.types import Inputs, Model, Output

# Relative to the largest magnitude; rounding alone differs by less.
LEAST_DIFFERENCE = 1e-6
SIDE, STEPS = 4, 2  # patches along a side and steps in time of the clips
CLIP_SIZES = ("num_frames", "height", "width")
FIELDS = tuple(f.name for f in dataclasses.fields(Output))


def sanity(model: Model) -> str:
    """Runs the network on a noisy and on a smooth clip; returns what was found, in words.

    Raises InputError for outputs that are not finite, the same everywhere, or the same for both clips.
    """
    begin = time.perf_counter()
    model = fewer_tokens(model)
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


def fewer_tokens(model: Model) -> Model:
    """The same network on clips of a few patches: as telling for this purpose, and many times sooner.

    Learned tables of positions are cut off; where more than their lengths would change, the model itself.
    """
    config, changes = model.config, {}
    patch, tubelet = getattr(config, "patch_size", 1), getattr(config, "tubelet_size", 1)
    for name in ("image_size", "image_height", "image_width"):
        if hasattr(config, name):
            changes[name] = min(getattr(config, name), SIDE * patch)
    if getattr(config, "pseudo_clips", 1) == 1:
        changes["num_frames"] = min(config.num_frames, STEPS * tubelet)
    small = dataclasses.replace(config, **changes)
    kind = registry.family(config.family)
    shapes = {name: s.shape for name, s in files.flatten(building.param_shapes(small)).items()}
    params = files.flatten(model.params)
    cut = {name: _cut(value, shapes.get(name, ())) for name, value in params.items()}
    if set(shapes) != set(params) or any(value is None for value in cut.values()):
        return model
    preprocessing = dataclasses.replace(
        model.preprocessing, **{name: getattr(kind.preprocessing(small), name) for name in CLIP_SIZES}
    )
    parts = {"params": files.unflatten(cut), "module": kind.module(small), "config": small}
    return dataclasses.replace(model, **parts, preprocessing=preprocessing)


def _cut(value: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
    """A table [position, channel] cut to its first positions; None where shapes differ otherwise."""
    if value.shape == shape:
        return value
    fits = value.ndim == len(shape) == 2 and value.shape[1] == shape[1] and value.shape[0] > shape[0]
    return value[: shape[0]] if fits else None


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
