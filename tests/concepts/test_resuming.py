"""A discovery that is interrupted goes on where it stopped, and finds the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
import pytest

from tests.concepts.test_discovery import SIZES, assert_same, make_clips
from vtcd_jax import models
from vtcd_jax.concepts import ElbowRule, NmfConfig, SlicConfig, discover
from vtcd_jax.concepts.cache import STAGES, each_head, pack, unpack
from vtcd_jax.data import Clips
from vtcd_jax.models.families.tcow import TCOWConfig
from vtcd_jax.models.families.videomae import VideoMAEConfig
from vtcd_jax.runs import MemoryStore, Work

pytestmark = pytest.mark.compile

NMF = NmfConfig(elbow=ElbowRule("fixed", number=3), max_steps=40, restarts=2, refits=1)


class Limited(MemoryStore):
    """A store whose process is stopped after so many writes, and which keeps no block twice."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        assert name not in self.blocks, "nothing is done twice"
        super().write_block(name, arrays)


@pytest.mark.parametrize("proposals, drawn", [("tokens", 2 * 2), ("slic", 2 * 2 * 2)])
def test_every_piece_is_done_once_however_often_it_is_stopped(proposals, drawn):
    """Two sites of two heads, two clips. Tokens are drawn for all heads of a site, tubelets cut for each."""
    model = models.build(VideoMAEConfig(**SIZES, num_classes=3), key=jax.random.key(0), name="tiny")
    clips, key, slic = make_clips(2), jax.random.key(3), SlicConfig(proposals=proposals)
    whole = discover(model, clips, slic=slic, nmf=NMF, key=key)
    store = Limited(0)
    for writes in (1, 2, 3, 5, 2, 3):
        store.left = writes
        with pytest.raises(KeyboardInterrupt):
            discover(model, clips, slic=slic, nmf=NMF, key=key, workers=1, work=Work(store))
    store.left = 100
    assert_same(discover(model, clips, slic=slic, nmf=NMF, key=key, workers=1, work=Work(store)), whole)
    kinds = [name.split("/")[0] for name in store.blocks]
    assert [kinds.count(stage) for stage in STAGES] == [drawn, 4, 4, 4, 2 * 2]


def test_a_store_never_answers_another_question():
    """Neither for other weights or settings, nor for another seed, nor for another query about the same video."""
    model = models.build(VideoMAEConfig(**SIZES, num_classes=3), key=0, name="tiny")
    other = models.build(VideoMAEConfig(**SIZES, num_classes=3), key=1, name="tiny")
    clips, site, store = make_clips(2), "block_0/attn/key", Limited(10_000)
    slic, coarse = SlicConfig(n_segments=4), SlicConfig(n_segments=3)
    questions = [
        (model, slic, NMF, 3), (other, slic, NMF, 3), (model, coarse, NMF, 3), (model, slic, NMF, 4),
        (model, slic, dataclasses.replace(NMF, max_steps=20), 3),
    ]  # fmt: skip
    for network, tubelets, nmf, seed in questions:
        asked = {"sites": site, "slic": tubelets, "nmf": nmf, "key": seed}
        assert_same(discover(network, clips, work=Work(store), **asked), discover(network, clips, **asked))


def test_two_queries_about_one_video_have_their_own_tubelets():
    config = TCOWConfig(image_height=16, image_width=16, patch_size=4, num_frames=3, width=16, depth=1, num_heads=2)
    tracker = models.build(config, key=2)
    video = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16, 3), np.uint8).repeat(2, axis=0)
    query = np.zeros((2, 3, 16, 16), np.float32)
    query[0, 0, :8], query[1, 0, 8:, 8:] = 1, 1
    clips, nmf = Clips.make(video, ["left", "right"], query=query), dataclasses.replace(NMF, refits=0)
    asked = {"slic": SlicConfig(n_segments=4), "nmf": nmf, "key": 0}
    kept, plain = discover(tracker, clips, work=Work(Limited(1000)), **asked), discover(tracker, clips, **asked)
    assert_same(kept, plain)
    first, second = (kept.tubelets.feature[kept.tubelets.video == v] for v in (0, 1))
    assert first.shape != second.shape or not np.allclose(first, second)


def test_an_accelerator_does_the_missing_heads_of_a_site_at_once(monkeypatch):
    monkeypatch.setattr("vtcd_jax.concepts.cache.on_cpu", lambda: False)
    store, asked = Limited(100), []
    store.blocks["fit/a-1"] = {"x": np.full(2, 10.0)}

    def make(which: list[int]) -> list[dict[str, np.ndarray]]:
        asked.append(which)
        return [{"x": np.full(2, float(head))} for head in which]

    for work, wanted in ((Work(store), [0, 10, 2]), (Work(store), [0, 10, 2]), (Work(), [0, 1, 2])):
        assert [head["x"][0] for head in each_head(work, "fit/a", 3, make)] == wanted
    assert asked == [[0, 2], [0, 1, 2]] and len(store.blocks) == 3


def test_labels_are_packed_without_loss():
    labels = np.random.default_rng(0).integers(0, 12, (3, 4, 5, 2)).astype(np.int32)
    np.testing.assert_array_equal(unpack(pack(labels), labels.shape), labels)
