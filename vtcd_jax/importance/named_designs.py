"""Designs by name, checked against the estimator."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from vtcd_jax.ablation import Design
from vtcd_jax.base.errors import InputError
from vtcd_jax.base.random import Seed, as_key
from vtcd_jax.concepts import Concepts
from vtcd_jax.scores import Score
from vtcd_jax.scores.functions import check_smooth, flat_scores, is_smooth

from .designs import Bernoulli, Hadamard, Joined, LeaveOneOut, Levels, Paired, Random, Slopes
from .designs.random import check_ratio, removed_count
from .designs.slopes import DRAW, MIN_ROWS, slope_price
from .estimation.estimators import ESTIMATORS, ORIGINALS

DESIGNS = (
    "folded-hadamard", "hadamard", "paired", "bernoulli", "random", "heads", "leave-one-out", "slopes", "joined",
)  # fmt: skip
NESTED = ("folded-hadamard", "heads", "leave-one-out")  # designs that know a hierarchy of concepts
UNBALANCED = ("bernoulli", "random")  # designs that can remove another fraction than a half


def make_design(
    name: str,
    key: Seed,
    masks: int,
    *,
    concepts: Concepts,
    ratio: float = 0.5,
    estimator: str | None = None,
    sloped: int = 1,
) -> Design | Joined:
    """A design by name. For "paper" and "released", "random" is that of the originals: absent concepts are removed
    too, and every mask removes equally many. For a hierarchy of concepts "folded-hadamard" has a block for each of its
    levels (``designs.levels``).

    masks:  what a clip may cost, in masked passes. "slopes" spends them on slopes (see ``slope_price``), "joined" one
            half on slopes and the other on whole blocks.
    sloped: number of scores whose slopes are measured (``sloped_scores``).

    Raises InputError for an unknown name, for a ratio other than a half where the design has none, for one that removes
    no concept, and for an estimator that does not fit the design.
    """
    if name not in DESIGNS:
        raise InputError(f"unknown design {name!r}; known: {', '.join(DESIGNS)}")
    check_design_ratio(name, ratio)
    check_estimator(name, estimator)
    check_nested(name, concepts.parent is not None)
    key = as_key(key)
    if name == "random" and estimator in ORIGINALS:
        removed_count(len(concepts), ratio)
        return Random(key, masks, ratio, "all")
    if name == "random":
        return Random(key, masks, ratio)
    if name == "bernoulli":
        return Bernoulli(key, masks, ratio)
    if name == "paired":
        return Paired(key, masks)
    if name == "leave-one-out":
        return LeaveOneOut(len(concepts))
    if name == "slopes":
        return Slopes(key, slope_rows(name, masks, sloped))
    if name == "joined":
        rows = slope_rows(name, masks, sloped)
        rest = masks - rows * slope_price(sloped)
        return Joined(Hadamard(key, rest), Slopes(jax.random.fold_in(key, 1), rows))
    if concepts.parent is not None and name == "folded-hadamard":
        return Levels(key, masks, concepts.parent)
    groups = head_groups(concepts) if name == "heads" else None
    return Hadamard(key, masks, folded=name != "hadamard", groups=groups)


def slope_rows(design: str, masks: int, sloped: int) -> int:
    """Rows of slopes of a clip. Raises InputError where ``masks`` are too few."""
    shares, price = 2 if design == "joined" else 1, slope_price(sloped)
    rows = MIN_ROWS if design == "joined" else DRAW
    if masks < (least := shares * rows * price):
        raise InputError(
            f"--masks {masks} are too few for --design {design}: a pass for slopes costs as much as {price} masked "
            f"passes; give at least {least} (--control-masks also)"
        )
    return masks // shares // price


def sloped_scores(design: str, scores: Mapping[str, Score]) -> dict[str, Score]:
    """The scores whose slopes a design measures: all under "slopes"; under "joined" the first, by which concepts are
    ranked; none under others."""
    return dict(list(scores.items())[: {"slopes": len(scores), "joined": 1}.get(design, 0)])


def check_slopes(design: str, scores: Mapping[str, Score]) -> None:
    """Raises InputError where a score has no slope that the design measures (``sloped_scores``)."""
    flat, sloped = flat_scores(scores), sloped_scores(design, scores)
    wrong = next((name for name in sloped if name in flat), None)
    if wrong is None:
        return
    if len(scores) == 1:
        check_smooth(scores)
    advice = f"take {flat[wrong]!r}, or --design joined, which reads all scores but the first from masks"
    if design == "joined":
        advice = f"put {flat[wrong]!r} first"
    raise InputError(f"score {wrong!r} has no slope; {advice}")


def default_design(
    scores: Mapping[str, Score], masks: int, *, estimator: str | None = None, nested: bool = False
) -> str:
    """The random design for the estimators "paper" and "released". Without an estimator, joined where the first score
    is known to be smooth and ``masks`` allow for both parts; else folded-hadamard.

    scores: name -> function. One of your own may have no slope, so that it is measured by masks; ask for "joined".
            Empty: not known yet, so masks.
    nested: whether concepts are a hierarchy, which has no slopes.
    """
    if estimator in ORIGINALS:
        return "random"
    enough = masks >= 2 * MIN_ROWS * slope_price(1)
    smooth = any(is_smooth(first) for first in list(scores.values())[:1])
    return "joined" if smooth and enough and not nested and estimator in (None, "joined") else "folded-hadamard"


def check_estimator(design: str, estimator: str | None) -> None:
    """Raises InputError for an unknown estimator, and for one that does not fit a design. None: what fits.

    "paper" and "released" compare concepts by sums over all clips. An absent concept must be removable too; otherwise
    its rank depends on the number of clips that have it.
    """
    if estimator is None:
        return
    if estimator not in ESTIMATORS:
        raise InputError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
    if estimator in ORIGINALS and design != "random":
        raise InputError(f"--estimator {estimator} needs --design random, not {design}; leave out --design")
    alone = {"drop": "leave-one-out", "slope": "slopes", "joined": "joined"}  # estimators that fit one design
    if alone.get(estimator, design if design not in alone.values() else None) != design:
        raise InputError(f"estimator {estimator!r} does not fit design {design!r}; leave out one of them")


def check_nested(design: str, nested: bool) -> None:
    """Raises InputError for a design that knows no hierarchy of concepts where there is one."""
    if nested and design not in NESTED:
        raise InputError(
            f"a hierarchy of concepts (--nmf.tree) is ranked by --design {', '.join(NESTED)}; {design!r} knows none"
        )


def check_design_ratio(design: str, ratio: float) -> None:
    """Raises InputError for a fraction of removed concepts that a design does not support."""
    check_ratio(ratio)
    if ratio != 0.5 and design not in UNBALANCED:
        raise InputError(f"--ratio {ratio}: design {design!r} has a fixed ratio; choose --design random or bernoulli")


def head_groups(concepts: Concepts) -> np.ndarray:
    """int [concept]: a number for each (site, head)."""
    heads = np.stack([concepts.site, concepts.head], axis=1)
    return np.unique(heads, axis=0, return_inverse=True)[1].ravel()
