"""What is joined belongs together: concepts, clips, targets, gates, orders, scores; the first difference is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.concepts import Concepts, best_overlap, random_groups, random_overlaps
from vtcd_jax.data import Clips
from vtcd_jax.importance import (
    Explicit,
    Hadamard,
    LeaveOneOut,
    Random,
    Support,
    Targets,
    attribution_curve,
    cris,
    find_targets,
    gradient_gate,
    in_layer,
    integrated_gradients,
    layer_importance,
    occlusion,
    scores,
)
from vtcd_jax.models import InputError
from vtcd_jax.models.families import tcow, videomae
from vtcd_jax.scores.functions import log_probability

pytestmark = pytest.mark.compile

ONES = np.ones((1, 8), np.float32)


def joined(model, clips: Clips, concepts: Concepts) -> dict[str, Callable[[], object]]:
    """Everything that joins clips and concepts."""
    order, support = np.arange(len(concepts)), Support.of(concepts)
    gates = np.ones((1, len(concepts)), np.float32)
    return {
        "cris": lambda: cris(model, clips, concepts, masks=8, key=0),
        "scores": lambda: scores(model, clips, support, gates),
        "leave one out": lambda: scores(model, clips, support, LeaveOneOut(len(concepts)), score="logit"),
        "curves": lambda: attribution_curve(model, clips, concepts, order, steps=2, repeats=1, key=0),
        "occlusion": lambda: occlusion(model, clips, concepts),
        "soft occlusion": lambda: occlusion(model, clips, concepts, soft=True),
        "integrated gradients": lambda: integrated_gradients(model, clips, concepts, steps=1),
        "gradient x gate": lambda: gradient_gate(model, clips, concepts),
        "control": lambda: cris(model, clips, random_groups(concepts, 1), masks=8, key=0),
    }


def test_clips_in_another_order_than_the_concepts_are_refused_with_the_order(model, clips, concepts):
    for name, join in joined(model, clips[[2, 0, 1]], concepts).items():
        with pytest.raises(InputError, match=r"concepts have these clips in another order: their clip 0 is not 'c'"):
            join()
            pytest.fail(name)
    with pytest.raises(InputError) as error:
        joined(model, clips[[2, 0, 1]], concepts)["scores"]()
    assert str(error.value).endswith("take clips[[1, 2, 0]]")
    np.testing.assert_array_equal(clips[[2, 0, 1]][[1, 2, 0]].video, clips.video)


def test_other_clips_than_the_concepts_are_refused_with_the_first_of_them(model, clips, concepts):
    video = clips.video.copy()
    video[1, 0, 0, 0] ^= 1
    for name, join in joined(model, Clips.make(video, clips.names), concepts).items():
        with pytest.raises(InputError, match=r"concepts are of other clips: 'b' \(clip 1\).*`assign`"):
            join()
            pytest.fail(name)
    with pytest.raises(InputError, match="use `assign`"):
        joined(model, clips[:2], concepts)["cris"]()


def test_targets_of_other_clips_are_refused(model, clips, support):
    targets = find_targets(model, clips)
    with pytest.raises(InputError, match="the targets have these clips in another order"):
        scores(model, clips[[1, 0, 2]], support, ONES, targets=targets)
    part = support[[0, 2]]
    whole = scores(model, clips, support, ONES, targets=targets, score="logit")["logit"]
    some = scores(model, clips[[0, 2]], part, ONES, targets=targets[[0, 2]], score="logit")["logit"]
    np.testing.assert_allclose(some, whole[[0, 2]], atol=2e-6)


def test_concepts_with_the_same_names_are_not_the_same_concepts(concepts):
    """Names count through a head, so two discoveries share them."""
    other = dataclasses.replace(concepts, dictionary=concepts.dictionary + 1)
    masks = np.ones((3, 4, 16, 16), bool)
    for join in (best_overlap, lambda *sets: random_overlaps(*sets, draws=1, key=0)):
        join(concepts, masks, concepts, masks)
        with pytest.raises(InputError, match="hold different concepts"):
            join(concepts, masks, other, masks)


@pytest.mark.parametrize(
    "gates",
    [np.zeros((1, 2), np.float32), np.zeros((1, 9), np.float32), np.zeros(8, np.float32), [[0.0] * 7],
     [[0.0], [0.0, 1.0]], np.full((1, 8), np.nan, np.float32), np.zeros((0, 8), np.float32),
     Explicit(np.zeros((1, 7), np.float32)),
     LeaveOneOut(7), Hadamard(0, 8, groups=np.arange(7))],
)  # fmt: skip
def test_gates_of_another_shape_are_refused(model, clips, support, gates):
    """A column too few would keep a concept, without a word."""
    with pytest.raises(InputError, match="gates|the design is made for 7 concepts"):
        scores(model, clips, support, gates, score="logit")


def test_a_design_of_ones_own_is_checked_too(model, clips, support):
    class Narrow(Random):
        def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
            return super().rows(clip_hash, start, stop, present)[:, :-1]

    class SparseNarrow(Narrow):
        sparse = True  # its passes begin at the first block that they edit

    for design in (Narrow(0, 4), SparseNarrow(0, 4)):
        with pytest.raises(InputError, match="gates have 7 columns, but there are 8 concepts"):
            scores(model, clips, support, design, score="logit")


def test_lists_are_gates(model, clips, support):
    rows = np.random.default_rng(0).integers(0, 2, (3, 8)).astype(np.float32)
    expected = scores(model, clips, support, rows, score="logit")["logit"]
    found = scores(model, clips, support, rows.tolist(), score="logit")["logit"]
    np.testing.assert_array_equal(found, expected)


def test_an_order_has_each_concept_once(model, clips, concepts):
    n = len(concepts)
    bad = {
        "twice": np.r_[np.arange(n), 0],
        f"has concept {n}": np.arange(1, n + 1),
        "has concept -1": np.arange(-1, n - 1),
        "Importance.order": np.linspace(0, 1, n),
    }
    for said, order in bad.items():
        with pytest.raises(InputError, match=said):
            attribution_curve(model, clips, concepts, order, steps=2, repeats=1, key=0)
    with pytest.raises(InputError, match="give all of them to compare layers"):
        layer_importance(np.arange(2), np.zeros(3, int))


def test_a_curve_of_some_concepts_has_no_area(model, clips, concepts):
    """It ends where the others are still there, so its area says nothing beside another's."""
    order = np.arange(len(concepts))
    some = in_layer(order, concepts, 1)
    part, whole = (
        attribution_curve(model, clips, concepts, o, score="logit", steps=2, repeats=1, key=0) for o in (some, order)
    )
    assert np.isnan(part.areas).all() and np.isnan(part.areas_se).all() and np.isfinite(part.scores).all()
    assert np.isfinite(whole.areas).all() and part.removed[-1] == len(some) < len(concepts)


def test_a_seed_is_a_whole_number_or_a_key(model, clips, concepts, support):
    one, other = (cris(model, clips, concepts, masks=8, score="logit", key=k) for k in (7, jax.random.key(7)))
    np.testing.assert_array_equal(one.importance, other.importance)
    rows = [Random(k, 4).rows("a", 0, 4, np.ones(8, bool)) for k in (7, np.int64(7), jax.random.key(7))]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])
    groups = [random_groups(concepts, k).assignment for k in (7, jax.random.key(7))]
    np.testing.assert_array_equal(*groups)
    for bad in (True, 1 << 70):
        with pytest.raises(InputError, match="is no seed; give a whole number"):
            cris(model, clips, concepts, masks=8, key=bad)


# -- scores -----------------------------------------------------------------------------------------------------------
def confidence(output, context):
    return output.logits.max(-1)


def test_a_score_may_be_a_function_alone(model, clips, support):
    found = scores(model, clips, support, ONES, score=confidence)["confidence"]
    named = scores(model, clips, support, ONES, score={"any": confidence})["any"]
    np.testing.assert_array_equal(found, named)
    both = scores(model, clips, support, ONES, score=["logit", confidence])
    assert list(both) == ["logit", "confidence"]


def test_a_score_function_that_does_not_fit_is_named_with_what_is_expected(model, clips, support, concepts):
    bad = {
        "TypeError": lambda output: output.logits[:, 0],
        r"float32 \[\]": lambda output, context: output.logits[0, 0],
        r"float32 \[1, 3\]": lambda output, context: output.logits,
        r"float32 \[3\]": lambda output, context: output.logits[0],
        "complex64": lambda output, context: output.logits[:, 0] + 1j,
        "tuple": lambda output, context: (output.logits[:, 0], 1),
        "NoneType": lambda output, context: None,
        "AttributeError": lambda output, context: output.logit[:, 0],
    }
    for said, function in bad.items():
        with pytest.raises(InputError, match=rf"score 'mine' must be a function \(output, context\).*{said}"):
            scores(model, clips, support, ONES, score={"mine": function})
    with pytest.raises(InputError, match="score 'mine' must be"):
        cris(model, clips, concepts, masks=8, key=0, score={"mine": bad["TypeError"]})
    with pytest.raises(InputError, match="score 'mine' must be"):
        integrated_gradients(model, clips, concepts, score={"mine": bad["TypeError"]})
    with pytest.raises(InputError, match="give one or more, each once"):
        scores(model, clips, support, ONES, score=())


def test_a_score_that_is_true_or_false_is_a_number(model, clips, support):
    found = scores(model, clips, support, ONES, score=lambda output, context: output.logits[:, 0] > -jnp.inf)
    np.testing.assert_array_equal(found["<lambda>"], 1)


def test_one_function_compiles_once(model, clips, support):
    """A score is part of a compiled pass: the same function is compiled once, however often it is given."""
    from vtcd_jax.ablation.masked_pass import run_block

    scores(model, clips, support, ONES, score=confidence)
    before = run_block._cache_size()  # pyright: ignore[reportAttributeAccessIssue]
    scores(model, clips, support, ONES, score=confidence)
    assert run_block._cache_size() == before  # pyright: ignore[reportAttributeAccessIssue]


def test_a_score_without_slope_is_refused_also_as_a_function(model, clips, concepts):
    from vtcd_jax.scores.functions import accuracy

    for score in ("accuracy", accuracy, {"mine": accuracy}):
        with pytest.raises(InputError, match="has no slope; take 'log_probability'"):
            integrated_gradients(model, clips, concepts, score=score)
    assert np.isfinite(gradient_gate(model, clips, concepts, score=log_probability).importance).all()


# -- networks without classes -----------------------------------------------------------------------------------------
def test_a_network_without_classes_refuses_a_target(clips):
    tracker = models.build(
        tcow.TCOWConfig(image_height=16, image_width=16, patch_size=8, num_frames=4, width=8, depth=1, num_heads=1)
    )
    query = np.zeros(clips.video.shape[:4], bool)
    query[:, 0, :8] = True
    asked = dataclasses.replace(clips, query=query)
    autoencoder = models.build(
        videomae.VideoMAEPretrainConfig(
            image_size=16, patch_size=8, num_frames=4, width=16, depth=1, num_heads=2, decoder_width=8,
            decoder_depth=1, decoder_num_heads=2,
        )
    )  # fmt: skip
    for model in (tracker, autoencoder):
        for target in ("no such class", 0):
            with pytest.raises(InputError, match="has no classes"):
                find_targets(model, asked, target=target)
    assert find_targets(autoencoder, clips).label.tolist() == [-1, -1, -1]
    assert Targets(np.zeros(3, np.int32)).mask is None
