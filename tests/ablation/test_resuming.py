"""Masked passes that are kept: an interrupted call goes on to the same bytes.

What cannot be used is done again, what is not finite stops the call, and the events say how far it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vtcd_jax.ablation import engine
from vtcd_jax.ablation.chunks import Chosen
from vtcd_jax.importance import LeaveOneOut, Random, cris, scores
from vtcd_jax.models import InputError
from vtcd_jax.runs import MemoryStore, Run, Shard, Step, Work, open_run, read_config, read_events

pytestmark = pytest.mark.compile

STEP = Step("rank", "ranking", "pass")
DESIGN = Random(0, 150)
ROWS = [64, 64, 22]  # of the blocks of each clip
BLOCKS = 3 * len(ROWS)


class Limited(MemoryStore):
    """A store whose process is interrupted at the write after so many."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        assert name not in self.blocks, "nothing is done twice"
        super().write_block(name, arrays)


@pytest.fixture(scope="module")
def measure(model, clips, support):
    """work, design -> scores [video, mask]."""

    def run(work: Work = Work(), design=DESIGN) -> np.ndarray:
        return scores(model, clips, support, design, score="logit", step=STEP, work=work)["logit"]

    return run


@pytest.fixture(scope="module")
def whole(measure) -> np.ndarray:
    """The scores of a call that keeps nothing."""
    return measure()


@pytest.fixture(scope="module")
def finished(measure, tmp_path_factory) -> dict[str, bytes]:
    """Blocks of a run that was never interrupted: file name -> content."""
    with open_run(tmp_path_factory.mktemp("finished") / "run", {}) as run:
        measure(Work(store=run))
        return {path.name: path.read_bytes() for path in files(run)}


@pytest.fixture
def run(finished, tmp_path) -> Iterator[Run]:
    """A resumed run that holds all blocks."""
    open_run(tmp_path / "run", {}).close()
    with open_run(tmp_path / "run", {}, resume=True) as opened:
        for name, content in finished.items():
            opened.path(f"scores/rank/{name}").write_bytes(content)
        yield opened


def files(run: Run) -> list[Path]:
    return sorted((run.folder / "scores" / "rank").glob("*.safetensors"))


def content(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in files(run)}


def events(run: Run, kind: str) -> list[dict]:
    return [event for event in read_events(run.folder) if event["kind"] == kind]


# -- interrupted calls -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("design", [DESIGN, LeaveOneOut(8)], ids=["random", "leave one out"])
def test_an_interrupted_call_ends_with_the_scores_of_one_that_was_not(measure, design):
    expected, store = measure(design=design), Limited(0)
    for writes in (0, 1, 1):
        store.left = writes
        with pytest.raises(KeyboardInterrupt):
            measure(Work(store), design)
    store.left = 100
    np.testing.assert_array_equal(measure(Work(store), design), expected)
    store.left = 0  # all is there: nothing is written, nothing computed
    np.testing.assert_array_equal(measure(Work(store), design), expected)


def test_an_interrupted_run_ends_with_the_same_blocks_on_disk(measure, finished, whole, tmp_path, monkeypatch):
    write, left = Run.write_block, [4]

    def limited(run: Run, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(run, name, arrays)

    monkeypatch.setattr(Run, "write_block", limited)
    with open_run(tmp_path / "run", {}) as run, pytest.raises(KeyboardInterrupt):
        measure(Work(store=run))
    assert len(files(run)) == 4
    monkeypatch.undo()
    with open_run(tmp_path / "run", {}, resume=True, ignore=("chunk",)) as run:
        np.testing.assert_array_equal(measure(Work(store=run)), whole)
        assert content(run) == finished


@pytest.mark.parametrize("store", [None, MemoryStore()], ids=["without a store", "with a store"])
def test_a_stop_that_is_asked_for_ends_the_call_after_the_blocks_under_way(measure, store):
    done = []

    def progress(step: Step, now: int, total: int, detail: str = "") -> None:
        done.append(now)

    with pytest.raises(KeyboardInterrupt):
        measure(Work(store, progress, stop=lambda: bool(done and done[-1])))
    assert 0 < done[-1] < 3 * sum(ROWS)
    if store is not None:
        assert sum(len(block["logit"]) for block in store.blocks.values()) == done[-1]
        assert store.events[-1][0] == "interrupted"


def test_a_ranking_is_the_same_after_an_interruption(model, clips, concepts):
    settings = {"score": "logit", "masks": 80, "key": 0}
    expected, store = cris(model, clips, concepts, **settings), Limited(2)
    for writes in (2, 3):
        store.left = writes
        with pytest.raises(KeyboardInterrupt):
            cris(model, clips, concepts, work=Work(store), **settings)
    store.left = 100
    found = cris(model, clips, concepts, work=Work(store), **settings)
    for name in ("importance", "se_masks", "se_videos", "masks"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


# -- shards ----------------------------------------------------------------------------------------------------------
def test_shards_compute_each_row_once_and_together_all(measure, whole):
    store = Limited(100)
    parts = np.stack([measure(Work(store, shard=Shard(index, 2))) for index in range(2)])
    assert (np.isfinite(parts).sum(0) == 1).all()
    np.testing.assert_array_equal(np.nansum(parts, axis=0), whole)
    store.left = 0
    np.testing.assert_array_equal(measure(Work(store)), whole)


# -- blocks that cannot be used ----------------------------------------------------------------------------------------
def test_blocks_that_are_damaged_or_do_not_fit_are_computed_again(measure, run, finished, whole):
    flipped, cut, short, empty, other, *_, kept = [path for path in files(run) if len(load_file(path)["logit"]) == 64]
    data = bytearray(flipped.read_bytes())
    data[-3] ^= 1
    flipped.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:-5])
    empty.write_bytes(b"")
    before, rows = kept.stat().st_mtime_ns, load_file(short)["logit"]
    run.write_block(f"rank/{short.stem}", {"logit": rows[:-1]})  # these have right checksums
    run.write_block(f"rank/{other.stem}", {"logit": rows, "margin": rows})
    np.testing.assert_array_equal(measure(Work(store=run)), whole)
    assert content(run) == finished and kept.stat().st_mtime_ns == before
    assert {event["block"]: event["reason"] for event in events(run, "block thrown away")} == {
        **{f"rank/{path.stem}": "damaged" for path in (flipped, cut, empty)},
        f"rank/{short.stem}": "holds logit [63]; expected logit, 64 rows each",
        f"rank/{other.stem}": "holds logit [64], margin [64]; expected logit, 64 rows each",
    }


def test_a_file_in_the_place_of_the_blocks_is_named_and_kept(measure, tmp_path):
    with open_run(tmp_path / "run", {}) as run:
        (run.folder / "scores").write_text("mine")
        with pytest.raises(OSError) as error:
            measure(Work(store=run))
    assert str(run.folder / "scores") in str(error.value)
    assert (run.folder / "scores").read_text() == "mine" and not (run.folder / ".lock").exists()


def test_a_score_that_is_not_finite_stops_and_names_clip_and_mask(measure, clips, finished, tmp_path, monkeypatch):
    with open_run(tmp_path / "run", {}) as run:
        for value, block in ((float("nan"), 1), (float("inf"), 2)):
            mask = 64 * block + 5
            poison(monkeypatch, value, mask)
            with pytest.raises(InputError, match=f"score 'logit' of clip 'a' under mask {mask} is not finite"):
                measure(Work(store=run))
            assert len(files(run)) == block
            monkeypatch.undo()
        measure(Work(store=run))
        assert content(run) == finished


def poison(monkeypatch, value: float, mask: int) -> None:
    """The first clip gets this score under this mask."""
    read = engine._blocks

    def poisoned(group, found, clips):
        (video, start, stop), *_ = group
        hit = video == 0 and start <= mask < stop
        return read(group, {"logit": found["logit"].at[0, mask - start].set(value)} if hit else found, clips)

    monkeypatch.setattr(engine, "_blocks", poisoned)


# -- events and progress -----------------------------------------------------------------------------------------------
def test_progress_counts_passes_and_clips(measure):
    seen = []

    def progress(step: Step, done: int, total: int, detail: str = "") -> None:
        seen.append((step, done, total, detail))

    store = MemoryStore()
    measure(Work(store, progress))
    ends = np.cumsum([0] + 3 * ROWS).tolist()
    clips = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert seen == [(STEP, end, 450, f"{n}/3 clips") for end, n in zip(ends, clips, strict=True)]
    seen.clear()
    measure(Work(store, progress))
    assert seen == []  # nothing is left to do
    first = next(name for name, block in store.blocks.items() if len(block["logit"]) == 22)
    del store.blocks[first]
    measure(Work(store, progress))
    assert [done for _, done, *_ in seen] == [428, 450]


def test_events_give_passes_clips_speed_and_the_time_that_is_left(measure, tmp_path):
    with open_run(tmp_path / "run", {}) as run:
        measure(Work(store=run))
        last = events(run, "progress")[-1]
    assert set(last) == {"time", "kind", "stage", "masks", "of", "clips", "of_clips", "per_second", "seconds_left"}
    assert last["stage"] == "rank" and last["masks"] == last["of"] == 3 * sum(ROWS)
    assert last["clips"] == last["of_clips"] == 3
    assert last["per_second"] > 0 and last["seconds_left"] == 0


def test_what_was_there_already_does_not_count_as_speed(measure, run, monkeypatch):
    monkeypatch.setattr(import_module("vtcd_jax.ablation.scores"), "EVENT_SECONDS", 0.0)  # a function has its name
    for path in files(run)[:2]:  # of one clip
        path.unlink()
    run.event("asked")
    measure(Work(store=run))
    first, second = events(run, "progress")
    total = 3 * sum(ROWS)
    assert (first["masks"], second["masks"], first["of"]) == (total - 64, total, total)
    assert (first["clips"], second["clips"]) == (2, 3)
    seconds = second["time"] - events(run, "asked")[0]["time"]
    assert first["per_second"] > 0 and second["per_second"] >= 0.99 * 2 * 64 / seconds
    assert first["seconds_left"] == pytest.approx(64 / first["per_second"], rel=0.02, abs=0.1)


# -- chunk -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode, needed", [("zero", 1), ("resample", 2)])  # resampling needs a clip to take values of
def test_the_chunk_is_measured_once_for_the_step_with_many_masks(
    model, clips, concepts, tmp_path, monkeypatch, mode, needed
):
    """On accelerators it is measured; the untouched clips come first and would allow for one row."""
    measured, write, left = [], Run.write_block, [0]

    def pick(arguments, passes, rows):
        measured.append((rows, len(arguments.clips)))
        return Chosen(3)

    def limited(run: Run, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(run, name, arrays)

    monkeypatch.setattr(engine, "pick_chunk", pick)
    monkeypatch.setattr(Run, "write_block", limited)
    for writes in (2, 2, 1):  # of three unmodified clips and six blocks
        left[0] = writes
        begun = open_run(tmp_path / "run", {}, resume=True, ignore=("chunk",))
        with begun as run, pytest.raises(KeyboardInterrupt):
            asked = {"score": "logit", "masks": 80, "design": "folded-hadamard", "mode": mode}
            cris(model, clips, concepts, key=0, work=Work(store=run), **asked)
    assert measured == [(64, needed)] and (read_config(run.folder) or {})["chunk"] == 3
    assert [event["chunk"] for event in events(run, "chunk")] == [3]
