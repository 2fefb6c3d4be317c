"""Discovery end to end on a tiny network: what a researcher may rely on about concepts."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vtcd_jax import models
from vtcd_jax.concepts import (
    Concepts,
    ElbowRule,
    NmfConfig,
    SlicConfig,
    assign,
    concept_sites,
    discover,
    load_concepts,
    save_concepts,
)
from vtcd_jax.concepts.clustering.number_of_concepts import choose_numbers, head_keys
from vtcd_jax.concepts.dictionaries import fit_heads
from vtcd_jax.concepts.proposals import padded_features, padded_rows, widest
from vtcd_jax.concepts.tubelets.pooling import resize_labels
from vtcd_jax.data.clips import Clips
from vtcd_jax.models.families.videomae import VideoMAEConfig, VideoMAEPretrainConfig
from vtcd_jax.runs import Step, Work

pytestmark = pytest.mark.compile

SIZES: dict[str, Any] = {"image_size": 32, "patch_size": 4, "num_frames": 8, "width": 24, "depth": 2, "num_heads": 2}
NMF = NmfConfig(elbow=ElbowRule(maximum=7), max_steps=300, restarts=3, refits=0, assign="tubelets")


def make_clips(count, seed=0):
    rng = np.random.default_rng(seed)
    video = np.stack([gaussian_filter(rng.normal(size=(8, 32, 32, 3)), (1, 4, 4, 0)) for _ in range(count)])
    video = (video - video.min()) / (video.max() - video.min()) * 255
    return Clips.make(video.astype(np.uint8), [f"clip_{seed}_{i}" for i in range(count)])


@pytest.fixture(scope="module")
def model():
    return models.build(VideoMAEConfig(**SIZES, num_classes=3), key=jax.random.key(0), name="tiny")


@pytest.fixture(scope="module")
def clips():
    return make_clips(5)


@pytest.fixture(scope="module")
def concepts(model, clips):
    return discover(model, clips, nmf=NMF, key=jax.random.key(7))


def assert_same(first: Concepts, second: Concepts):
    for name in ("site", "head", "number", "dictionary", "assignment", "weights", "silhouette", "error", "converged"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    for name in ("site", "head", "video", "label", "size", "feature"):
        np.testing.assert_array_equal(getattr(first.tubelets, name), getattr(second.tubelets, name), err_msg=name)
    for site in first.sites:
        np.testing.assert_array_equal(first.ids[site], second.ids[site])
        for video in range(first.videos):
            np.testing.assert_array_equal(first.labels.clip(site, video), second.labels.clip(site, video))
    assert (first.names, first.settings, first.grid, first.slic_grid) == (
        second.names, second.settings, second.grid, second.slic_grid,
    )  # fmt: skip
    assert (first.video_names, first.video_hashes) == (second.video_names, second.video_hashes)


def test_default_sites_are_the_encoder_keys():
    keys = ("block_0/attn/key", "block_1/attn/key")
    classifier = models.build(VideoMAEConfig(**SIZES), params={})
    shapes = replace(classifier, params=models.param_shapes(classifier.config))
    assert concept_sites(shapes) == keys
    assert concept_sites(shapes, "query") == tuple(k.replace("key", "query") for k in keys)
    config = VideoMAEPretrainConfig(**SIZES, decoder_width=24, decoder_depth=1, decoder_num_heads=2)
    shapes = models.build(config, params=models.param_shapes(config))
    assert concept_sites(shapes) == tuple(f"encoder/{k}" for k in keys)
    with pytest.raises(models.InputError, match="no site"):
        concept_sites(shapes, "kee")


def test_every_tubelet_has_a_concept_of_its_own_head(concepts):
    t = concepts.tubelets
    np.testing.assert_array_equal(concepts.site[concepts.assignment], t.site)
    np.testing.assert_array_equal(concepts.head[concepts.assignment], t.head)
    keys = list(zip(t.site, t.head, t.video, t.label, strict=True))
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    assert (concepts.count() > 0).all() and concepts.count().sum() == len(t)
    assert np.isfinite(concepts.dictionary).all() and (concepts.weights >= 0).all()


def test_concepts_are_numbered_without_gaps_in_every_head(concepts):
    for site in range(2):
        for head in range(2):
            own = concepts.number[(concepts.site == site) & (concepts.head == head)]
            assert own.tolist() == list(range(1, len(own) + 1))


def test_names_give_block_head_and_number(concepts):
    """Identifiers and their text form; the site's name where blocks do not identify a site."""
    assert concepts.names[0] == "b0.h0.c1" and concepts.titles[0] == "block 0, head 0, concept 1"
    assert len(set(concepts.names)) == len(set(concepts.titles)) == len(concepts)
    for sites in (("block_1/attn/key", "block_1/attn/value"), ("embed", "block_0/attn/key")):
        named = replace(concepts, sites=sites + concepts.sites[2:])
        assert named.names[0] == f"{sites[0]}.h0.c1" and named.titles[0] == f"{sites[0]}, head 0, concept 1"


def test_ids_labels_and_support_tell_the_same_story(concepts):
    assert set(concepts.grid.values()) == {(4, 8, 8)} and set(concepts.slic_grid.values()) == {(8, 16, 16)}
    for concept in range(len(concepts)):
        support, site = concepts.support(concept), concepts.sites[concepts.site[concept]]
        tokens = concepts.ids[site][..., concepts.head[concept], 0] == concept
        for video in range(concepts.videos):
            np.testing.assert_array_equal(tokens[video], resize_labels(support[video], (4, 8, 8)))
        assert support.sum() == concepts.size()[concept]
        np.testing.assert_array_equal(support.any((1, 2, 3)), concepts.present()[:, concept])
    expected = concepts.present().sum(0) / concepts.count()
    np.testing.assert_allclose(concepts.spread(), expected)


def test_the_best_clips_have_most_weight_times_size_of_the_concept(concepts):
    concept = int(concepts.present().sum(0).argmax())
    rows = np.flatnonzero(concepts.assignment == concept)
    videos, size = concepts.tubelets.video[rows], concepts.tubelets.size[rows]
    equal = replace(concepts, weights=np.ones_like(concepts.weights))
    mass = [float(size[videos == v].sum()) for v in range(concepts.videos)]
    expected = [v for v in np.argsort(np.negative(mass), kind="stable") if mass[v] > 0]
    assert len(expected) > 1 and equal.best_clips(concept, 99).tolist() == expected
    weights = np.ones_like(concepts.weights)
    weights[rows[videos == expected[-1]]] = 1000
    assert replace(concepts, weights=weights).best_clips(concept, 1).tolist() == [expected[-1]]
    with pytest.raises(models.InputError, match="out of range"):
        concepts.best_clips(len(concepts), 1)


def test_a_tubelet_is_the_mean_of_the_upsampled_keys_inside(model, clips, concepts):
    from vtcd_jax.concepts.tubelets.resampling import upsample

    inputs = models.Inputs(video=model.preprocessing.normalise(clips.video[2:3]))
    site = "block_1/attn/key"
    with jax.default_matmul_precision("highest"):
        keys = models.forward(model, inputs, capture=(site,))[1][site]
    volume = np.asarray(upsample(keys[0, :, :, :, 1], (8, 16, 16)))
    t = concepts.tubelets
    rows = np.flatnonzero((t.site == 1) & (t.head == 1) & (t.video == 2))
    for row in rows:
        inside = concepts.labels.volume(site, 2, 1) == t.label[row]
        np.testing.assert_allclose(t.feature[row], volume[inside].mean(0), atol=1e-4)


def test_the_same_key_gives_the_same_concepts_whatever_the_threads(model, clips, concepts):
    again = discover(model, clips, nmf=NMF, key=jax.random.key(7), workers=1)
    assert_same(concepts, again)


ELSEWHERE = """
import sys
import jax
from tests.concepts.test_discovery import NMF, SIZES, VideoMAEConfig, discover, make_clips, models, save_concepts
assert jax.device_count() == 4
model = models.build(VideoMAEConfig(**SIZES, num_classes=3), key=jax.random.key(0), name="tiny")
save_concepts(discover(model, make_clips(5), nmf=NMF, key=jax.random.key(7)), sys.argv[1])
"""


def test_a_process_with_four_devices_finds_the_same_concepts(concepts, root, tmp_path):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path], env=env, check=True)
    assert_same(concepts, load_concepts(tmp_path))


def test_a_site_is_seeded_by_its_name_not_its_place(model, clips, concepts):
    """Discovering fewer sites leaves the tubelets, and the draws, of the others as they were."""
    alone = discover(model, clips, sites=("block_1/attn/key",), nmf=NMF, key=jax.random.key(7))
    rows = concepts.tubelets.site == 1
    np.testing.assert_array_equal(alone.tubelets.feature, concepts.tubelets.feature[rows])
    np.testing.assert_array_equal(alone.number, concepts.number[concepts.site == 1])
    first = int(np.flatnonzero(concepts.site == 1)[0])
    np.testing.assert_array_equal(alone.assignment, concepts.assignment[rows] - first)


def test_tubelets_take_the_largest_weight_or_on_request_the_largest_code(model, clips, concepts):
    """Both labellings against a factorisation of one head from the same start, renumbered by first id."""
    by_codes = discover(model, clips, nmf=replace(NMF, assignment="H"), key=jax.random.key(7))
    site, key = 1, jax.random.fold_in(jax.random.key(7), zlib.crc32(b"block_1/attn/key"))
    rows = padded_rows(concepts.tubelets, site, 2, widest(concepts.tubelets))
    X = padded_features(concepts.tubelets, rows, 12)
    k, labels = choose_numbers(
        X, rows >= 0, head_keys(key, 2), NMF.elbow, restarts=NMF.restarts, kmeans_steps=NMF.kmeans_steps
    )
    fit = fit_heads(X, labels, k, concepts=6, max_steps=NMF.max_steps, tol=NMF.tol)
    for found, factor in ((concepts, fit.weights), (by_codes, np.swapaxes(fit.codes, 1, 2))):
        for head in range(2):
            own = rows[head][rows[head] >= 0]
            decided = np.asarray(factor[head, : len(own)])
            _, renumbered = np.unique(decided.argmax(1), return_inverse=True)
            np.testing.assert_array_equal(found.number[found.assignment[own]], renumbered + 1)
            np.testing.assert_allclose(found.weights[own], decided.max(1), rtol=1e-3)
    assert (by_codes.count() > 0).all()


def test_streams_count_as_one_head(model, clips):
    found = discover(model, clips, sites=("block_0/resid_post",), nmf=NMF)
    assert set(found.head.tolist()) == {0} and found.dictionary.shape[1] == 24
    assert found.ids["block_0/resid_post"].shape == (5, 4, 8, 8, 1, 1)


def test_the_autoencoder_is_segmented_like_the_classifier(clips):
    config = VideoMAEPretrainConfig(**SIZES, decoder_width=24, decoder_depth=1, decoder_num_heads=2)
    model = models.build(config, key=jax.random.key(1))
    found = discover(model, clips[:3], nmf=NMF)
    assert found.sites == ("encoder/block_0/attn/key", "encoder/block_1/attn/key")
    assert found.names[0] == "b0.h0.c1"


def test_one_clip_is_enough(model, clips):
    found = discover(model, clips[:1], sites=("block_0/attn/key",), nmf=NMF)
    assert len(found) >= 2 and found.present().all()


def test_progress_is_reported_to_the_end(model, clips):
    seen = []

    def progress(step: Step, done: int, total: int, detail: str = "") -> None:
        seen.append((step.name, done, total))

    found = discover(model, clips[:2], nmf=NMF, work=Work(progress=progress))
    assert [s for s in seen if s[0] == "segment"] == [("segment", 0, 2), ("segment", 1, 2), ("segment", 2, 2)]
    assert {s for s in seen if s[1] == s[2]} == {("segment", 2, 2), ("count", 2, 2), ("factorise", 2, 2)}
    assert len(found)


def test_assigning_the_discovery_clips_gives_sensible_codes(model, clips, concepts):
    """Codes are not the convex weights, yet most tubelets keep their concept; far more than by chance."""
    again = assign(model, clips, concepts)
    np.testing.assert_array_equal(again.tubelets.feature, concepts.tubelets.feature)
    chance = np.mean([1 / (concepts.head[concepts.site == s] == h).sum() for s in range(2) for h in range(2)])
    assert (again.assignment == concepts.assignment).mean() > max(2 * chance, 0.5)
    # Best codes on the same dictionary fit at least as well as those of the factorisation.
    assert (again.error <= concepts.error * 1.001).all()


def test_new_clips_keep_the_concepts_and_old_ones_their_labels(model, clips, concepts):
    new = make_clips(2, seed=9)
    both = Clips.make(np.concatenate([new.video, clips.video[:1]]), ["x", "y", "z"])
    found, old = assign(model, both, concepts), assign(model, clips[:1], concepts)
    assert found.names == concepts.names and found.videos == 3 and found.video_names == ("x", "y", "z")
    np.testing.assert_array_equal(found.dictionary, concepts.dictionary)
    for site in concepts.sites:
        np.testing.assert_array_equal(found.ids[site][2], old.ids[site][0])
    np.testing.assert_array_equal(concepts.site[found.assignment], found.tubelets.site)
    np.testing.assert_array_equal(concepts.head[found.assignment], found.tubelets.head)


def test_concepts_survive_the_disk_and_equal_concepts_give_equal_bytes(model, clips, concepts, tmp_path):
    save_concepts(concepts, tmp_path / "one")
    loaded = load_concepts(tmp_path / "one")
    assert_same(concepts, loaded)
    save_concepts(loaded, tmp_path / "two")
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == ["concepts.csv", "concepts.safetensors", "concepts_labels.npz"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    header, *rows = (tmp_path / "one" / "concepts.csv").read_text().splitlines()
    assert header.startswith("id,name,site,layer,head,number,tubelets,videos,spread,silhouette,error,stability_")
    assert header.endswith("best_clip") and rows[0].split(",")[-1] == clips.names[int(concepts.best_clips(0, 1)[0])]
    assert len(rows) == len(concepts) and rows[0].startswith("0,b0.h0.c1,block_0/attn/key,0,0,1,")
    assign(model, clips[:1], loaded)  # settings came back whole


def test_missing_and_damaged_files_are_named(concepts, tmp_path):
    with pytest.raises(models.InputError, match="no concepts in"):
        load_concepts(tmp_path)
    save_concepts(concepts, tmp_path)
    labels = tmp_path / "concepts_labels.npz"
    labels.write_bytes(labels.read_bytes()[:-40])
    with pytest.raises(models.InputError, match="damaged"):
        load_concepts(tmp_path)
    (tmp_path / "concepts.safetensors").write_bytes(b"\0" * 7)
    with pytest.raises(models.InputError, match="damaged"):
        load_concepts(tmp_path)


def test_bad_input_is_refused(model, clips, concepts):
    for call, words in (
        (lambda: discover(model, clips, sites=("block_0/attn/kee",)), "block_0/attn/key"),
        (lambda: discover(model, clips, sites=()), "no sites"),
        (lambda: discover(model, clips, sites=("pooled",)), "no positions"),
        (lambda: discover(model, clips, sites=("block_0/attn/key",) * 2), "repeat"),
        (lambda: discover(model, clips[:0]), "no clips"),
        (lambda: assign(model, clips[:0], concepts), "no clips"),
    ):
        with pytest.raises(models.InputError, match=words):
            call()
    params = jax.tree.map(lambda a: a, model.params)
    params["block_1"]["attn"]["key"]["kernel"] = params["block_1"]["attn"]["key"]["kernel"] * np.nan
    with pytest.raises(models.InputError, match=r"clip_0_0.*block_1/attn/key.*NaN"):
        discover(model.replace(params=params), clips, slic=SlicConfig(), nmf=NMF)
