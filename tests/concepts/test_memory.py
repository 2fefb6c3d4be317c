"""A discovery that is interrupted goes on where it stopped, and finds the same."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
import pytest

from tests.concepts.test_discovery import SIZES, assert_same, make_clips
from vtcd_jax import models
from vtcd_jax.concepts import ElbowRule, NmfConfig, discover
from vtcd_jax.concepts.memory import STAGES, Memory, each_head, pack, unpack
from vtcd_jax.models.videomae import VideoMAEConfig

NMF = NmfConfig(elbow=ElbowRule("fixed", number=3), max_steps=40, restarts=2, refits=1)


class Notebook:
    """A memory whose owner is stopped after so many writes."""

    def __init__(self, writes: int) -> None:
        self.pages: dict[str, dict[str, np.ndarray]] = {}
        self.left = writes

    def read_block(self, name: str) -> dict[str, np.ndarray] | None:
        return self.pages.get(name)

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        assert name not in self.pages, "nothing is done twice"
        self.pages[name] = dict(arrays)


def test_every_piece_is_done_once_however_often_it_is_stopped():
    model = models.build(VideoMAEConfig(**SIZES, num_classes=3), key=jax.random.key(0), name="tiny")
    clips, key = make_clips(2), jax.random.key(3)
    whole = discover(model, clips, nmf=NMF, key=key)
    notebook = Notebook(0)
    assert isinstance(notebook, Memory)
    for writes in (1, 2, 3, 5, 2, 3):
        notebook.left = writes
        with pytest.raises(KeyboardInterrupt):
            discover(model, clips, nmf=NMF, key=key, workers=1, memory=notebook)
    notebook.left = 100
    assert_same(discover(model, clips, nmf=NMF, key=key, workers=1, memory=notebook), whole)
    kinds = [name.split("/")[0] for name in notebook.pages]
    assert [kinds.count(stage) for stage in STAGES] == [2 * 2 * 2, 4, 4, 4]  # two sites of two heads; two clips


def test_an_accelerator_does_the_missing_heads_of_a_site_at_once(monkeypatch):
    monkeypatch.setattr("vtcd_jax.concepts.memory.on_cpu", lambda: False)
    notebook, asked = Notebook(100), []
    notebook.pages["fit/a-1"] = {"x": np.full(2, 10.0)}

    def make(which: list[int]) -> list[dict[str, np.ndarray]]:
        asked.append(which)
        return [{"x": np.full(2, float(head))} for head in which]

    for memory, wanted in ((notebook, [0, 10, 2]), (notebook, [0, 10, 2]), (None, [0, 1, 2])):
        assert [head["x"][0] for head in each_head(memory, "fit/a", 3, make)] == wanted
    assert asked == [[0, 2], [0, 1, 2]] and len(notebook.pages) == 3


def test_labels_are_packed_without_loss():
    labels = np.random.default_rng(0).integers(0, 12, (3, 4, 5, 2)).astype(np.int32)
    np.testing.assert_array_equal(unpack(pack(labels), labels.shape), labels)
