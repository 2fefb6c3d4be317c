"""The logits of version 2 in closed form, with any keys set to zero.

    v  value of the sought property in a token    L  LOGIT    k  1 where its key is kept, 0 where it is zero

All queries are equal, so the output of an acting head is the same for every token:

    o = Σ e^{L v k} v / Σ e^{L v k}        (sums over the tokens of a clip)

A key that is zero has the logit 0, as a token without the property has; so nothing changes if that token's key is
removed. ``wiring`` says how outputs become logits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from .network import LOGIT
from .wiring import PLACES, Circuit, Wiring

Value = Float[np.ndarray, "time height width"]
Gates = Float[np.ndarray, "mask concept"]


def head_output(values: Value, kept: Bool[np.ndarray, "mask token"] | None = None) -> Float[np.ndarray, "mask"]:
    """o of a head whose sought property has these values. kept: of tokens with a value above 0, in order; None: all."""
    own = values[values > 0]
    more = np.exp(LOGIT * own) - 1
    kept = np.ones((1, len(own))) if kept is None else kept.astype(np.float64)
    return (kept @ (more * own) + own.sum()) / (kept @ more + values.size)


def kept_tokens(ids: Int[np.ndarray, "token slot"], gates: Gates) -> Bool[np.ndarray, "mask token"]:
    """Tokens none of whose concepts is removed; -1 is no concept."""
    players = np.unique(ids[ids >= 0])
    member = (ids == players[:, None, None]).any(-1)  # [player, token]
    closed = (gates[:, players] <= 0).astype(np.float32)
    return closed @ member.astype(np.float32) == 0


def circuit_value(circuit: Circuit, outputs: list[Float[np.ndarray, "mask"]]) -> Float[np.ndarray, "mask"]:
    """y, from the outputs of the circuit's heads."""
    total = np.zeros(1)
    for ramp in circuit.ramps:
        linear = sum(slope * o for slope, o in zip(ramp.slopes, outputs, strict=True)) + ramp.offset
        total = total + ramp.weight * np.maximum(linear, 0)
    return total


def sought_values(wired: Wiring, head: int, values: Float[np.ndarray, "property time height width"]) -> Value:
    """The values, in one clip, of what a head seeks."""
    own = wired.heads[head]
    return values[own.properties[own.sought]]


def class_logits(wired: Wiring, values: Float[np.ndarray, "property time height width"]) -> Float[np.ndarray, "class"]:
    """The logits of a clip with nothing removed."""
    total = wired.biases.copy()
    for circuit in wired.circuits:
        outputs = [head_output(sought_values(wired, h, values)) for h in circuit.heads]
        total += circuit.weights * circuit_value(circuit, outputs)
    return total


def ids_at(ids: Mapping[str, np.ndarray], video: int, head: int, values: Value) -> Int[np.ndarray, "token slot"]:
    """The concepts of the tokens with a value above 0 in the head with this number, -1 for none."""
    site, index = PLACES[head]
    marked = values > 0
    if site not in ids:
        return np.full((int(marked.sum()), 1), -1, np.int32)
    return ids[site][video][marked][:, index]
