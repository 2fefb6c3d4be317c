"""The network of version 2: a VideoMAE classifier whose weights are constructed from a ``Wiring``.

stream     channel 0 zero, 1 and 2 the ballast ±BALLAST, then one channel each: properties, textures, outputs of
           the acting heads, values of the circuits; a quantity of 1 stands as AMPLITUDE
layer norm divides by the constant s, because the ballast is far above all else; (x - channel 0) · s / AMPLITUDE
           reads a quantity. The table of positions, which the network adds to all channels, is an error of 0.02 %
keys       Σ value · direction of the head's properties + noise · Σ texture · random direction, none along q
queries    constant, so that the logit of a key is LOGIT · value of the sought property
values     the sought property; outputs are written to the stream by acting heads alone
last MLP   the circuits, from GELUs with inputs so large that they act as max(0, x)
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vtcd_jax.models import Model, Preprocessing, build, param_shapes
from vtcd_jax.models.families.videomae import VideoMAEConfig

from .carriers import PIXELS, QUANTITIES, STEP, TEXTURES, Patterns
from .properties import NAMES, PATCH, TUBELET
from .scene import FRAMES, SIDE
from .wiring import CIRCUITS, CLASSES, DEPTH, HEADS, KINDS, Head, Wiring

LOGIT = 4.0
AMPLITUDE, BALLAST = 2.0**13, 2.0**20
SHARPNESS = 300.0
READ = 3 + QUANTITIES  # first channel of the heads' outputs
TOLD = READ + sum(KINDS[kind] for kind in CIRCUITS)  # first channel of the circuits' values
WIDTH = HEADS * -(-(TOLD + len(CIRCUITS)) // HEADS)
CHANNELS = WIDTH // HEADS
LABELS = tuple(f"class {k}" for k in range(CLASSES))
CONFIG = VideoMAEConfig(
    image_size=SIDE, patch_size=PATCH, num_frames=FRAMES, tubelet_size=TUBELET, width=WIDTH, depth=DEPTH,
    num_heads=HEADS, mlp_ratio=0.25, num_classes=CLASSES,
)  # fmt: skip

Row = Float[np.ndarray, "channel"]


def model(wiring: Wiring, C: Patterns, noise: float, rng: np.random.Generator) -> Model:
    """The network. noise: expected length of the random part of a key; a property has a length of about 1. rng: of the
    noise's directions."""
    params = jax.tree.map(lambda s: np.zeros(s.shape, np.float32), param_shapes(CONFIG))
    params["patch_embed"] = _embedding(C)
    outputs = iter(range(READ, TOLD))
    written = {head: next(outputs) for circuit in wiring.circuits for head in circuit.heads}
    for block in range(DEPTH):
        layer = params[f"block_{block}"]
        layer["norm_1"]["scale"][:] = layer["norm_2"]["scale"][:] = 1
        for h in range(HEADS):
            place = block * HEADS + h
            _set_head(layer["attn"], h, wiring.heads[place], noise, rng, written.get(place))
    _set_circuits(params[f"block_{DEPTH - 1}"]["mlp"], wiring, written)
    params["head_norm"]["scale"][:] = 1
    for number, circuit in enumerate(wiring.circuits):
        params["head"]["kernel"] += np.outer(read(TOLD + number), circuit.weights).astype(np.float32)
    params["head"]["bias"][:] = wiring.biases
    preprocessing = Preprocessing(FRAMES, SIDE, SIDE, stride=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    params = jax.tree.map(jnp.asarray, params)
    return build(CONFIG, params=params, labels=LABELS, preprocessing=preprocessing, name="planted circuits")


def read(channel: int) -> Row:
    """Reads a quantity from a layer norm's result."""
    deviation = np.sqrt(2 * BALLAST**2 / WIDTH)
    row = np.zeros(WIDTH)
    row[channel], row[0] = deviation / AMPLITUDE, -deviation / AMPLITUDE
    return row


def read_one() -> Row:
    """Reads the constant 1."""
    row = np.zeros(WIDTH)
    row[1] = np.sqrt(2 / WIDTH)
    return row


def _embedding(C: Patterns) -> dict[str, np.ndarray]:
    """Writes what a token's pixels carry. Pixels run from -1 to 1 here; the patterns have mean 0."""
    kernel = np.zeros((PIXELS, WIDTH), np.float32)
    kernel[:, 3:READ] = C.T * (255 / 2) / (PIXELS * STEP) * AMPLITUDE
    bias = np.zeros(WIDTH, np.float32)
    bias[1], bias[2] = BALLAST, -BALLAST
    return {"kernel": kernel.reshape(TUBELET, PATCH, PATCH, 3, WIDTH), "bias": bias}


def _set_head(
    attention: dict, index: int, head: Head, noise: float, rng: np.random.Generator, channel: int | None
) -> None:
    """channel: where the head's output goes; None: nowhere."""
    own = slice(index * CHANNELS, (index + 1) * CHANNELS)
    key = sum(np.outer(read(3 + p), u) for p, u in zip(head.properties, head.directions, strict=True))
    random = rng.standard_normal((TEXTURES, head.directions.shape[1] - 1))
    random /= np.linalg.norm(random, axis=1, keepdims=True) * np.sqrt(TEXTURES)
    for texture, row in enumerate(random):
        key = key + noise * np.outer(read(3 + len(NAMES) + texture), np.append(0.0, row))
    attention["key"]["kernel"][:, own] = key @ head.basis.T
    along = head.directions[head.sought, 0]
    attention["query"]["bias"][own] = LOGIT * np.sqrt(CHANNELS) / along * head.basis[:, 0]
    if channel is not None:
        first = index * CHANNELS
        attention["value"]["kernel"][:, first] = read(3 + head.properties[head.sought])
        attention["out"]["kernel"][first, channel] = AMPLITUDE


def _set_circuits(mlp: dict, wiring: Wiring, written: dict[int, int]) -> None:
    unit = 0
    for number, circuit in enumerate(wiring.circuits):
        for ramp in circuit.ramps:
            reads = ramp.offset * read_one()
            for head, slope in zip(circuit.heads, ramp.slopes, strict=True):
                reads = reads + slope * read(written[head])
            mlp["fc_1"]["kernel"][:, unit] = SHARPNESS * reads
            mlp["fc_2"]["kernel"][unit, TOLD + number] = ramp.weight * AMPLITUDE / SHARPNESS
            unit += 1
