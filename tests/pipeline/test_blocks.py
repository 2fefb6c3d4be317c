"""A run's blocks answer one question each: what they depend on is in their names."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cli.tiny import vtcd
from vtcd_jax import models
from vtcd_jax.ablation.engine import tasks
from vtcd_jax.ablation.keys import Part, block_names
from vtcd_jax.concepts import Concepts, load_concepts, save_concepts
from vtcd_jax.data import Clips
from vtcd_jax.importance import Explicit, Random, Support, Targets, find_targets
from vtcd_jax.models.families import tcow
from vtcd_jax.pipeline.scoring import measure
from vtcd_jax.pipeline.settings import RunSettings
from vtcd_jax.pipeline.sources import Prepared
from vtcd_jax.runs import open_run

PASSES = {"model": {"params": "a"}, "mode": "zero", "precision": "float32", "scores": ["logit"]}


def make_part() -> Part:
    rng = np.random.default_rng(0)
    clips = Clips.make(rng.integers(0, 256, (2, 2, 8, 8, 3), np.uint8), ["a", "b"])
    ids = rng.integers(-1, 4, (2, 1, 2, 2, 1, 1)).astype(np.int32)
    return Part(clips, Support({"block_0/attn/key": ids}, 4), Targets(np.array([0, 1], np.int32)))


def names(part: Part, design=None, passes=PASSES) -> list[str]:
    design = Random(0, 4) if design is None else design
    return block_names("rank", part, design, tasks(design, part.support.present()), passes)


def test_every_cause_of_a_score_is_in_the_name_of_its_block():
    part = make_part()
    ids = {site: np.where(a == 3, 2, a) for site, a in part.support.ids.items()}
    weight = {site: np.full(a.shape, 0.5, np.float32) for site, a in part.support.ids.items()}
    query = np.ones((2, 2, 8, 8), bool)
    others = [
        names(dataclasses.replace(part, support=Support(ids, 4))),
        names(dataclasses.replace(part, support=Support(part.support.ids, 4, weight))),
        names(dataclasses.replace(part, targets=Targets(np.array([1, 2], np.int32)))),
        names(dataclasses.replace(part, targets=dataclasses.replace(part.targets, mask=query))),
        names(dataclasses.replace(part, clips=dataclasses.replace(part.clips, query=query))),
        names(part, Random(1, 4)),
        names(part, Random(0, 4, ratio=0.25)),
        names(part, Explicit(np.zeros((4, 4), np.float32))),
        *(names(part, passes={**PASSES, key: value}) for key, value in (
            ("model", {"params": "b"}), ("mode", "mean"), ("mode", "resample"), ("precision", "bfloat16"),
            ("scores", ["margin"]),
        )),
    ]  # fmt: skip
    assert not set(names(part)) & {name for other in others for name in other}
    assert len({name for other in others for name in other}) == 2 * len(others)


def test_a_clips_blocks_do_not_depend_on_the_company_it_keeps():
    part, alone = make_part(), [1]
    lone = Part(part.clips[alone], part.support[alone], part.targets[alone])
    assert names(lone) == names(part)[1:] and names(part) == names(make_part())


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
    part = Part(clips, Support({"block_0/space_attn/key": ids}, shape[4]), find_targets(tracker, clips))
    prepared = Prepared(tracker, clips, None, ("soft_iou",), part.targets, None)
    settings = RunSettings(clips="-", model="-", chunk=1)
    with open_run(tmp_path / "run", {}) as run:
        first, again = (measure(run, "rank", settings, prepared, part, Random(0, 4)) for _ in range(2))
    np.testing.assert_array_equal(again["soft_iou"], first["soft_iou"])
    assert not np.allclose(first["soft_iou"][0], first["soft_iou"][1])


def changed(run: Path, **fields: object) -> Concepts:
    concepts = dataclasses.replace(load_concepts(run), **fields)
    save_concepts(concepts, run)
    return concepts


@pytest.mark.parametrize("kind", ["other clips", "another order", "another seed", "other settings"])
def test_concepts_of_another_run_are_refused_where_they_do_not_belong(discovered, tmp_path, kind):
    run = shutil.copytree(discovered, tmp_path / "run")
    concepts = load_concepts(run)
    fields = {
        "other clips": {"video_hashes": ("0" * 64, *concepts.video_hashes[1:])},
        "another order": {"video_hashes": concepts.video_hashes[::-1]},
        "another seed": {"settings": concepts.settings | {"key": [0, 1]}},
        "other settings": {"settings": concepts.settings | {"nmf": {**concepts.settings["nmf"], "restarts": 3}}},
    }[kind]
    changed(run, **fields)
    before = (run / "concepts.safetensors").read_bytes()
    said = vtcd("rank", run, "--quiet")
    assert said.code == 2 and len(said.err.splitlines()) == 1, said.err
    assert "concepts.safetensors" in said.err and ("remove" in said.err or "take clips[" in said.err)
    assert (run / "concepts.safetensors").read_bytes() == before and not (run / "importance.csv").exists()


def test_scores_of_other_concepts_are_not_taken(ranked, tmp_path):
    """Concepts that lie elsewhere, in a run whose passes are all done: they are run again."""
    run = shutil.copytree(ranked, tmp_path / "run")
    concepts = load_concepts(run)
    swapped = {site: np.where(ids == 0, 1, np.where(ids == 1, 0, ids)) for site, ids in concepts.ids.items()}
    changed(run, ids=swapped)
    blocks = set(path.name for path in (run / "scores" / "rank").iterdir())
    assert vtcd("rank", run, "--quiet").code == 0
    assert len(set(path.name for path in (run / "scores" / "rank").iterdir()) - blocks) > 0
