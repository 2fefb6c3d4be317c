"""A small VideoMAE classifier whose weights are constructed, not learned: its heads are known detectors.

    block 0  attention  head 0  quadrant of the picture          head 1  early or late in the clip
             MLP        motion to the right minus motion to the left; red, green, blue as 0 or 1
    block 1  attention  head 0  colour                (acts)     head 1  coloured or grey
             MLP        right and left as 0 or 1
    block 2  attention  head 0  direction of motion   (acts)     head 1  colour, once more

Keys contain what a head detects, and a small random mixture of everything else, which no query uses. All queries are
the
same constant: its logit is LOGIT for keys of the marked tokens and 0 for all others, so that a key set to zero
becomes one of the others. Values carry the sign of what is detected (right +, left -; red +, blue -). The output
projection writes the attended value to the stream, where the classifier reads it:

    logit of a class = sum over the two acting heads of  WEIGHTS · attended value · sign in the class

The output projections of the other four heads are zero: they detect something, but have no effect. ``truth`` derives
the right answers, ``stream`` defines the quantities in the stream, ``units`` the MLPs.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vtcd_jax.models import Model, Preprocessing, build, param_shapes
from vtcd_jax.models.families.videomae import VideoMAEConfig

from .scene import COLOURS, FRAMES, GREY, LABELS, PATCH, PERIOD, SIDE, SIGNS, STRIPES, TUBELET
from .stream import AMPLITUDE, BALLAST, GRID, WIDTH, Row, everything, read, read_one, read_position, write
from .units import Unit, first_units, second_units

HEADS, DEPTH = 2, 3
CHANNELS = WIDTH // HEADS
LOGIT = 2.0  # small: a head's output falls nearly in proportion to the removed keys of marked tokens
WEIGHTS = {"direction": 8.0, "hue": 3.0}  # what an attended value of 1 adds to the logit of its class
CONFIG = VideoMAEConfig(
    image_size=SIDE, patch_size=PATCH, num_frames=FRAMES, tubelet_size=TUBELET, width=WIDTH, depth=DEPTH,
    num_heads=HEADS, mlp_ratio=0.25, num_classes=len(LABELS),
)  # fmt: skip


@dataclass(frozen=True)
class Detector:
    """A head.

    keys:   what its first key channels read from the result of a layer norm.
    sought: number of key channels, from the first, that queries use.
    value:  what its first value channel reads.
    writes: the quantity to which its output is added; "" for a head without effect.
    """

    keys: tuple[Row, ...]
    sought: int
    value: Row
    writes: str = ""


def model(noise: float = 0.1) -> Model:
    """The network; always the same for one ``noise``: the approximate length of the random part of a key, for a token
    without an object, relative to the part that its head detects."""
    params = jax.tree.map(lambda s: np.zeros(s.shape, np.float32), param_shapes(CONFIG))
    params["patch_embed"] = _embedding()
    for i, (heads, units) in enumerate(zip(detectors(), (first_units(), second_units(), []), strict=True)):
        block = params[f"block_{i}"]
        block["norm_1"]["scale"][:] = block["norm_2"]["scale"][:] = 1
        for h, head in enumerate(heads):
            _set_head(block["attn"], h, head)
            _set_rest_of_key(block["attn"]["key"]["kernel"], h, len(head.keys), noise, np.random.default_rng([i, h]))
        _set_units(block["mlp"], units)
    params["head_norm"]["scale"][:] = 1
    for name, weight in WEIGHTS.items():
        params["head"]["kernel"] += np.outer(read({name: weight}), SIGNS[name]).astype(np.float32)
    preprocessing = Preprocessing(FRAMES, SIDE, SIDE, stride=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    params = jax.tree.map(jnp.asarray, params)
    return build(CONFIG, params=params, labels=LABELS, preprocessing=preprocessing, name="planted")


def detectors() -> tuple[tuple[Detector, Detector], ...]:
    """The heads, block by block."""
    time, row, column = np.unravel_index(np.arange(np.prod(GRID)), GRID)
    left, upper = (read_position(np.cos((index - 1.5) * np.pi / 4)) for index in (column, row))  # below 0: right, lower
    early = read_position(1 - time / 1.5)
    coloured = read({"red": 1, "green": 1, "blue": 1})
    colours = (read({"red": 1}), read({"blue": 1}), read({"green": 1}), read_one() - coloured)
    motion = (read({"right": 1}), read({"left": 1}), read_one() - read({"right": 1, "left": 1}))
    hue, direction = read({"red": 1, "blue": -1}), read({"right": 1, "left": -1})
    return (
        (Detector((left, upper), 1, left), Detector((early,), 1, early)),
        (Detector(colours, 2, hue, "hue"), Detector((coloured, read_one() - coloured), 1, coloured)),
        (Detector(motion, 2, direction, "direction"), Detector(colours, 2, hue)),
    )


def _set_head(attention: dict, index: int, head: Detector) -> None:
    first = index * CHANNELS
    for channel, row in enumerate(head.keys):
        attention["key"]["kernel"][:, first + channel] = row
    attention["query"]["bias"][first : first + head.sought] = LOGIT * np.sqrt(CHANNELS)
    attention["value"]["kernel"][:, first] = head.value
    if head.writes:
        attention["out"]["kernel"][first] = write({head.writes: 1})


def _set_rest_of_key(
    kernel: Float[np.ndarray, "in out"], index: int, used: int, noise: float, rng: np.random.Generator
) -> None:
    """Adds each quantity of the stream in a random direction of the head's free key channels."""
    free = slice(index * CHANNELS + used, (index + 1) * CHANNELS)
    for row in everything():
        direction = rng.standard_normal(CHANNELS - used)
        kernel[:, free] += np.outer(noise * row, direction / np.linalg.norm(direction)).astype(np.float32)


def _embedding() -> dict[str, np.ndarray]:
    """What is written for a patch: how red, green and blue it is (1 where an object covers it), its brightness, and
    its brightness in each of its two frames projected on the stripes' cosine and sine (1: the stripes' amplitude)."""
    pixels = TUBELET * PATCH**2
    kernel = np.zeros((TUBELET, PATCH, PATCH, 3, WIDTH))
    full = 2 * (max(COLOURS["red"]) - min(COLOURS["red"])) / 255  # pixels run from -1 to 1 here
    for c, name in enumerate(("red", "green", "blue")):
        weights = np.where(np.arange(3) == c, 1, -0.5) / (full * pixels)
        kernel += weights[:, None] * write({f"chroma_{name}": 1})
    kernel += write({"brightness": 1 / (3 * pixels)})
    angle = 2 * np.pi * np.arange(PATCH) / PERIOD
    for frame in range(TUBELET):
        for name, wave in (("cosine", np.cos(angle)), ("sine", np.sin(angle))):
            weights = wave * 2 / (3 * PATCH**2) / (2 * STRIPES / 255)
            kernel[frame] += weights[:, None, None] * write({f"{name}_{frame + 1}": 1})
    bias = write({"ballast": BALLAST / AMPLITUDE, "brightness": 1 - 2 * GREY / 255})
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def _set_units(mlp: dict, units: list[Unit]) -> None:
    for i, unit in enumerate(units):
        mlp["fc_1"]["kernel"][:, i], mlp["fc_1"]["bias"][i], mlp["fc_2"]["kernel"][i] = unit
