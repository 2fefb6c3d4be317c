"""A ranking that may stop before all masks are used: it says why, and does so again after an interruption."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest

from vtcd_jax.concepts import Concepts, NmfConfig, SlicConfig, discover
from vtcd_jax.importance import rank, tables
from vtcd_jax.importance.cris import Ranking
from vtcd_jax.importance.named_designs import make_design
from vtcd_jax.importance.storage import load_ranking, save_ranking
from vtcd_jax.runs import MemoryStore, Work, open_run, read_csv

pytestmark = pytest.mark.compile


@pytest.fixture(scope="module")
def concepts(model, clips) -> Concepts:
    """Of whole tubelets: the noise of their masks ends a ranking where the tests say."""
    nmf = NmfConfig(max_steps=50, refits=0, assign="tubelets")
    return discover(model, clips, slic=SlicConfig(n_segments=4), nmf=nmf, key=0)


def ranked(model, clips, concepts, design: str, masks: int, top: int, work: Work = Work()) -> Ranking:
    made = make_design(design, 0, masks, concepts=concepts, ratio=0.5, estimator=None)
    return rank(model, clips, concepts, made, score="logit", design_name=design, stop_top=top, chunk=1, work=work)


def test_a_ranking_that_stops_early_gives_its_reason(model, clips, concepts):
    found = ranked(model, clips, concepts, "paired", 1024, 4)
    (look,) = found.interim
    assert look.masks == 3 * 128 == found.importance[0].masks.sum()
    assert "the noise of the masks is" in look.reason and look.line().endswith(look.reason)


def test_a_ranking_keeps_the_pairs_that_its_passes_show(model, clips, concepts, tmp_path):
    found = ranked(model, clips, concepts, "paired", 256, 4)
    pairs = found.interactions
    assert pairs is not None and (pairs.score, pairs.over) == ("logit", "masks") and 0 < len(pairs.pairs) <= 100
    assert len(concepts) * (len(concepts) - 1) // 2 >= pairs.tests >= len(pairs.pairs)
    save_ranking(found, tmp_path)
    again = load_ranking(tmp_path).interactions
    assert again is not None and again.pairs.tolist() == pairs.pairs.tolist() and again.p.tolist() == pairs.p.tolist()
    with open_run(tmp_path / "run", {}) as run:
        tables.write_interactions(run, concepts, pairs)
        rows = read_csv(run.path("interactions.csv"))
    assert len(rows) == len(pairs.pairs) and {row["kind"] for row in rows} <= {"AND", "OR"}
    assert rows[0]["first_name"] == concepts.names[pairs.pairs[0, 0]]
    none = ranked(model, clips, concepts, "bernoulli", 64, 4)
    assert none.interactions is None
    save_ranking(none, tmp_path)
    assert load_ranking(tmp_path).interactions is None


def test_separated_concepts_end_a_ranking(model, clips, concepts):
    """Two concepts, one of which covers every key of a block and the other a single token."""
    site = "block_1/attn/key"
    ids = np.zeros_like(concepts.ids[site])
    ids[:, 0, 0, 0, 0] = 1
    two = dataclasses.replace(
        concepts, ids={site: ids}, site=concepts.site[:2], head=concepts.head[:2], number=concepts.number[:2],
        dictionary=concepts.dictionary[:2],
    )  # fmt: skip
    one = ranked(model, clips, two, "paired", 1024, 1)
    assert one.interim[-1].undecided == 0
    assert one.interim[-1].reason == "the top 1 are separated from the rest"
    assert one.interim[-1].masks < 3 * 1024


def test_a_ranking_that_stops_early_does_so_again_after_an_interruption(model, clips, concepts, monkeypatch):
    """Masks that are not balanced are noisy enough for several looks."""
    monkeypatch.setattr("vtcd_jax.importance.estimation.stopping.NOISE", 0.07)
    run = partial(ranked, model, clips, concepts, "paired", 1024, 4)
    kept, stopped = MemoryStore(), Limited(15)
    whole = run(work=Work(kept))
    assert [look.number for look in whole.interim] == [1, 2, 3]
    assert [bool(look.reason) for look in whole.interim] == [False, False, True]
    assert "the noise of the masks is" in whole.interim[-1].reason
    assert len(kept.blocks) == 3 + 3 * 512 // 64  # three untouched clips, and the passes of three looks
    with pytest.raises(KeyboardInterrupt):
        run(work=Work(stopped))
    stopped.left = 1000
    again = run(work=Work(stopped))
    assert again.interim == whole.interim and stopped.blocks.keys() == kept.blocks.keys()
    for name, block in kept.blocks.items():
        np.testing.assert_array_equal(stopped.blocks[name]["logit"], block["logit"])
    np.testing.assert_array_equal(again.importance[0].importance, whole.importance[0].importance)
    np.testing.assert_array_equal(again.nulls[0].p, whole.nulls[0].p)


class Limited(MemoryStore):
    """A store whose process is interrupted at the write after so many."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().write_block(name, arrays)


def test_when_all_masks_are_spent_the_last_look_says_so(model, clips):
    """One clip says nothing about the spread over clips, and few coins separate no concepts that are alike."""
    slic = SlicConfig(n_segments=4)
    concepts = discover(model, clips[:1], slic=slic, nmf=NmfConfig(max_steps=50, refits=0), key=0)
    found = ranked(model, clips[:1], concepts, "bernoulli", 320, 6)
    assert [look.masks for look in found.interim] == [128, 256, 320]
    assert [look.reason for look in found.interim] == ["", "", "all masks are used"]
