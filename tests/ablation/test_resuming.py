"""Masked passes of a run: what is damaged is done again, what is not finite stops it, the log tells how far it is."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.cli.processes import differing, ranked_blocks
from tests.cli.tiny import FAST, vtcd
from vtcd_jax import world
from vtcd_jax.ablation import engine
from vtcd_jax.ablation.chunks import Chosen
from vtcd_jax.concepts import load_concepts
from vtcd_jax.pipeline.settings import RunSettings
from vtcd_jax.pipeline.sources import prepare
from vtcd_jax.runs import Run, open_run, read_config, read_csv, read_events

BLOCKS = 32
ROWS = 64


@pytest.fixture
def run(discovered, tmp_path) -> Path:
    """A run that has its concepts; the ranking is still to do."""
    return shutil.copytree(discovered, tmp_path / "run")


def rows_of(run: Path) -> list[int]:
    return [len(load_file(path)["logit"]) for path in ranked_blocks(run)]


def told(run: Path, kind: str) -> list[dict]:
    return [event for event in read_events(run) if event["kind"] == kind and event.get("stage", "rank") == "rank"]


# -- blocks that cannot be used -------------------------------------------------------------------------------------
def test_blocks_that_are_damaged_or_do_not_fit_are_computed_again(ranked, tmp_path):
    run = shutil.copytree(ranked, tmp_path / "run")
    flipped, cut, empty, short, other, whole = ranked_blocks(run)[::6]
    data = bytearray(flipped.read_bytes())
    data[-3] ^= 1
    flipped.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:-5])
    empty.write_bytes(b"")
    before, rows = whole.stat().st_mtime_ns, load_file(short)["logit"]
    with open_run(run, read_config(run), resume=True) as opened:  # these have right checksums
        opened.write_block(f"rank/{short.stem}", {"logit": rows[:-1]})
        opened.write_block(f"rank/{other.stem}", {"logit": rows, "margin": rows})
    (run / "importance.csv").write_text("rank,id\n")
    assert vtcd("rank", run).code == 0
    assert differing(run, ranked) == [] and whole.stat().st_mtime_ns == before
    reasons = {event["block"]: event["reason"] for event in told(run, "block thrown away")}
    assert reasons == {
        **{f"rank/{path.stem}": "damaged" for path in (flipped, cut, empty)},
        f"rank/{short.stem}": f"holds logit [{ROWS - 1}]; wanted logit, {ROWS} rows each",
        f"rank/{other.stem}": f"holds logit [{ROWS}], margin [{ROWS}]; wanted logit, {ROWS} rows each",
    }


def test_a_file_in_the_place_of_the_scores_is_named(run):
    (run / "scores").write_text("mine")
    said = vtcd("rank", run, "--quiet")
    assert said.code == 1 and said.err.startswith(f"vtcd: {run / 'scores'}") and len(said.err.splitlines()) == 1
    assert (run / "scores").read_text() == "mine" and not (run / ".lock").exists()


def test_a_score_that_is_not_finite_stops_and_names_clip_and_mask(run, ranked, monkeypatch):
    name = load_concepts(run).video_names[0]
    for value, block in ((float("nan"), 2), (float("inf"), 4)):
        poison(monkeypatch, value, mask=block * ROWS + 5)
        said = vtcd("rank", run, "--quiet")
        assert said.code == 2 and len(said.err.splitlines()) == 1, said.err
        assert f"score 'logit' of clip '{name}' under mask {block * ROWS + 5} is not finite" in said.err
        assert len(ranked_blocks(run)) == block and not (run / "importance.csv").exists()
        monkeypatch.undo()
    assert vtcd("rank", run).code == 0 and differing(run, ranked) == []


def poison(monkeypatch, value: float, mask: int) -> None:
    """The first clip gets this score under this mask."""
    read = engine._blocks

    def poisoned(group, found, clips):
        (video, start, stop), *_ = group
        hit = video == 0 and start <= mask < stop
        return read(group, {"logit": found["logit"].at[0, mask - start].set(value)} if hit else found, clips)

    monkeypatch.setattr(engine, "_blocks", poisoned)


# -- the log --------------------------------------------------------------------------------------------------------
def test_the_log_tells_masks_clips_speed_and_the_time_that_is_left(ranked):
    last = told(ranked, "progress")[-1]
    assert set(last) == {"time", "kind", "stage", "masks", "of", "clips", "of_clips", "per_second", "seconds_left"}
    assert last["masks"] == last["of"] == sum(rows_of(ranked)) and len(rows_of(ranked)) == BLOCKS
    assert last["clips"] == last["of_clips"] == len(read_config(ranked)["clips"]) == 4
    assert last["per_second"] > 0 and last["seconds_left"] == 0


def test_what_was_there_already_does_not_count_as_speed(ranked, tmp_path, monkeypatch):
    monkeypatch.setattr("vtcd_jax.pipeline.scoring.EVERY", 0.0)
    run = shutil.copytree(ranked, tmp_path / "run")
    (run / "events.jsonl").unlink()
    for path in ranked_blocks(run)[:2]:
        path.unlink()
    said = vtcd("rank", run)
    assert said.code == 0 and re.search(r"^ranking +\d+ passes, ", said.err, re.M)
    assert said.out.startswith("the untouched network gets 4 clips wrong, kept (--only-correct leaves them out): world")
    first, second = told(run, "progress")
    total = sum(rows_of(run))
    assert (first["masks"], second["masks"], first["of"]) == (total - ROWS, total, total)
    assert (first["clips"], second["clips"]) == (3, 4)
    seconds = second["time"] - told(run, "resumed")[0]["time"]
    assert first["per_second"] > 0 and second["per_second"] >= 0.99 * 2 * ROWS / seconds
    assert first["seconds_left"] == pytest.approx(ROWS / first["per_second"], rel=0.02, abs=0.1)


# -- chunk ----------------------------------------------------------------------------------------------------------
def test_the_chunk_is_measured_once_for_the_stage_with_many_masks(run, monkeypatch):
    """On accelerators it is measured; the stage that comes first has one row a clip and would allow for one mask."""
    measured = []

    def pick(arguments, passes, rows):
        measured.append((rows, len(arguments.clips)))
        return Chosen(3)

    monkeypatch.setattr(engine, "pick_chunk", pick)
    for _ in range(2):
        interrupt_after(2, monkeypatch)  # of the four untouched clips
        assert vtcd("rank", run).code == 1
    assert measured == [(ROWS, 2)] and read_config(run)["chunk"] == 3
    assert [event["chunk"] for event in told(run, "chunk")] == [3]


# -- clips that are wrong -------------------------------------------------------------------------------------------
def test_clips_that_the_network_gets_wrong_are_told_and_can_be_left_out(model, tmp_path):
    """The network knows the classes of all clips by name, and has learnt nothing."""
    other = shutil.copytree(model, tmp_path / "model")
    settings = RunSettings(clips="world:5", model=str(other), hold_out=0)
    classes = world.clips(5, seed=0, config=world.WorldConfig(size=24, frames=8), split="held-out").labels
    (other / "labels.json").write_text(json.dumps([world.CLASSES[number] for number in classes]))
    every = prepare(settings)
    assert 0 < len(every.wrong) < len(every.clips) == 5
    right = [name for name in every.clips.names if name not in every.wrong]

    out = tmp_path / "run"
    job = ("discover", "world:5", "--model", other, "--hold-out", "0", *FAST[:-2], "--only-correct")
    said = vtcd(*job, "--out", out, "--quiet")
    assert said.code == 0, said.err
    count = f"{len(every.wrong)} clip" + "s" * (len(every.wrong) > 1)
    line = f"the untouched network gets {count} wrong, left out: {', '.join(every.wrong)}"
    assert said.out.splitlines()[0] == line
    assert sorted(read_config(out)["clips"]) == sorted(load_concepts(out).video_names) == sorted(right)
    (event,) = told(out, "wrong clips")
    assert event["names"] == list(every.wrong) and event["left_out"]


def test_a_network_that_gets_every_clip_wrong_is_refused(model, tmp_path):
    said = vtcd("run", "world:4", "--model", model, "--target", "0", "--only-correct", "--out", tmp_path / "run")
    assert said.code == 2 and said.out == "" and not (tmp_path / "run").exists()
    assert said.err == "vtcd: --only-correct: the untouched network gets every clip wrong; leave the option out\n"


# -- stopping early -------------------------------------------------------------------------------------------------
def begin(model: Path, out: Path, *settings: object, clips: str) -> Path:
    options = ("--hold-out", "0", *FAST, "--masks", "1024", "--scores", "logit", "--stop", *settings)
    said = vtcd("discover", clips, "--model", model, *options, "--out", out)
    assert said.code == 0, said.err
    return out


def test_stopping_early_is_told_with_its_reason(model, tmp_path):
    run = begin(model, tmp_path / "run", "--stop-top", "2", clips="world:3")
    said = vtcd("rank", run, "--quiet")
    (look,) = read_csv(run / "looks.csv")
    assert look["reason"] == "the top 2 are separated from the rest" and look["undecided"] == "0"
    assert f"look 1: {look['masks']} passes" in said.out and look["reason"] in said.out
    assert int(look["masks"]) < 3 * 1024 and told(run, "ranked")[0]["masks"] == int(look["masks"])
    assert told(run, "look")[0]["line"] in said.out


def test_a_ranking_that_stops_early_does_so_again_after_an_interruption(model, tmp_path, monkeypatch):
    """Masks that are not balanced are noisy enough for several looks."""
    monkeypatch.setattr("vtcd_jax.importance.estimation.stopping.NOISE", 0.07)
    whole = begin(model, tmp_path / "whole", "--design", "paired", "--stop-top", "4", clips="world:3")
    stopped = shutil.copytree(whole, tmp_path / "stopped")
    assert vtcd("rank", whole).code == 0
    looks = read_csv(whole / "looks.csv")
    assert [look["number"] for look in looks] == [str(n + 1) for n in range(len(looks))] and 1 < len(looks) < 4
    assert [bool(look["reason"]) for look in looks] == [False] * (len(looks) - 1) + [True]
    assert "the noise of the masks is" in looks[-1]["reason"]
    blocks = len(ranked_blocks(whole))
    assert blocks < 3 * 1024 // ROWS

    interrupt_after(blocks - 4, monkeypatch)  # beside the three untouched clips
    assert vtcd("rank", stopped).code == 1 and len(ranked_blocks(stopped)) == blocks - 7
    monkeypatch.setattr(Run, "write_block", WRITE)
    assert vtcd("rank", stopped).code == 0
    assert differing(stopped, whole) == [] and "looks.csv" in {p.name for p in stopped.iterdir()}


WRITE = Run.write_block


def interrupt_after(blocks: int, monkeypatch) -> None:
    left = [blocks]

    def write(run, name, arrays, note=None):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        WRITE(run, name, arrays, note)

    monkeypatch.setattr(Run, "write_block", write)


def test_when_all_masks_are_spent_the_last_look_says_so(model, tmp_path):
    """One clip tells nothing about the spread over clips, and few coins separate no concepts that are alike."""
    settings = ("--design", "bernoulli", "--stop-top", "6", "--masks", "320")
    run = begin(model, tmp_path / "run", *settings, clips="world:1")
    assert vtcd("rank", run).code == 0
    looks = read_csv(run / "looks.csv")
    assert [look["masks"] for look in looks] == ["128", "256", "320"]
    assert [look["reason"] for look in looks] == ["", "", "all masks are spent"]
