"""Results show themselves in a line, in a notebook and as columns; concepts become masks and clips of the frames."""

from __future__ import annotations

import dataclasses
import re

import av
import numpy as np
import pytest

import vtcd_jax as vtcd
from vtcd_jax.base.showing import html_table
from vtcd_jax.concepts import load_concepts, save_concepts
from vtcd_jax.models import InputError
from vtcd_jax.report import overlay, save_clip
from vtcd_jax.report.overlays import colour_of, display
from vtcd_jax.runs import read_csv


@pytest.fixture(scope="module")
def results(make):
    data = make()
    concepts = dataclasses.replace(data.concepts, frames=(16, 48, 48))
    return concepts, data.importance[0], data.curves, data.interactions


# -- a line, a notebook, columns ---------------------------------------------------------------------------------------
def test_results_are_shown_in_one_line(results, clips):
    concepts, found, curves, pairs = results
    lines = [repr(value) for value in (clips, *results)]
    assert all("\n" not in line and len(line) < 250 for line in lines)
    assert lines[0].startswith("<7 clips of 16 × 48 × 48: ") and "true masks target" in lines[0]
    assert lines[1] == "<16 concepts in 4 heads of 2 sites, on 7 clips>"
    clear = (np.abs(found.importance) > found.half_widths()[0]).sum()
    assert lines[2] == (
        f"<importance of 16 concepts by probability on 7 clips, folded-hadamard: {clear} intervals leave zero out>"
    )
    assert f"most-first {curves.areas[0]:.3f} ± {curves.area_half_widths()[0]:.3f}" in lines[3]
    assert lines[4] == "<2 of 276 pairs of concepts interact, by probability, over masks>"
    model = vtcd.models.load("world-videomae")
    assert repr(model) == f"<world-videomae: {vtcd.models.describe(model)} · 14 classes>"


def test_notebooks_get_tables(results):
    for value in results:
        table = value._repr_html_()
        assert table.count("<tr>") >= 3 and "nan" not in table
    assert "&lt;b&gt;" in html_table("", {"name": ["<b>"]}) and "and 5 more rows" in html_table("", {"n": range(15)})


def test_columns_of_concepts_are_those_of_the_file(results, tmp_path):
    concepts = results[0]
    save_concepts(concepts, tmp_path)
    rows, columns = read_csv(tmp_path / "concepts.csv"), concepts.table()
    assert list(rows[0]) == list(columns)
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, (float, np.floating)):
                assert row[name] == "" if np.isnan(value) else float(row[name]) == pytest.approx(value, rel=1e-5)
            else:
                assert row[name] == str(value)


def test_columns_of_importance_are_in_its_order(results):
    concepts, found, *_ = results
    columns = found.table(concepts)
    np.testing.assert_array_equal(columns["id"], found.order())
    assert columns["name"] == tuple(concepts.names[i] for i in found.order())
    np.testing.assert_array_equal(columns["importance"], np.sort(found.importance)[::-1])
    np.testing.assert_array_equal(columns["half_width_masks"], found.half_widths()[0][found.order()])
    assert "name" not in found.table()
    with pytest.raises(InputError, match="15 concepts, but 16 were ranked"):
        found.table(dataclasses.replace(concepts, **{n: getattr(concepts, n)[:15] for n in ("site", "head", "number")}))


def test_columns_of_curves_and_pairs_are_their_numbers(results):
    concepts, _, curves, pairs = results
    np.testing.assert_array_equal(curves.table()["most-first"], curves.scores[0].mean(0))
    columns = pairs.table(concepts)
    assert columns["kind"] == ("AND", "OR", "AND") and columns["first_name"][1] == concepts.names[1]


def test_pandas_gets_the_same_columns(results):
    pandas = pytest.importorskip("pandas")
    concepts, found, curves, pairs = results
    for frame, columns in (
        (concepts.to_pandas(), concepts.table()),
        (found.to_pandas(concepts), found.table(concepts)),
        (curves.to_pandas(), curves.table()),
        (pairs.to_pandas(), pairs.table()),
    ):
        assert isinstance(frame, pandas.DataFrame) and list(frame) == list(columns)
        for name, values in columns.items():
            np.testing.assert_array_equal(frame[name], np.asarray(values))


# -- masks and clips ---------------------------------------------------------------------------------------------------
def test_masks_have_the_size_of_the_frames(results, clips):
    concepts = results[0]
    masks, support = concepts.masks(3), concepts.support(3)
    assert masks.shape == clips.video.shape[:4] and support.shape == (7, 16, 24, 24)
    np.testing.assert_array_equal(masks, support.repeat(2, 2).repeat(2, 3))
    np.testing.assert_array_equal(concepts.masks(3, [5, 1]), masks[[5, 1]])
    np.testing.assert_array_equal(concepts.masks(3, size=(16, 24, 24)), support)
    assert concepts.masks(3, [0], size=(4, 100, 7)).shape == (1, 4, 100, 7)


def test_masks_of_concepts_that_do_not_know_their_frames_need_a_size(results):
    with pytest.raises(InputError, match="give size="):
        dataclasses.replace(results[0], frames=None).masks(0)


def test_the_size_of_the_frames_is_kept_in_files(results, tmp_path):
    save_concepts(results[0], tmp_path)
    assert load_concepts(tmp_path).frames == (16, 48, 48)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "GIF"])
def test_a_concepts_clip_is_saved_as_the_suffix_says(results, clips, tmp_path, suffix):
    concepts, path = results[0], tmp_path / f"x.{suffix}"
    save_clip(concepts, 0, clips, path, video=2)
    shown, mask = display(clips.video[2], concepts.support(0, [2])[0])
    expected = overlay(shown, mask, colour_of(0))
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        name = container.streams.video[0].codec_context.name
    assert re.sub("libdav1d|lib", "", name) in ("h264", "vp9", "vpx-vp9", "gif") and len(frames) == 16
    assert np.abs(np.stack(frames).astype(float) - expected).mean() < 8
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_clip_as_it_is_may_stand_beside(results, clips, tmp_path):
    save_clip(results[0], 0, clips, tmp_path / "x.gif", beside=True)
    with av.open(str(tmp_path / "x.gif")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    best = int(results[0].best_clips(0, 1)[0])
    plain = display(clips.video[best], results[0].support(0, [best])[0])[0][0]
    assert frame.shape == (192, 384, 3) and np.abs(frame[:, :192].astype(float) - plain).mean() < 6


@pytest.mark.parametrize("change, message", [
    ({"path": "x.avi"}, "cannot write .avi; use .mp4, .webm, .gif"), ({"path": "x"}, "cannot write a file without"),
    ({"video": 7}, "clip 7 is out of range; there are 7"), ({"concept": 16}, "concept 16 is out of range"),
    ({"others": True}, "these are not the clips of the concepts"),
])  # fmt: skip
def test_what_cannot_be_saved_is_refused(results, clips, tmp_path, change, message):
    own = {"concept": 0, "path": "x.gif", "video": None, "others": False} | change
    with pytest.raises(InputError, match=message):
        given = clips[[1, 0, 2, 3, 4, 5, 6]] if own["others"] else clips
        save_clip(results[0], own["concept"], given, tmp_path / own["path"], video=own["video"])
    assert not list(tmp_path.iterdir())
