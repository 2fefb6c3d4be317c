"""Occlusion: the drop of the score when one concept is removed alone.

    importance_i = v(all) - v(all but i)

``soft`` is the second kind in the released code: removing concept i scales down every tubelet of its head by the
tubelet's membership in i (its row of convex weights, scaled to [0, 1] over the head's concepts), on the tubelet's
tokens. Unlike there, the order of tokens is right for every network. Zeiler & Fergus (2014); VTCD, figure 4.
"""

from __future__ import annotations

import numpy as np
from jax.sharding import Mesh

from vtcd_jax.ablation import Support, scores
from vtcd_jax.concepts import Concepts
from vtcd_jax.concepts.proposals import token_ids
from vtcd_jax.data import ClipSource
from vtcd_jax.models import InputError, Model
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores.functions import Scores, default_scores, score_functions
from vtcd_jax.scores.targets import Class, Reference, find_targets

from .cris import importance_from_scores
from .designs.random import LeaveOneOut
from .estimation.result import Importance
from .measure import baselines

OCCLUSION = Step("occlusion", "occlusion", "pass")


def occlusion(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    *,
    soft: bool = False,
    score: Scores | None = None,
    target: Class | None = None,
    reference: Reference = "true",
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    work: Work = Work(),
) -> Importance:
    """The drop of the score for each concept, one pass per present concept and clip; exact, so without sampling error.

    Passes begin at the first edited block where the network runs in stages (on one device).
    soft: see above. The other arguments are those of ``cris``. Raises InputError for concepts without memberships
    (``soft``), and as ``cris`` does.
    """
    score = default_scores(model)[0] if score is None else score
    targets = find_targets(model, clips, target=target, reference=reference)
    support = soft_support(concepts) if soft else Support.of(concepts)
    design, name = LeaveOneOut(len(concepts)), next(iter(score_functions(score)))
    settings = {"score": score, "targets": targets, "mode": mode, "mesh": mesh, "dtype": dtype, "work": work}
    passes = scores(model, clips, support, design, chunk=chunk, step=OCCLUSION, **settings)
    baseline = baselines(model, clips, support, **settings)
    label = "soft leave-one-out" if soft else "leave-one-out"
    present = support.present()
    return importance_from_scores(name, label, design, passes[name], baseline[name], clips.hashes, present)


def soft_support(concepts: Concepts) -> Support:
    """A support in which every token belongs to all concepts of its head, with the membership of its tubelet."""
    if concepts.parent is not None:
        raise InputError("soft occlusion knows no hierarchy of concepts; discover them without one (--nmf.tree 0)")
    memberships, numbers = concepts.memberships, int(concepts.number.max())
    if memberships.shape[1] < numbers:
        raise InputError("these concepts carry no memberships of tubelets; discover them again")
    low, high = (
        f(np.where(_real(concepts), memberships, fill), axis=1) for f, fill in ((np.min, np.inf), (np.max, -np.inf))
    )
    scaled = (memberships - low[:, None]) / np.maximum(high - low, np.finfo(np.float32).tiny)[:, None]
    tubelets, rule = np.arange(len(concepts.tubelets)), concepts.settings["slic"]["grid_rule"]
    tokens = token_ids(concepts.tubelets, tubelets, concepts.labels, concepts.sites, concepts.grid, rule)
    ids, weight = {}, {}
    for s, site in enumerate(concepts.sites):
        tubelet = tokens[site][..., 0]  # [video, time, height, width, head]
        by_head = np.full((int(concepts.head.max()) + 1, numbers), -1, np.int32)
        of_site = np.flatnonzero(concepts.site == s)
        by_head[concepts.head[of_site], concepts.number[of_site] - 1] = of_site
        heads = tubelet.shape[-1]
        ids[site] = np.where(tubelet[..., None] >= 0, by_head[:heads], -1).astype(np.int32)
        weight[site] = np.where(ids[site] >= 0, scaled[tubelet], 0).astype(np.float32)
    return Support(ids, len(concepts), weight, tuple(concepts.video_hashes))


def _real(concepts: Concepts) -> np.ndarray:
    """bool [tubelet, number]: whether the tubelet's head has a concept of that number."""
    counts = np.zeros((len(concepts.sites), int(concepts.head.max()) + 1), int)
    np.add.at(counts, (concepts.site, concepts.head), 1)
    counts = counts[concepts.tubelets.site, concepts.tubelets.head]
    return np.arange(int(concepts.number.max())) < counts[:, None]
