"""What a ranking measures: scores of masks, slopes at random gates, or both, score by score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jax.sharding import Mesh

from vtcd_jax.ablation import Design, Support, nothing_removed, scores, slopes
from vtcd_jax.data import ClipSource
from vtcd_jax.models import Model
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores import Scores, Targets, score_functions

from .designs.slopes import Joined, Slopes
from .estimation.estimators import Rows, Values
from .named_designs import check_slopes, sloped_scores

RANK = Step("rank", "ranking", "pass")
BASELINE = Step("baseline", "baseline", "pass", brief=True)


@dataclass(frozen=True)
class Passes:
    """The passes of one score.

    design: what its estimator reads: a design of masks, ``Slopes``, or ``Joined``.
    values: of each clip: scores [mask], slopes [row, concept], or both as a pair; NaN where not run.
    """

    design: Design | Joined
    values: Sequence[Values]


def measure(
    model: Model,
    clips: ClipSource,
    support: Support,
    design: Design | Joined,
    *,
    score: Scores,
    targets: Targets,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    rows: Rows | None = None,
    step: Step = RANK,
    work: Work = Work(),
) -> dict[str, Passes]:
    """The passes of every score by name. Under ``Joined``, all scores but the first have masks alone.

    rows: int [video], rows of each clip from the first (a pair of them under ``Joined``); None: all.
    step: names the blocks of masks; those of slopes are in ``<step>-slopes``.
    Raises InputError for a score without slope under ``Slopes``, and for such a first one under ``Joined``.
    """
    named = score_functions(score)
    check_slopes({Slopes: "slopes", Joined: "joined"}.get(type(design), ""), named)
    settings = {"targets": targets, "mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype, "work": work}
    of_slopes = replace(step, name=f"{step.name}-slopes", title=f"{step.title}, slopes")

    def run(function: Callable[..., Any], part: Design, score: Scores, rows: Rows | None, step: Step) -> dict[str, Any]:
        found = function(model, clips, support, part, score=score, rows=rows, step=step, **settings)
        return found if rows is None else {name: _first(values, rows) for name, values in found.items()}

    if isinstance(design, Slopes):
        found = run(slopes, design, named, rows, of_slopes)
    elif isinstance(design, Joined):
        of_masks, of_gates = (None, None) if rows is None else rows
        masked = run(scores, design.masks, named, of_masks, step)
        sloped = run(slopes, design.slopes, sloped_scores("joined", named), of_gates, of_slopes)
        both = {name: list(zip(masked[name], values, strict=True)) for name, values in sloped.items()}
        return {n: Passes(design, both[n]) if n in both else Passes(design.masks, list(v)) for n, v in masked.items()}
    else:
        found = run(scores, design, named, rows, step)
    return {name: Passes(design, list(values)) for name, values in found.items()}


def _first(values: np.ndarray, rows: Rows) -> np.ndarray:
    """Values [video, row, ...], NaN from the clip's number of rows on: blocks may have more."""
    unused = np.arange(values.shape[1]) >= np.asarray(rows)[:, None]
    return np.where(unused.reshape(*unused.shape, *[1] * (values.ndim - 2)), np.nan, values)


def baselines(
    model: Model,
    clips: ClipSource,
    support: Support,
    *,
    score: Scores,
    targets: Targets,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    work: Work = Work(),
) -> dict[str, np.ndarray]:
    """name -> float64 [video]: scores with nothing removed. The chunk is always 1."""
    unmasked = scores(
        model, clips, support, nothing_removed(support.concepts), score=score, targets=targets, mode=mode, chunk=1,
        mesh=mesh, dtype=dtype, step=BASELINE, work=work,
    )  # fmt: skip
    return {name: values[:, 0].astype(np.float64) for name, values in unmasked.items()}
