"""Blocks of scores answer one question each: what they depend on is in their names."""

from __future__ import annotations

import dataclasses

import numpy as np

from vtcd_jax import models
from vtcd_jax.ablation.engine import tasks
from vtcd_jax.ablation.keys import Question, block_names
from vtcd_jax.data import Clips
from vtcd_jax.importance import Explicit, Random, Support, Targets, find_targets, scores
from vtcd_jax.models.families import tcow
from vtcd_jax.runs import MemoryStore, Work, open_run

PASSES = {"model": {"params": "a"}, "mode": "zero", "precision": "float32", "scores": ["logit"]}


def make_question() -> Question:
    rng = np.random.default_rng(0)
    clips = Clips.make(rng.integers(0, 256, (2, 2, 8, 8, 3), np.uint8), ["a", "b"])
    ids = rng.integers(-1, 4, (2, 1, 2, 2, 1, 1)).astype(np.int32)
    return Question(clips, Support({"block_0/attn/key": ids}, 4), Targets(np.array([0, 1], np.int32)))


def names(question: Question, design=None, passes=PASSES) -> list[str]:
    design = Random(0, 4) if design is None else design
    return block_names("rank", question, design, tasks(design, question.support.present()), passes)


def test_every_cause_of_a_score_is_in_the_name_of_its_block():
    question = make_question()
    ids = {site: np.where(a == 3, 2, a) for site, a in question.support.ids.items()}
    weight = {site: np.full(a.shape, 0.5, np.float32) for site, a in question.support.ids.items()}
    query = np.ones((2, 2, 8, 8), bool)
    others = [
        names(dataclasses.replace(question, support=Support(ids, 4))),
        names(dataclasses.replace(question, support=Support(question.support.ids, 4, weight))),
        names(dataclasses.replace(question, targets=Targets(np.array([1, 2], np.int32)))),
        names(dataclasses.replace(question, targets=dataclasses.replace(question.targets, mask=query))),
        names(dataclasses.replace(question, clips=dataclasses.replace(question.clips, query=query))),
        names(question, Random(1, 4)),
        names(question, Random(0, 4, ratio=0.25)),
        names(question, Explicit(np.zeros((4, 4), np.float32))),
        *(names(question, passes={**PASSES, key: value}) for key, value in (
            ("model", {"params": "b"}), ("mode", "mean"), ("mode", "resample"), ("precision", "bfloat16"),
            ("scores", ["margin"]),
        )),
    ]  # fmt: skip
    assert not set(names(question)) & {name for other in others for name in other}
    assert len({name for other in others for name in other}) == 2 * len(others)


def test_a_clips_blocks_do_not_depend_on_the_company_it_keeps():
    question, alone = make_question(), [1]
    lone = Question(question.clips[alone], question.support[alone], question.targets[alone])
    assert names(lone) == names(question)[1:] and names(question) == names(make_question())


def test_two_queries_about_one_video_are_resumed_as_they_were(tmp_path):
    config = tcow.TCOWConfig(
        image_height=16, image_width=16, patch_size=8, num_frames=3, width=16, depth=1, num_heads=2
    )
    tracker = models.build(config, key=0)
    video = np.random.default_rng(1).integers(0, 256, (1, 3, 16, 16, 3), np.uint8).repeat(2, axis=0)
    query = np.zeros((2, 3, 16, 16), bool)
    query[0, 0, :8], query[1, 0, 8:] = True, True
    target = np.zeros((2, 3, 16, 16), bool)
    target[0, :, :8], target[1, :, 8:] = True, True
    clips = Clips.make(video, ["one", "other"], query=query, masks={"target": target})
    shape = models.sites(tracker)["block_0/space_attn/key"].shape
    ids = np.broadcast_to(np.arange(shape[4], dtype=np.int32)[:, None], (2, *shape[1:5], 1))
    support, targets = Support({"block_0/space_attn/key": ids}, shape[4]), find_targets(tracker, clips)
    with open_run(tmp_path / "run", {}) as run:
        first, again = (
            scores(tracker, clips, support, Random(0, 4), score="soft_iou", targets=targets, work=Work(store=run))
            for _ in range(2)
        )
        assert len(run.blocks()) == 2
    np.testing.assert_array_equal(again["soft_iou"], first["soft_iou"])
    assert not np.allclose(first["soft_iou"][0], first["soft_iou"][1])


def test_scores_of_other_concepts_are_not_taken(model, clips, support):
    """Concepts that lie elsewhere, in a store whose passes are all done: they are run again."""
    swapped = {site: np.where(ids == 0, 1, np.where(ids == 1, 0, ids)) for site, ids in support.ids.items()}
    other, work = Support(swapped, 8), Work(store=MemoryStore())
    gates = np.ones((2, 8), np.float32)
    gates[1, 0] = 0
    for where in (support, other):
        kept = scores(model, clips, where, gates, score="logit", work=work)
        fresh = scores(model, clips, where, gates, score="logit")
        np.testing.assert_array_equal(kept["logit"], fresh["logit"])
    assert isinstance(work.store, MemoryStore) and len(work.store.blocks) == 2 * len(clips)
