"""Clips that are decoded when they are read give the numbers that clips in memory give; what is left out is listed."""

from __future__ import annotations

import os

import jax
import numpy as np
import pytest

from tests.cli.tiny import CLASSIFIER, FAST, LABELS, save_model, vtcd
from tests.data.video.videos import write
from vtcd_jax import models, world
from vtcd_jax.ablation import Support, scores
from vtcd_jax.ablation.inputs import mean_values
from vtcd_jax.concepts import NmfConfig, SlicConfig, best_overlaps, discover
from vtcd_jax.concepts.settings import ElbowRule
from vtcd_jax.data import sources
from vtcd_jax.report.frames import load_frames, save_frames
from vtcd_jax.runs import read_csv, read_events
from vtcd_jax.scores import find_targets, misclassified

pytestmark = pytest.mark.compile

SLIC = SlicConfig(resolution="token", n_segments=4)
NMF = NmfConfig(elbow=ElbowRule(rule="fixed", number=2), restarts=1, max_steps=20, refits=0)


@pytest.fixture(scope="module")
def network() -> models.Model:
    return models.build(CLASSIFIER, key=jax.random.key(0), labels=LABELS)


@pytest.fixture(scope="module")
def both():
    """The same clips in memory, and drawn anew at every reading (one is kept at most)."""
    config = world.WorldConfig(size=24, frames=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "KEPT", 1)
        lazy = world.open_world(4, 0, config=config)
    return world.clips(4, 0, config=config).with_queries(None), lazy.with_queries(None)


def test_every_step_gives_the_same_for_clips_in_memory_and_on_demand(network, both, tmp_path):
    results = []
    for clips in both:
        targets = find_targets(network, clips)
        concepts = discover(network, clips, slic=SLIC, nmf=NMF, workers=1)
        support = Support.of(concepts)
        gates = np.random.default_rng(0).integers(0, 2, (3, support.concepts)).astype(np.float32)
        passes = scores(network, clips, support, gates, score="logit", targets=targets, mode="resample")
        means = mean_values(network, clips, concepts.sites)
        overlaps = best_overlaps(network, concepts, clips, concepts, clips, draws=1, key=0)
        save_frames(tmp_path / "frames.npz", clips, [2, 0])
        frames = load_frames(tmp_path / "frames.npz")
        results.append((
            [targets.label, concepts.dictionary, *concepts.ids.values(), *passes.values(), *means.values()],
            [*(d for each in overlaps for d in (each.centres, each.groups)), *(frames[v] for v in sorted(frames))],
            [misclassified(network, clips, targets), [(o.mask, o.concept, o.miou) for o in overlaps]],
        ))  # fmt: skip
    (first, second) = results
    for a, b in zip(first[0] + first[1], second[0] + second[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert first[2] == second[2] and len(first[2][1]) > 1


def test_a_run_lists_what_was_skipped_and_takes_names_that_are_no_utf8(tmp_path):
    folder = save_model(tmp_path / "network")
    clips = tmp_path / os.fsdecode(b"clips \xff")
    clips.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        write(clips / os.fsdecode(b"%d\xfe.mp4" % i), rng.integers(0, 255, (16, 24, 24, 3), dtype=np.uint8))
    (clips / "text.mp4").write_text("no video")
    out = tmp_path / os.fsdecode(b"run \xfd")
    settings = ("--model", folder, "--hold-out", "0", "--skip-bad", *FAST, "--slic.resolution", "token", "--out", out)
    said = vtcd("discover", clips, *settings)
    assert said.code == 0, said.err
    assert [row["clip"] for row in read_csv(out / "clips.csv")] == ["0\\xfe.mp4", "1\\xfe.mp4"]
    (skipped,) = read_csv(out / "skipped.csv")
    assert skipped["clip"] == "text.mp4" and "clips \\xff/text.mp4" in skipped["reason"]
    texts = [event["text"] for event in read_events(out) if event["kind"] == "warning"]
    assert texts == ["left out 1 of 3 clips that cannot be read: text.mp4"]
    again = vtcd("discover", clips, *settings, "--resume")  # its config reads back as it was
    assert again.code == 0, again.err
