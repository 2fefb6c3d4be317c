"""Exact scores and importance of any concepts on an instance of version 2, without the network.

    v(S)      logit of the clip's class with the concepts of S kept
    Banzhaf   mean over all S of v(S with i) - v(S without i): what CRIS estimates

Concepts act only through the tokens of acting heads, and circuits add up, so Banzhaf values are sums over circuits. For
a circuit of heads a and b whose concepts differ, the subsets of a's concepts are enumerated, those of b's too, and the
mean over both is taken exactly with sorted outputs (``_mean_ramp``). Of more than ``MOST`` concepts in a head (trees)
subsets are drawn instead: the only approximation, with errors of about 2 % of the largest value.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float

from vtcd_jax.ablation.gates import Gates as Design
from vtcd_jax.ablation.gates import as_design, rows_of
from vtcd_jax.ablation.support import Support
from vtcd_jax.data.same import check_same_clips

from .instance import Instance
from .outputs import circuit_value, head_output, ids_at, kept_tokens, sought_values
from .wiring import Circuit, Ramp

MOST = 14
DRAWS = 4096

Outputs = Float[np.ndarray, "mask"]
Gates = Float[np.ndarray, "mask concept"]


def planned_scores(planted: Instance, support: Support, design: Design) -> Float[np.ndarray, "video mask"]:
    """The logit of each clip's class under the masks of a design, as ``importance.scores`` would measure; NaN beyond
    the rows of a clip."""
    clips = planted.clips
    check_same_clips("concepts", support.hashes, clips, "find them in these clips")
    rows, present = as_design(design, support.concepts), support.present()
    out = np.full((len(clips), rows.masks), np.nan)
    for video in range(len(clips)):
        count = rows.count(present[video])
        gates = rows_of(rows, support, clips.hashes[video], 0, count, present[video])
        out[video, :count] = logit_under(planted, support, video, gates)
    return out


def logit_under(planted: Instance, support: Support, video: int, gates: Gates) -> Outputs:
    """v of one clip under masks."""
    label = int(planted.clips.labels[video])
    parts = []
    for circuit in planted.wiring.circuits:
        outputs = [_outputs(planted, support, video, head, gates) for head in circuit.heads]
        parts.append(circuit.weights[label] * circuit_value(circuit, outputs))
    return np.sum(np.broadcast_arrays(*parts), axis=0) + planted.wiring.biases[label]


def planned_importance(planted: Instance, support: Support) -> Float[np.ndarray, "concept"]:
    """The Banzhaf value of every concept for the logit of the clip's class, mean over clips."""
    total, support = np.zeros(support.concepts), _unfolded(support)
    for video, label in enumerate(planted.clips.labels):
        for circuit in planted.wiring.circuits:
            total += circuit.weights[int(label)] * banzhaf(planted, support, video, circuit)
    return total / len(planted.clips)


def _unfolded(support: Support) -> Support:
    """A hierarchy as concepts that overlap: a token belongs to its leaf and to all that the leaf is a part of."""
    if support.parent is None:
        return support
    parent, ids = np.append(support.parent, -1), {}  # -1: none
    for site, leaves in support.ids.items():
        slots = [leaves[..., 0]]
        while (slots[-1] >= 0).any():
            slots.append(parent[slots[-1]])
        ids[site] = np.stack(slots, -1)
    return Support(ids, support.concepts, hashes=support.hashes)


def banzhaf(planted: Instance, support: Support, video: int, circuit: Circuit) -> Float[np.ndarray, "concept"]:
    """Of the circuit's y in one clip."""
    value, outputs_of = np.zeros(support.concepts), partial(_outputs_of, planted, support, video)
    own = [_players(planted, support, video, head) for head in circuit.heads]
    if len(own) == 2 and np.isin(own[0], own[1]).any():
        players = np.unique(np.concatenate(own))
        rows = subsets(len(players))
        y = circuit_value(circuit, [outputs_of(head, players, rows) for head in circuit.heads])
        value[players] = _slopes(rows, y)
        return value
    rows = [subsets(len(players)) for players in own]
    outputs = [outputs_of(head, *of_head) for head, *of_head in zip(circuit.heads, own, rows, strict=True)]
    for position, players in enumerate(own):
        value[players] = _slopes(rows[position], _mean_over_others(circuit, outputs, position))
    return value


def subsets(players: int) -> Float[np.ndarray, "mask player"]:
    """Every subset of the players, 1 kept; of more than ``MOST`` players ``DRAWS`` pairs of random complements, which
    depend on their number only."""
    if players <= MOST:
        return (np.arange(1 << players)[:, None] >> np.arange(players) & 1).astype(np.float64)
    half = np.random.default_rng(players).integers(0, 2, (DRAWS, players)).astype(np.float64)
    return np.concatenate([half, 1 - half])


def _slopes(rows: Float[np.ndarray, "mask player"], y: Outputs) -> Float[np.ndarray, "player"]:
    """Least squares of y on the players: over all subsets, the mean with a player minus the mean without (Hammer &
    Holzman 1992); over drawn ones, close to it, because the effects of other players are taken out."""
    X = 2 * rows - 1
    return 2 * np.linalg.solve(X.T @ X, X.T @ (y - y.mean())) if rows.shape[1] else np.zeros(0)


def _players(planted: Instance, support: Support, video: int, head: int) -> np.ndarray:
    """The concepts whose removal changes a head's output in a clip."""
    values = sought_values(planted.wiring, head, planted.values[video])
    found = np.unique(ids_at(support.ids, video, head, values))
    return found[found >= 0]


def _outputs_of(
    planted: Instance, support: Support, video: int, head: int, players: np.ndarray, rows: np.ndarray
) -> Outputs:
    """o of a head when some players are removed and all other concepts kept. rows: [mask, player]."""
    gates = np.ones((len(rows), support.concepts))
    gates[:, players] = rows
    return _outputs(planted, support, video, head, gates)


def _outputs(planted: Instance, support: Support, video: int, head: int, gates: Gates) -> Outputs:
    values = sought_values(planted.wiring, head, planted.values[video])
    return head_output(values, kept_tokens(ids_at(support.ids, video, head, values), gates))


def _mean_over_others(circuit: Circuit, outputs: list[np.ndarray], position: int) -> Outputs:
    """y as a function of the output of one head, mean over all outputs of the other."""
    own = outputs[position]
    if len(outputs) == 1:
        return circuit_value(circuit, outputs)
    mean = partial(_mean_ramp, own=own, other=outputs[1 - position], position=position)
    return np.sum([mean(ramp) for ramp in circuit.ramps], axis=0)


def _mean_ramp(ramp: Ramp, *, own: Outputs, other: Float[np.ndarray, "other"], position: int) -> Outputs:
    """Mean over ``other`` of weight · max(0, slope · own + slope' · other + offset): from the sorted second terms, of
    which those above -(first term) count."""
    first = ramp.slopes[position] * own + ramp.offset
    second = np.sort(ramp.slopes[1 - position] * other)
    above = np.append(np.cumsum(second[::-1])[::-1], 0.0)  # sum of those from each one on
    start = np.searchsorted(second, -first)
    return ramp.weight * (above[start] + (len(second) - start) * first) / len(second)
