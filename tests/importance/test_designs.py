"""Masks are what their design says, and depend on nothing but key, clip, index and the concepts that are there."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax.ablation.design import Design, removal_order
from vtcd_jax.concepts.types import Concepts, Tubelets
from vtcd_jax.importance.curves import removal_counts
from vtcd_jax.importance.designs.hadamard import SPARE, Hadamard
from vtcd_jax.importance.designs.hadamard_matrices import order_for
from vtcd_jax.importance.designs.random import Bernoulli, LeaveOneOut, Paired, Random
from vtcd_jax.importance.designs.slopes import Joined, Slopes
from vtcd_jax.importance.named_designs import (
    DESIGNS,
    check_design_ratio,
    check_estimator,
    default_design,
    head_groups,
    make_design,
)
from vtcd_jax.models import InputError
from vtcd_jax.scores import score_functions

KEY, CLIP = jax.random.key(4), "ab" * 32
PRESENT = np.array([True, True, False, True, True, True, False, True, True, True, True, False, True, True])
NOTHING, EVERYTHING = np.zeros(14, bool), np.ones(14, bool)


def concepts() -> Concepts:
    """Fourteen concepts in five heads of two sites."""
    none = np.zeros(0, np.int32)
    site, head = np.repeat([0, 0, 1, 1, 1], [2, 4, 3, 3, 2]), np.repeat([0, 1, 0, 1, 2], [2, 4, 3, 3, 2])
    return Concepts(
        ("block_0/attn/key", "block_1/attn/key"), (1, 1, 1), (1, 1, 1), site, head, none, none,
        Tubelets(*[none] * 6), none, none, none, {}, {}, none, none, none,
    )  # fmt: skip


MASKED = [name for name in DESIGNS if name not in ("slopes", "joined")]  # gates of 0 and 1
SINGLE = [*MASKED, "slopes"]  # of one part


def design(name: str, masks: int = 96, key: jax.Array = KEY) -> Design:
    made = make_design(name, key, masks, concepts=concepts())
    assert not isinstance(made, Joined)
    return made


def all_rows(made: Design, present: np.ndarray = PRESENT, clip: str = CLIP) -> np.ndarray:
    return made.rows(clip, 0, made.count(present), present)


@pytest.mark.parametrize("name", SINGLE)
def test_any_split_gives_the_same_rows(name):
    """Chunking, sharding and taking up an interrupted run change no draw."""
    made = design(name)
    rows = all_rows(made)
    for seed in range(5):
        cuts = np.sort(np.random.default_rng(seed).integers(0, len(rows) + 1, 6))
        bounds = [0, *cuts, len(rows)]
        parts = [made.rows(CLIP, int(a), int(b), PRESENT) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
        np.testing.assert_array_equal(np.concatenate(parts), rows)


@pytest.mark.parametrize("name", SINGLE)
def test_rows_are_a_function_of_key_clip_index_and_presence(name):
    rows = all_rows(design(name))
    np.testing.assert_array_equal(all_rows(design(name, key=jax.random.key(4))), rows)
    np.testing.assert_array_equal(all_rows(design(name, masks=200))[: len(rows)], rows, "more masks are added")
    if name != "leave-one-out":
        assert not np.array_equal(all_rows(design(name), clip="cd" * 32), rows)
        assert not np.array_equal(all_rows(design(name, key=jax.random.key(5))), rows)


@pytest.mark.parametrize("name", MASKED)
def test_gates_are_zero_or_one_and_absent_concepts_stay(name):
    rows = all_rows(design(name))
    assert rows.dtype == np.float32 and set(np.unique(rows)) == {0, 1}
    assert (rows[:, ~PRESENT] == 1).all()
    assert (all_rows(design(name), NOTHING) == 1).all()


@pytest.mark.parametrize("name", [name for name in SINGLE if design(name).paired])
def test_each_mask_of_a_pair_removes_what_the_other_keeps(name):
    rows = all_rows(design(name))[:, PRESENT]
    np.testing.assert_allclose(rows[0::2], 1 - rows[1::2], atol=1e-7)


@pytest.mark.parametrize("name", [name for name in MASKED if name != "leave-one-out"])
def test_no_more_masks_are_run_than_asked_for(name):
    for masks in (2, 3, 7, 31, 32, 33, 64, 95, 500):
        made = design(name, masks=masks)
        for present in (PRESENT, NOTHING, EVERYTHING):
            count = made.count(present)
            assert 0 < count <= masks == made.masks
            assert len(all_rows(made, present)) == count
            assert count % 2 == 0 or not made.paired, "no half pair"


@pytest.mark.parametrize("name", [name for name in MASKED if name != "leave-one-out"])
def test_every_player_is_removed_about_half_of_the_time(name):
    made = design(name, masks=3000)
    removed = 1 - all_rows(made, EVERYTHING)
    np.testing.assert_allclose(removed.mean(0), 0.5, atol=0.04)
    assert made.ratio == 0.5


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_gates_of_slopes_are_fair_and_drawn_as_often_as_asked(share):
    made = Slopes(KEY, 4000, share)
    gates, drawn = made.rows(CLIP, 0, 4000, PRESENT), made.drawn(CLIP, 0, 4000, PRESENT)
    assert (gates[:, ~PRESENT] == 1).all() and not drawn[:, ~PRESENT].any()
    gates, drawn = gates[:, PRESENT], drawn[:, PRESENT]
    assert set(np.unique(gates[~drawn])) <= {0, 1} and ((gates >= 0) & (gates <= 1)).all()
    np.testing.assert_array_equal(drawn[0::2], drawn[1::2])
    np.testing.assert_allclose(drawn.mean(0), share, atol=0.04)
    np.testing.assert_allclose(gates.mean(0), 0.5, atol=1e-6)
    np.testing.assert_allclose(np.quantile(gates[drawn], [0.1, 0.25, 0.75, 0.9]), [0.1, 0.25, 0.75, 0.9], atol=0.02)
    halves = gates[0::2] - 0.5  # of different concepts independent
    np.testing.assert_allclose(np.corrcoef(halves.T) - np.eye(int(PRESENT.sum())), 0, atol=0.09)


def test_every_concept_has_as_many_slopes_as_there_are_draws():
    drawn = Slopes(KEY, 400).drawn(CLIP, 0, 400, EVERYTHING)
    np.testing.assert_array_equal(drawn.reshape(100, 4, 14).sum(1), 2)


@pytest.mark.parametrize("masks, smooth", [(96, 1), (512, 1), (512, 2), (1000, 3)])
def test_joined_designs_spend_half_on_slopes_and_no_more_than_asked_for(masks, smooth):
    made = make_design("joined", KEY, masks, concepts=concepts(), sloped=smooth)
    alone = make_design("slopes", KEY, masks, concepts=concepts(), sloped=smooth)
    assert isinstance(made, Joined) and isinstance(alone, Slopes)
    price = 1 + 2 * smooth
    assert masks - price < alone.masks * price <= masks
    assert masks / 2 - price < made.slopes.masks * price <= masks / 2
    assert made.masks.count(EVERYTHING) + price * made.slopes.count(EVERYTHING) <= masks
    both = made.slopes.rows(CLIP, 0, 8, EVERYTHING), alone.rows(CLIP, 0, 8, EVERYTHING)
    assert not np.array_equal(*both), "masks and slopes are independent draws"


def test_every_player_is_removed_about_equally_often():
    rows = Random(jax.random.key(0), 2000, ratio=0.5).rows("0123456789abcdef" * 4, 0, 2000, np.ones(10, bool))
    np.testing.assert_allclose((rows == 0).mean(0), 0.5, atol=0.05)


def test_coins_fall_as_often_as_asked_and_independently():
    removed = 1 - Bernoulli(KEY, 4000, ratio=0.3).rows(CLIP, 0, 4000, EVERYTHING)
    np.testing.assert_allclose(removed.mean(0), 0.3, atol=0.03)
    np.testing.assert_allclose(np.corrcoef(removed.T), np.eye(14), atol=0.06)


def test_random_rows_depend_on_seed_clip_and_index_alone():
    present = np.array([True] * 7 + [False] * 3)
    made = Random(jax.random.key(4), 50, ratio=0.5)
    rows = made.rows("ab" * 32, 0, 50, present)
    np.testing.assert_array_equal(made.rows("ab" * 32, 20, 30, present), rows[20:30])
    assert not np.array_equal(made.rows("cd" * 32, 0, 50, present), rows)
    assert (rows[:, 7:] == 1).all(), "absent concepts are not players"
    everyone = Random(jax.random.key(4), 50, ratio=0.5, players="all").rows("ab" * 32, 0, 50, present)
    assert ((everyone == 0).sum(1) == 5).all()


def test_random_draws_how_many_present_concepts_go_as_coins_would():
    """Mean and variance of the number removed are binomial, so that no two concepts are tied to each other."""
    removed = 1 - Random(KEY, 4000, ratio=0.3).rows(CLIP, 0, 4000, EVERYTHING)
    np.testing.assert_allclose(removed.mean(0), 0.3, atol=0.03)
    np.testing.assert_allclose(removed.sum(1).var(), 14 * 0.3 * 0.7, rtol=0.1)
    np.testing.assert_allclose(np.corrcoef(removed.T), np.eye(14), atol=0.06)


@pytest.mark.parametrize("estimator", ["paper", "released"])
def test_absent_concepts_are_players_for_the_originals_alone(estimator):
    made = make_design("random", KEY, 40, concepts=concepts(), estimator=estimator)
    assert ((all_rows(made) == 0).sum(1) == 7).all() and (all_rows(made)[:, ~PRESENT] == 0).any()
    for other in (None, "contrast", "regression"):
        rows = all_rows(make_design("random", KEY, 40, concepts=concepts(), estimator=other))
        assert (rows[:, ~PRESENT] == 1).all() and np.ptp(rows.sum(1)) > 0


def test_one_concept_alone_is_removed_about_half_of_the_time():
    alone = np.arange(14) == 3
    np.testing.assert_allclose(1 - all_rows(Random(KEY, 400), alone)[:, 3].mean(), 0.5, atol=0.1)


@pytest.mark.parametrize("estimator, name", [
    (None, "joined"), ("joined", "joined"), ("contrast", "folded-hadamard"), ("regression", "folded-hadamard"),
    ("paper", "random"), ("released", "random"),
])  # fmt: skip
def test_the_default_design_is_what_the_estimator_reads(estimator, name):
    assert default_design(score_functions("margin"), 48, estimator=estimator) == name
    check_estimator(name, estimator)


def own(output, context):
    return output.logits[:, 0]


@pytest.mark.parametrize("score, name", [
    ("log_probability", "joined"), (("soft_iou", "iou"), "joined"), ("reconstruction", "joined"),
    ("accuracy", "folded-hadamard"), (("iou", "soft_iou"), "folded-hadamard"), (own, "folded-hadamard"),
])  # fmt: skip
def test_scores_that_may_have_no_slope_are_measured_by_masks(score, name):
    assert default_design(score_functions(score), 512) == name


def test_a_hierarchy_and_few_masks_are_measured_by_masks():
    scores = score_functions("logit")
    assert default_design(scores, 47) == default_design(scores, 512, nested=True) == "folded-hadamard"


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("present", [PRESENT, EVERYTHING, np.arange(14) == 3])
def test_whole_blocks_are_balanced_and_orthogonal(folded, present):
    made, players = Hadamard(KEY, 100, folded=folded), int(present.sum())
    order = made.order(present)
    assert order == order_for(players + SPARE), "the smallest matrix with columns to spare"
    size = made.block_rows(present)
    assert size == order * (2 if folded else 1) and made.count(present) == 100 // size * size
    for block in range(made.blocks(present)):
        signs = 2 * made.rows(CLIP, block * size, (block + 1) * size, present)[:, present] - 1
        np.testing.assert_array_equal(signs.sum(0), 0, "each concept is kept in half of the rows")
        np.testing.assert_array_equal(signs.T @ signs, size * np.eye(players), "every two, in all four ways alike")


def test_columns_that_no_concept_has_are_as_balanced_as_the_others():
    made = Hadamard(KEY, 96)
    signs = made.signs(CLIP, 1, int(PRESENT.sum()))
    columns = signs.matrix.astype(int)
    np.testing.assert_array_equal(columns.T @ columns, 16 * np.eye(15))
    assert signs.players == PRESENT.sum() and columns.shape[1] - signs.players >= SPARE
    rows = made.rows(CLIP, 32, 64, PRESENT)[0::2, PRESENT]
    np.testing.assert_array_equal(2 * rows - 1, columns[:, : signs.players], "rows and signs are one block")


def test_any_one_row_of_a_block_is_a_fair_toss_for_every_concept():
    """So that estimates have no bias, whatever the game."""
    made = Hadamard(KEY, 32 * 1000, folded=False)
    first = made.rows(CLIP, 0, made.masks, EVERYTHING)[:: made.block_rows(EVERYTHING)] * 2 - 1
    np.testing.assert_allclose(first.T @ first / len(first), np.eye(14), atol=0.12)
    np.testing.assert_allclose(first.mean(0), 0, atol=0.12)


def test_fewer_masks_than_a_block_are_its_first_rows():
    whole = all_rows(Hadamard(KEY, 32))
    np.testing.assert_array_equal(all_rows(Hadamard(KEY, 21)), whole[:20])
    assert Hadamard(KEY, 21).blocks(PRESENT) == 0


def test_concepts_of_a_head_go_together():
    groups, rows = head_groups(concepts()), all_rows(design("heads"))
    assert groups.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]
    for head in range(5):
        assert (np.ptp(rows[:, PRESENT & (groups == head)], axis=1) == 0).all()
    made = design("heads")
    assert isinstance(made, Hadamard) and made.block_rows(PRESENT) == 2 * order_for(5 + SPARE), "a head is one player"
    np.testing.assert_array_equal(made.representatives(PRESENT), [0, 3, 7, 9, 12])


def test_leave_one_out_removes_every_present_concept_once():
    made = LeaveOneOut(14)
    assert made.count(PRESENT) == PRESENT.sum() and made.masks == 14
    np.testing.assert_array_equal(1 - all_rows(made), np.eye(14)[PRESENT])


def test_removal_orders_are_cumulative_and_complete():
    gates = removal_order(np.array([2, 0, 1]), np.array([0, 1, 3])).gates
    np.testing.assert_array_equal(gates, [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    assert removal_counts(5, 20).tolist() == [0, 1, 2, 3, 4, 5]
    few = removal_order(np.array([3, 1]), np.array([0, 1, 2]), concepts=5).gates
    np.testing.assert_array_equal(few, [[1, 1, 1, 1, 1], [1, 1, 1, 0, 1], [1, 0, 1, 0, 1]])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: design("shuffled"), r"unknown design 'shuffled'; known: folded-hadamard, hadamard, .*joined"),
        (lambda: Random(KEY, 1), r"--masks 1 must be at least 2"),
        (lambda: Bernoulli(KEY, 0), r"--masks 0 must be at least 2"),
        (lambda: Paired(KEY, -3), r"--masks -3 must be at least 2"),
        (lambda: Hadamard(KEY, 1), r"--masks 1 must be at least 2"),
        (lambda: Random(KEY, 4, ratio=1.0), r"--ratio 1.0 must lie between 0 and 1"),
        (lambda: Bernoulli(KEY, 4, ratio=0.0), r"--ratio 0.0 must lie between 0 and 1"),
        (lambda: check_design_ratio("random", float("nan")), r"--ratio nan must lie between 0 and 1"),
        (
            lambda: make_design("paired", KEY, 8, concepts=concepts(), ratio=0.3),
            r"--ratio 0.3: design 'paired' has a fixed ratio; choose --design random or bernoulli",
        ),
        (
            lambda: make_design("random", KEY, 8, concepts=concepts(), ratio=0.05, estimator="paper"),
            r"--ratio 0.05 of 14 concepts removes none in each mask; give at least --ratio 0.072",
        ),
        (
            lambda: all_rows(Random(KEY, 8, players="all"), np.ones(1, bool)),
            r"--ratio 0.5 of 1 concepts removes none in each mask; there is only one",
        ),
        (lambda: check_estimator("random", "magic"), r"unknown estimator 'magic'; known: contrast, .*joined"),
        (lambda: check_estimator("random", "drop"), r"estimator 'drop' does not fit design 'random'; .*"),
        (lambda: check_estimator("slopes", "contrast"), r"estimator 'contrast' does not fit design 'slopes'; .*"),
        (lambda: check_estimator("joined", "slope"), r"estimator 'slope' does not fit design 'joined'; .*"),
        (lambda: check_estimator("paired", "joined"), r"estimator 'joined' does not fit design 'paired'; .*"),
        (lambda: Slopes(KEY, 3), r"3 slopes a clip are too few; at least 4 are needed"),
        (lambda: Slopes(KEY, 8, share=0.0), r"share 0.0 of drawn gates must lie above 0 and be at most 1"),
        (lambda: design("slopes", 11), r"--masks 11 are too few for --design slopes: .* as 3 .*; give at least 12.*"),
        (
            lambda: make_design("joined", KEY, 79, concepts=concepts(), sloped=2),
            r"--masks 79 are too few for --design joined: .* as 5 .*; give at least 80.*",
        ),
        *(
            (
                lambda name=name, estimator=estimator: make_design(
                    name, KEY, 8, concepts=concepts(), estimator=estimator
                ),
                rf"--estimator {estimator} needs --design random, not {name}; leave out --design",
            )
            for name in ("paired", "bernoulli", "folded-hadamard", "heads", "leave-one-out")
            for estimator in ("paper", "released")
        ),
    ],
)
def test_what_no_design_can_do_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        make()
