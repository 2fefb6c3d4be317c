"""The planted network's scores in closed form: its logits with any tokens removed.

``planned_scores`` has the arguments of ``importance.scores`` and gives the same result to within a hundredth, without
passes of the network (see ``truth.planted_logit``). So the importance of *any* concepts is known exactly.
"""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Float, Int

from vtcd_jax.ablation.gates import Gates, as_design, rows_of
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.importance import Hadamard, Levels, Support, importance_from_scores

from .truth import ACTING, attended, covered, weight_of

MASKS = 512  # per clip, of the design for exact importance; they are cheap


def planned_scores(clips: Clips, support: Support, design: Gates) -> Float[np.ndarray, "video mask"]:
    """The logit of each clip's class under the masks of a design; NaN beyond the rows of a clip.

    design: as for ``importance.scores``: an array [mask, concept] of zeros and ones is one.
    """
    check_same_clips("concepts", support.hashes, clips, "find them in these clips")
    rows = as_design(design, support.concepts)
    present, marked = support.present(), covered(clips.masks["object"])
    out = np.full((len(clips), rows.masks), np.nan)
    for video, mask in enumerate(marked):
        count = rows.count(present[video])
        gates = rows_of(rows, support, clips.hashes[video], 0, count, present[video])
        out[video, :count] = 0
        for acting in ACTING:
            site, head = acting
            ids = support.ids[site][video][mask][:, head] if site in support.ids else np.full((int(mask.sum()), 1), -1)
            attention = np.array([attended(len(ids), removed) for removed in range(len(ids) + 1)])
            out[video, :count] += weight_of(acting) * attention[_removed(ids, gates)]
    return out


def _removed(ids: Int[np.ndarray, "token slot"], gates: Float[np.ndarray, "mask concept"]) -> Int[np.ndarray, "mask"]:
    """Number of tokens that belong to a concept whose gate is 0."""
    kept = np.pad(gates, ((0, 0), (0, 1)), constant_values=1.0)[:, ids]  # -1: kept
    return (kept.min(-1) == 0).sum(-1)


def planned_importance(clips: Clips, concepts: Concepts, key: jax.Array) -> Float[np.ndarray, "concept"]:
    """The result of CRIS for the logit with very many masks."""
    support, parent = Support.of(concepts), concepts.parent
    design = Hadamard(key, MASKS) if parent is None else Levels(key, MASKS, parent)
    masked = planned_scores(clips, support, design)
    unmodified = planned_scores(clips, support, np.ones((1, len(concepts)), np.float32))[:, 0]
    present = support.present()
    return importance_from_scores(
        "logit", "folded-hadamard", design, masked, unmodified, clips.hashes, present
    ).importance
