"""Model, clips and targets of a run: what depends on what, and what does not."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.cli.tiny import LABELS
from tests.data.video.videos import write
from vtcd_jax import models, world
from vtcd_jax.base.random import stage_key
from vtcd_jax.importance.designs.random import Random
from vtcd_jax.jobs.execute import config_of
from vtcd_jax.jobs.vtcd import JOB, RunSettings
from vtcd_jax.jobs.vtcd.inputs import load_inputs, split
from vtcd_jax.models import InputError, model_hashes
from vtcd_jax.runs.settings import from_plain, to_plain
from vtcd_jax.runs.work import silent
from vtcd_jax.scores import check_scores

pytestmark = pytest.mark.compile


@pytest.fixture(scope="module")
def clips():
    return world.clips(12, seed=0, config=world.WorldConfig(size=24, frames=8))


# -- clips ----------------------------------------------------------------------------------------------------------
def test_adding_a_clip_changes_no_draw_of_the_others(model, tmp_path):
    """Design rows are a matter of seed, content and mask index; file names and company do not count."""
    rng = np.random.default_rng(0)
    contents = [rng.integers(0, 255, (16, 24, 24, 3), dtype=np.uint8) for _ in range(4)]
    for i in (1, 2, 3):
        write(tmp_path / f"{i}.mp4", contents[i])
    settings = RunSettings(clips=str(tmp_path), model=str(model), target="0", hold_out=0)
    few = load_inputs(settings, silent).clips
    write(tmp_path / "0.mp4", contents[0])  # comes first
    (tmp_path / "3.mp4").rename(tmp_path / "renamed.mp4")
    many = load_inputs(settings, silent).clips
    assert many.names == ("0.mp4", "1.mp4", "2.mp4", "renamed.mp4") and few.names == ("1.mp4", "2.mp4", "3.mp4")
    assert many.hashes[1:] == few.hashes and len(set(many.hashes)) == 4
    design = Random(stage_key(settings.seed, "rank"), 32)
    present = np.ones(10, bool)
    rows = [design.rows(h, 0, 32, present) for h in (*few.hashes, *many.hashes[1:])]
    for i in range(3):
        np.testing.assert_array_equal(rows[i], rows[i + 3])
        np.testing.assert_array_equal(design.rows(few.hashes[i], 20, 30, present), rows[i][20:30])  # nor do blocks
    assert not np.array_equal(rows[0], rows[1])
    other = Random(stage_key(1, "rank"), 32).rows(few.hashes[0], 0, 32, present)
    assert not np.array_equal(other, rows[0])


def test_clips_are_held_out_by_content_not_by_order(clips):
    ranked, held_out = split(clips, 0.4, 0)
    assert len(ranked) == 7 and len(held_out) == 5 and not set(ranked.hashes) & set(held_out.hashes)
    again = split(clips[np.arange(12)[::-1]], 0.4, 0)
    assert set(again[1].hashes) == set(held_out.hashes)
    other = split(clips, 0.4, 1)
    assert set(other[1].hashes) != set(held_out.hashes)


@pytest.mark.parametrize(
    ("count", "share", "held"), [(12, 0.25, 0), (12, 0.34, 4), (12, 0.0, 0), (5, 0.8, 0), (6, 0.7, 4)]
)
def test_too_few_clips_are_not_held_out(clips, count, share, held):
    ranked, held_out = split(clips[np.arange(count)], share, 0)
    assert (0 if held_out is None else len(held_out)) == held and len(ranked) == count - held


def test_classes_of_the_world_are_matched_by_name(model, tmp_path):
    """The world numbers its classes, a model its own; a class that the model does not know is unknown."""
    labels = ("something else", *world.CLASSES[3:6][::-1], "staying elsewhere")
    other = shutil.copytree(model, tmp_path / "other")
    (other / "labels.json").write_text(json.dumps(labels))
    settings = RunSettings(clips="world:28", model=str(other), target="0", hold_out=0)
    found = load_inputs(settings, silent).clips
    truth = world.clips(28, seed=0, config=world.WorldConfig(size=24, frames=8), split="held-out")
    assert found.names == truth.names
    for number, true in zip(found.labels, truth.labels, strict=True):
        assert labels[number] == world.CLASSES[true] if number >= 0 else world.CLASSES[true] not in labels
    assert (found.labels >= 0).sum() == 6  # 28 clips of 14 classes, three of which the model knows


def test_targets_follow_their_clips_into_both_parts(model):
    settings = RunSettings(clips="world:12", model=str(model), hold_out=0.5)
    prepared = load_inputs(settings, silent)
    loaded = models.load(model)
    for part, labels in (
        (prepared.clips, prepared.targets.label),
        (prepared.held_out, prepared.held_out_targets.label),
    ):
        video = loaded.preprocessing.normalise(part.read(range(len(part))).video)
        logits = models.forward(loaded, models.Inputs(video))[0].logits
        np.testing.assert_array_equal(labels, logits.argmax(-1))
        assert labels.dtype == np.int32
    given = load_inputs(dataclasses.replace(settings, target="Picking UP"), silent)
    assert set(given.targets.label) == set(given.held_out_targets.label) == {LABELS.index("picking up")}


# -- models ---------------------------------------------------------------------------------------------------------
def test_a_classifier_without_names_gets_numbers(model, autoencoder, tmp_path):
    nameless = shutil.copytree(model, tmp_path / "nameless")
    (nameless / "labels.json").write_text("[]")
    assert models.load(str(nameless)).labels == tuple(f"class_{i}" for i in range(5))
    assert models.load(str(model)).labels == LABELS and models.load(str(autoencoder)).labels == ()


def test_scores_that_need_what_a_network_lacks(model, autoencoder):
    classifier, reconstructs = models.load(str(model)), models.load(str(autoencoder))
    check_scores(classifier, ("accuracy", "margin", "logit", "probability", "log_probability"))
    check_scores(reconstructs, ("reconstruction",))
    with pytest.raises(InputError, match=r"--scores reconstruction: .*log_probability"):
        check_scores(classifier, ("accuracy", "reconstruction"))
    with pytest.raises(InputError, match=r"--scores margin: .*reconstruction"):
        check_scores(reconstructs, ("margin",))


def test_designs_of_slopes_are_checked_before_any_work(model):
    def load(**settings) -> str:
        with pytest.raises(InputError) as error:
            load_inputs(RunSettings(clips="world:12", model=str(model), target="0", **settings), silent)
        return str(error.value)

    wrong = "score 'accuracy' has no slope; "
    both = load(design="slopes", scores=("log_probability", "accuracy"))
    assert both.startswith(f"{wrong}take 'log_probability', or --design joined, which reads all")
    assert load(design="joined", scores=("accuracy", "margin")) == f"{wrong}put 'log_probability' first"
    assert load(design="joined", scores=("accuracy",)) == "score 'accuracy' has no slope; take 'log_probability'"
    few = load(design="joined", scores=("margin", "accuracy"), control_masks=40)
    assert few.startswith("--masks 40 are too few for --design joined") and "give at least 48" in few
    with pytest.raises(InputError, match="--estimator|estimator 'contrast' does not fit design 'joined'"):
        RunSettings(clips="x", model="m", design="joined", estimator="contrast")


def test_slopes_are_measured_for_the_first_smooth_score_unless_others_are_asked_for(model):
    asked = {"clips": "world:12", "model": str(model), "target": "0"}
    assert load_inputs(RunSettings(**asked, design="slopes"), silent).scores == ("log_probability",)
    inputs = load_inputs(RunSettings(**asked), silent)
    assert len(inputs.scores) > 1 and inputs.design(RunSettings(**asked)) == "joined"


def test_every_file_of_a_model_folder_is_hashed(model, tmp_path):
    found = model_hashes(str(model))
    assert set(found) == {"config.json", "labels.json", "manifest.json", "params.safetensors"}
    folder = shutil.copytree(model, tmp_path / "orbax")
    (folder / "params" / "d").mkdir(parents=True)
    (folder / "params" / "d" / "0").write_bytes(b"shard")
    (folder / "params.safetensors").unlink()
    assert "params/d/0" in model_hashes(str(folder))


# -- settings -------------------------------------------------------------------------------------------------------
def test_settings_survive_the_config_file():
    settings = RunSettings(clips="x", model="m", target="0", chunk=3, scores=("margin",), design="random", ratio=0.25)
    settings = dataclasses.replace(settings, slic=dataclasses.replace(settings.slic, size=(4, 24, 24)))
    plain = json.loads(json.dumps(to_plain(settings)))
    assert from_plain(RunSettings, plain) == settings
    for broken, word in (
        ({"clips": "x"}, "model"), ({**plain, "colour": 1}, "colour: no such setting"),
        ({**plain, "masks": "many"}, "masks: 'many' is no int"), ({**plain, "slic": 3}, "slic: is a group"),
        ({**plain, "mode": "erase"}, "mode: 'erase' is unknown"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=word):
            from_plain(RunSettings, broken)


def test_the_config_tells_no_path_but_the_users(model, tmp_path):
    settings = RunSettings(clips="world:2", model=str(model), target="0")
    text = json.dumps(config_of(JOB, settings, load_inputs(settings, silent)))
    assert text.count(str(model.parent)) == 1 and str(tmp_path.home()) not in text.replace(str(model), "")
