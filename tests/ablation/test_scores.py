"""The masked pass does what it says: factors, padding, chunks, scores, and draws that depend on nothing else."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.ablation.engine import score_blocks, tasks
from vtcd_jax.ablation.masked_pass import run_block
from vtcd_jax.ablation.support import factors
from vtcd_jax.importance import Explicit, LeaveOneOut, Random, Support, Targets, find_targets, scores
from vtcd_jax.importance.curves import curve_gates, curves_from_scores, removal_counts
from vtcd_jax.models import Edit, InputError, Inputs
from vtcd_jax.models.families import videomae
from vtcd_jax.models.families.videomae import reconstruction_target

pytestmark = pytest.mark.compile

SMALL = {"image_size": 16, "patch_size": 8, "num_frames": 4, "width": 16, "depth": 2, "num_heads": 2}
forward = jax.jit(models.forward)


def test_minus_one_means_kept_and_gates_multiply_over_slots():
    gates = jnp.array([0.0, 1.0, 0.25])
    ids = jnp.array([[-1, -1], [0, -1], [2, -1], [2, 1], [2, 2], [1, 0]])
    np.testing.assert_allclose(factors(gates, ids), [1, 0, 0.25, 0.25, 0.0625, 0])
    np.testing.assert_allclose(factors(gates, ids, jnp.full((6, 2), 0.5)), [1, 0.5, 0.625, 0.625, 0.390625, 0.5])


@pytest.mark.parametrize("kind", ["keys", "queries", "values"])
def test_masks_do_to_a_projection_what_the_released_hooks_do(golden, kind):
    """Exact on the stored integers: several concepts of a head multiply, other heads stay."""
    with np.load(golden / "vtcd" / "hooks.npz") as arrays:
        arrays = dict(arrays)
    qkv = arrays["vmae_qkv"].astype(np.float32).reshape(8, 14, 14, 3, 12, 2)
    keep, heads = arrays["vmae_keep_masks"], arrays["vmae_heads"]
    ids = np.full((8, 14, 14, 12, len(heads)), -1, np.int32)
    for concept, head in enumerate(heads):
        ids[..., head, concept] = np.where(keep[concept] == 0, concept, -1)
    factor = np.asarray(factors(jnp.zeros(len(heads)), jnp.asarray(ids)))
    which = ["queries", "keys", "values"].index(kind)
    qkv[..., which, :, :] *= factor[..., None]
    np.testing.assert_array_equal(qkv.reshape(1, 1568, 72), arrays[f"vmae_out_{kind}"].astype(np.float32))


def test_nothing_removed_is_the_plain_pass(model, clips, support):
    own = Targets(clips.labels)
    found = scores(model, clips, support, np.ones((1, 8), np.float32), score="logit", targets=own)["logit"][:, 0]
    logits = forward(model, Inputs(model.preprocessing.normalise(clips.video)))[0].logits
    np.testing.assert_allclose(found, np.asarray(logits)[np.arange(3), clips.labels], atol=1e-5)


def test_a_masked_pass_equals_the_edit_by_hand(model, clips, support):
    gates = np.random.default_rng(2).integers(0, 2, (5, 8)).astype(np.float32)
    found = scores(model, clips, support, gates, score="logit", targets=Targets(clips.labels))["logit"]
    for video in range(3):
        for row, gate in enumerate(gates):
            edits = {}
            for site, ids in support.ids.items():
                keep = np.append(gate, 1)[ids[video, ..., 0]]
                edits[site] = Edit(scale=keep[None, ..., None])
            inputs = Inputs(model.preprocessing.normalise(clips.video[video : video + 1]))
            logits = np.asarray(forward(model, inputs, edits=edits)[0].logits)[0]
            np.testing.assert_allclose(found[video, row], logits[clips.labels[video]], atol=1e-5)


def test_scores_do_not_depend_on_chunk_or_block(model, clips, support, monkeypatch):
    design = Random(jax.random.key(0), 10)
    one = scores(model, clips, support, design, score="log_probability", chunk=1)["log_probability"]
    many = scores(model, clips, support, design, score="log_probability", chunk=4)["log_probability"]
    np.testing.assert_allclose(many, one, atol=2e-6)
    monkeypatch.setattr("vtcd_jax.ablation.engine.BLOCK", 3)
    np.testing.assert_allclose(
        scores(model, clips, support, design, score="log_probability")["log_probability"], one, atol=2e-6
    )


def test_scores_do_not_depend_on_the_number_of_cores(model, clips, support, monkeypatch):
    """Nor do the blocks in which they come: a block of 4, 4 and 2 rows is shared out among the cores."""
    design = Random(jax.random.key(0), 10)
    names = {"score": "log_probability", "targets": find_targets(model, clips)}
    monkeypatch.setattr("vtcd_jax.ablation.engine.BLOCK", 4)
    found = []
    for cores in (1, 2, 3):
        monkeypatch.setattr("vtcd_jax.ablation.engine.max_in_flight", lambda mesh, cores=cores: cores)
        todo = tasks(design, support.present())
        found.append(list(score_blocks(model, clips, support, design, todo, **names)))
    assert [block[:3] for block in found[0]] == [(v, a, b) for v in range(3) for a, b in ((0, 4), (4, 8), (8, 10))]
    for blocks in found[1:]:
        assert [block[:3] for block in blocks] == [block[:3] for block in found[0]]
        for one, other in zip(blocks, found[0], strict=True):
            np.testing.assert_array_equal(one.scores["log_probability"], other.scores["log_probability"])


def test_one_compilation_serves_all_clips_and_masks(model, clips, support):
    compiled = run_block._cache_size  # pyright: ignore[reportAttributeAccessIssue]
    scores(model, clips, support, Random(jax.random.key(0), 6), score="margin")
    before = compiled()
    fewer = Support({site: ids[[2, 0]] for site, ids in support.ids.items()}, 8)
    scores(model, clips[[2, 0]], fewer, Random(jax.random.key(9), 6), score="margin")
    assert compiled() == before


def test_several_scores_come_from_one_pass_and_agree_with_their_meaning(model, clips, support):
    names = ("accuracy", "probability", "log_probability", "margin", "logit")
    found = scores(model, clips, support, np.ones((1, 8), np.float32), score=names, targets=Targets(clips.labels))
    logits = np.asarray(forward(model, Inputs(model.preprocessing.normalise(clips.video)))[0].logits, np.float64)
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for video, label in enumerate(clips.labels):
        others = np.delete(logits[video], label)
        expected = {
            "accuracy": float(logits[video].argmax() == label),
            "probability": probability[video, label],
            "log_probability": np.log(probability[video, label]),
            "margin": logits[video, label] - others.max(),
            "logit": logits[video, label],
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][video, 0], value, atol=1e-5, err_msg=name)


def test_reconstruction_is_minus_the_mean_squared_error(clips):
    config = videomae.VideoMAEPretrainConfig(decoder_width=8, decoder_depth=1, decoder_num_heads=2, **SMALL)
    model = models.build(config)
    ids = {"encoder/block_0/attn/key": np.zeros((3, 2, 2, 2, 2, 1), np.int32)}
    found = scores(model, clips, Support(ids, 1), np.ones((1, 1), np.float32))["reconstruction"][:, 0]
    patches = forward(model, Inputs(model.preprocessing.normalise(clips.video)))[0].patches
    target = reconstruction_target(clips.video / np.float32(255), config)
    np.testing.assert_allclose(found, -np.square(patches - target).mean((1, 2, 3, 4)), rtol=1e-5)


def test_a_users_own_score_is_used(model, clips, support):
    def entropy(output, context):
        log = jax.nn.log_softmax(output.logits)
        return -(jnp.exp(log) * log).sum(-1)

    found = scores(model, clips, support, np.ones((2, 8), np.float32), score={"entropy": entropy})
    assert found["entropy"].shape == (3, 2) and (found["entropy"] > 0).all()


def test_leave_one_out_removes_what_is_there(model, clips, support):
    """A row for each concept that a clip has, no more."""
    found = scores(model, clips, support, LeaveOneOut(8), score="logit")["logit"]
    unmodified = scores(model, clips, support, np.ones((1, 8), np.float32), score="logit")["logit"]
    present = support.present().sum(1)
    assert [int(np.isfinite(row).sum()) for row in found] == present.tolist()
    effect = (unmodified - found)[np.isfinite(found)]
    assert (np.abs(effect) > 1e-6).mean() > 0.9


def test_curves_start_untouched_and_end_with_nothing_left(model, clips, support):
    order = np.arange(8)
    counts = removal_counts(8, 4)
    gates = curve_gates(order, counts, 2, jax.random.key(0))
    found = scores(model, clips, support, gates, score="logit")["logit"]
    curve = curves_from_scores("logit", counts, 8, found, 2)
    ends = scores(model, clips, support, np.array([[1.0] * 8, [0.0] * 8], np.float32), score="logit")["logit"]
    np.testing.assert_allclose(curve.scores[:, :, 0], np.broadcast_to(ends[:, 0], (3, 3)), atol=1e-5)
    np.testing.assert_allclose(curve.scores[:, :, -1], np.broadcast_to(ends[:, 1], (3, 3)), atol=1e-5)
    np.testing.assert_array_equal(curve.removed, [0, 2, 4, 6, 8])
    assert curve.fraction[0] == 0 and curve.fraction[-1] == 1
    np.testing.assert_allclose(curve.areas, np.trapezoid(curve.mean(), curve.fraction))


def test_curves_have_a_row_for_each_order_and_step():
    rows = curve_gates(np.array([2, 0, 1]), np.array([0, 1, 3]), 2, jax.random.key(0))
    assert rows.shape == (4 * 3, 3)


def test_targets(model, clips):
    np.testing.assert_array_equal(find_targets(model, clips, target="Dropping").label, [1, 1, 1])
    logits = forward(model, Inputs(model.preprocessing.normalise(clips.video)))[0].logits
    np.testing.assert_array_equal(find_targets(model, clips).label, np.asarray(logits).argmax(1))
    with pytest.raises(InputError, match="unknown target class 'droping'; nearest: 'dropping'"):
        find_targets(model, clips, target="droping")


def test_without_targets_the_score_is_about_what_the_network_says(model, clips, support):
    """As in ``cris``: labels, wrong or missing, make no difference."""
    rows = np.ones((1, 8), np.float32)
    found = scores(model, clips, support, rows, score="log_probability")["log_probability"]
    predicted = scores(model, clips, support, rows, score="log_probability", targets=find_targets(model, clips))
    np.testing.assert_array_equal(found, predicted["log_probability"])
    unlabelled = dataclasses.replace(clips, labels=np.full(3, -1, np.int32))
    again = scores(model, unlabelled, support, rows, score="log_probability")["log_probability"]
    np.testing.assert_array_equal(found, again)
    assert not np.allclose(find_targets(model, clips).label, clips.labels)


@pytest.mark.parametrize(
    "label, said",
    [
        (-1, r"has no label \(-1\)"),
        (3, "has label 3, but the model has 3 classes"),
        (-2, "has label -2"),
        (99, "has label 99"),
    ],
)
def test_a_clip_without_a_class_is_not_scored_on_another(model, clips, support, label, said):
    """An index outside the classes would be taken for the last or the first of them."""
    targets = Targets(np.array([0, label, 1], np.int32))
    for score in ("log_probability", "accuracy", "margin"):
        with pytest.raises(InputError, match=f"clip 'b' {said}.*target="):
            scores(model, clips, support, np.ones((1, 8), np.float32), score=score, targets=targets)


def test_a_target_is_an_index_of_any_integer_type(model, clips):
    for one in (1, np.int64(1), np.uint8(1), jnp.int32(1), "1", "DROPPING"):
        np.testing.assert_array_equal(find_targets(model, clips, target=one).label, [1, 1, 1])
    for bad in (True, -1, np.int64(-1), 3, "3", "-1"):
        with pytest.raises(InputError, match="target"):
            find_targets(model, clips, target=bad)


def test_classes_without_names_have_indices(clips, support):
    nameless = models.build(videomae.VideoMAEConfig(num_classes=4, **SMALL))
    assert find_targets(nameless, clips, target=3).label.tolist() == [3, 3, 3]
    logits = forward(nameless, Inputs(nameless.preprocessing.normalise(clips.video)))[0].logits
    assert find_targets(nameless, clips).label.tolist() == np.asarray(logits).argmax(1).tolist()
    with pytest.raises(InputError, match="out of range; the model has 4 classes"):
        find_targets(nameless, clips, target=4)
    with pytest.raises(InputError, match="clip 'a' has label 4"):
        scores(nameless, clips, support, np.ones((1, 8), np.float32), score="logit", targets=Targets(np.full(3, 4)))


def test_bad_requests_are_named(model, clips, support):
    with pytest.raises(InputError, match="--chunk 0"):
        scores(model, clips, support, np.ones((1, 8), np.float32), chunk=0)
    with pytest.raises(InputError, match="unknown score 'acuracy'; nearest: 'accuracy'"):
        scores(model, clips, support, np.ones((1, 8), np.float32), score="acuracy")
    with pytest.raises(InputError, match="--ratio"):
        Random(jax.random.key(0), 4, ratio=1.0)
    with pytest.raises(ValueError, match="there are 3 concepts"):
        Support(support.ids, 3)


def test_a_score_that_is_not_finite_names_clip_and_mask(model, clips, support):
    def explodes(output, context):
        return jnp.where(output.logits[:, 0] == output.logits[:, 0], jnp.nan, 0.0)

    with pytest.raises(InputError, match="clip 'a' under mask 0 is not finite"):
        scores(model, clips, support, Explicit(np.ones((2, 8), np.float32)), score={"explodes": explodes})
