"""``slopes``: the derivative of ``scores`` with respect to the gates, by the same blocks, stores and devices.

    slopes[name][video, mask, concept] = d score(network(clip with gates)) / d gates[concept]   at gates[mask]

One pass forward and one back per score give the slopes of all concepts at once. Memory grows with ``chunk``; each row
that runs together keeps the values of its forward pass. The result has 4 bytes per clip, mask, concept and score.
"""

from __future__ import annotations

import numpy as np
from jax.sharding import Mesh

from vtcd_jax.data import ClipSource
from vtcd_jax.models import Model
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores import Scores, Targets, default_scores, score_functions
from vtcd_jax.scores.functions import check_smooth, flat_scores

from .gates import Gates
from .scores import measured
from .support import Support

SLOPES = Step("slopes", "slopes", "pass")


def slopes(
    model: Model,
    clips: ClipSource,
    support: Support,
    design: Gates,
    *,
    score: Scores | None = None,
    targets: Targets | None = None,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    rows: np.ndarray | None = None,
    step: Step = SLOPES,
    work: Work = Work(),
) -> dict[str, np.ndarray]:
    """Slopes of smooth scores along every gate: name -> float32 [video, mask, concept], NaN where not run.

    The slope of a concept that the clip does not have is 0. score: default: the smooth ones of the scores that fit the
    network. The other arguments, and what is raised, are as for ``scores``; in addition InputError for a score without
    slope (0/1 scores).
    """
    if score is None:
        named = score_functions(default_scores(model))
        score = {name: function for name, function in named.items() if name not in flat_scores(named)}
    check_smooth(score_functions(score))
    settings = {"mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype}
    return measured("slopes", model, clips, support, design, score, targets, rows, step, work, **settings)
