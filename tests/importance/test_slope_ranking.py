"""Rankings of a network by slopes, and by slopes and masks: resumable, divisible, and clear about scores without
slope."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from vtcd_jax.concepts import Concepts
from vtcd_jax.importance import Joined, Support, cris, make_design, rank
from vtcd_jax.importance.cris import Ranking
from vtcd_jax.importance.measure import measure
from vtcd_jax.models import InputError
from vtcd_jax.runs import MemoryStore, Shard, Work
from vtcd_jax.scores import find_targets

from .test_ranking import Limited

pytestmark = pytest.mark.compile

BOTH = ("logit", "accuracy")


def ranked(model, clips, concepts: Concepts, name: str, masks: int = 480, score=BOTH, **settings) -> Ranking:
    design = make_design(name, 0, masks, concepts=concepts)
    return rank(model, clips, concepts, design, score=score, design_name=name, chunk=1, **settings)


@pytest.fixture(scope="module")
def joined(model, clips, concepts) -> Ranking:
    return ranked(model, clips, concepts, "joined")


@pytest.mark.parametrize("design", ["slopes", "joined"])
def test_slopes_rank_a_network_as_very_many_masks_do(model, clips, concepts, design):
    exact = cris(model, clips, concepts, score="logit", masks=4096, key=1, design="folded-hadamard")
    found = cris(model, clips, concepts, score="logit", masks=600, key=0, design=design)
    assert (found.design, found.estimator) == (design, {"slopes": "slope"}.get(design, "joined"))
    assert np.corrcoef(found.importance, exact.importance)[0, 1] > 0.98
    error = np.sqrt(found.se_masks**2 + exact.se_masks**2)
    bias = 0.1 * np.abs(exact.importance).max()
    np.testing.assert_array_less(np.abs(found.importance - exact.importance), 4 * error + bias)


def test_smooth_scores_are_ranked_by_slopes_joined_with_masks_by_default(model, clips, concepts):
    found = cris(model, clips, concepts, score="logit", masks=120, key=0, chunk=1)
    asked = cris(model, clips, concepts, score="logit", masks=120, key=0, chunk=1, design="joined")
    assert (found.design, found.estimator) == ("joined", "joined")
    np.testing.assert_array_equal(found.importance, asked.importance)
    assert cris(model, clips, concepts, score="accuracy", masks=120, key=0, chunk=1).design == "folded-hadamard"


def test_scores_without_slope_are_read_from_the_masks_alone(model, clips, concepts, joined):
    smooth, flat = joined.importance
    assert (smooth.estimator, flat.estimator) == ("joined", "contrast")
    design = make_design("joined", 0, 480, concepts=concepts)
    assert isinstance(design, Joined)
    alone = rank(model, clips, concepts, design.masks, score="accuracy", design_name="joined", chunk=1)
    np.testing.assert_array_equal(flat.importance, alone.importance[0].importance)
    np.testing.assert_array_equal(joined.nulls[1].p, alone.nulls[0].p)
    assert (smooth.masks == flat.masks + design.slopes.masks).all()
    seen = Support.of(concepts).present().any(0)
    assert (smooth.se_masks[seen] > 0).all() and np.isfinite(joined.nulls[0].p[seen]).all()


def test_slopes_are_those_of_the_first_score(model, clips, concepts, joined):
    """A second smooth score costs nothing more, and is read from the masks."""
    found = ranked(model, clips, concepts, "joined", score=("logit", "log_probability"))
    assert [result.estimator for result in found.importance] == ["joined", "contrast"]
    np.testing.assert_array_equal(found.importance[0].importance, joined.importance[0].importance)


def test_a_joined_ranking_is_the_same_after_an_interruption(model, clips, concepts, joined):
    store = Limited(4)  # three untouched clips and a block of masks
    for writes in (4, 10, 3):
        store.left = writes
        with pytest.raises(KeyboardInterrupt):
            ranked(model, clips, concepts, "joined", work=Work(store))
    store.left = 1000
    again = ranked(model, clips, concepts, "joined", work=Work(store))
    for mine, other in zip(again.importance, joined.importance, strict=True):
        np.testing.assert_array_equal(mine.importance, other.importance)
        np.testing.assert_array_equal(mine.se_masks, other.se_masks)
    assert {name.split("/")[0] for name in store.blocks} == {"baseline", "rank", "rank-slopes"}


def test_shards_of_a_joined_ranking_are_together_the_whole(model, clips, concepts, joined):
    store, design = MemoryStore(), make_design("joined", 0, 480, concepts=concepts)
    run = partial(measure, model, clips, Support.of(concepts), design, score=BOTH, targets=find_targets(model, clips))
    for index in (1, 0):
        run(chunk=1, work=Work(store, shard=Shard(index, 2)))
    names = set(store.blocks)
    found = ranked(model, clips, concepts, "joined", work=Work(store))
    np.testing.assert_array_equal(found.importance[0].importance, joined.importance[0].importance)
    assert {name for name in store.blocks if not name.startswith("baseline")} == names


def test_a_joined_ranking_may_stop_early(model, clips, concepts, monkeypatch):
    monkeypatch.setattr("vtcd_jax.importance.estimation.stopping.NOISE", 0.0)
    found = ranked(model, clips, concepts, "joined", 960, stop_top=7)
    assert len(found.interim) > 1 and found.interim[-1].reason
    passes = [analysis.masks for analysis in found.interim]
    assert passes == sorted(passes) and passes[0] < passes[-1] == found.importance[0].masks.sum()


def test_scores_without_slope_are_refused_with_what_to_do(model, clips, concepts):
    run = partial(ranked, model, clips, concepts)
    with pytest.raises(InputError, match="score 'accuracy' has no slope; take 'log_probability', or --design joined"):
        run("slopes", score=BOTH)
    for name in ("slopes", "joined"):
        with pytest.raises(InputError, match="^score 'accuracy' has no slope; take 'log_probability'$"):
            run(name, score="accuracy")
    with pytest.raises(InputError, match="score 'accuracy' has no slope; put 'log_probability' first"):
        run("joined", score=BOTH[::-1])
    with pytest.raises(InputError, match="--masks 40 are too few for --design joined"):
        cris(model, clips, concepts, score="logit", masks=40, key=0, design="joined")
    with pytest.raises(InputError, match="estimator 'regression' does not fit design 'slopes'"):
        cris(model, clips, concepts, score="logit", key=0, design="slopes", estimator="regression")
