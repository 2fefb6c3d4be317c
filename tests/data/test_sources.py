"""Clips that are decoded when they are read: the same clips, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from vtcd_jax.base.errors import InputError
from vtcd_jax.data import Clips, ClipSource, open_clips, read_clips, sources
from vtcd_jax.data.read import Decoded
from vtcd_jax.data.sources import keeping_last
from vtcd_jax.models import Preprocessing

from .video.videos import numbered, write, write_frames

SMALL = Preprocessing(num_frames=4, height=24, width=48, stride=2, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_a_source_gives_the_clips_that_reading_all_gives(tmp_path):
    for i in range(4):
        write(tmp_path / f"{i}.mp4", np.roll(numbered(12), i, 0))
    write_frames(tmp_path / "still" / "f", numbered(8))
    every, source = read_clips(tmp_path, SMALL), open_clips(tmp_path, SMALL, classes=())
    assert (source.names, source.hashes) == (every.names, every.hashes) and len(source) == 5
    got = source[[4, 1, 2]].read([2, 0])
    np.testing.assert_array_equal(got.video, every.video[[2, 4]])
    assert got.hashes == (every.hashes[2], every.hashes[4])
    same: tuple[ClipSource, ...] = (every, source)
    for each in same:
        part: Clips = each[1:].read([0])
        assert part.names == (every.names[1],) and np.array_equal(part.labels, every.labels[1:2])


def test_a_file_that_changed_is_noticed_when_it_is_decoded_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "KEPT", 1)  # a single clip
    paths = [write(tmp_path / name, numbered(12 + i)[i:]) for i, name in enumerate(("x.mp4", "y.mp4"))]
    source = open_clips(tmp_path, SMALL)
    write(paths[0], numbered(20)[8:])
    with pytest.raises(InputError, match=r"x\.mp4: has changed since the clips were listed"):
        source.read([0])
    assert source.read([1]).names == ("y.mp4",)


def test_the_clips_that_were_read_last_are_not_decoded_again(monkeypatch):
    calls: list[int] = []

    def decode(number: int) -> Decoded:
        calls.append(number)
        return Decoded(np.full((2, 4, 4, 3), number, np.uint8))

    monkeypatch.setattr(sources, "KEPT", 2 * 2 * 4 * 4 * 3 + 1)
    kept = keeping_last(decode, (2, 4, 4))
    for number in (0, 1, 1, 0, 2, 0, 1):
        assert kept(number).video[0, 0, 0, 0] == number
    assert calls == [0, 1, 2, 1]  # two fit; the one that was not read for longest goes


def test_query_masks_are_part_of_what_a_clip_is(tmp_path):
    for i in range(3):
        write_frames(tmp_path / str(i), np.roll(numbered(8), i, 0))
    every, source = read_clips(tmp_path, SMALL), open_clips(tmp_path, SMALL)
    first = np.random.default_rng(0).random((3, SMALL.height, SMALL.width)) < 0.3
    first[1] = False
    asked, lazy = every.with_queries(first), source.with_queries(first)
    assert lazy.hashes == asked.hashes and lazy.pixel_hashes == asked.pixel_hashes == every.hashes
    assert lazy.query_sizes.tolist() == asked.query_sizes.tolist() and lazy.query_sizes[1] == 0
    part = lazy[[2, 0]].read([1, 0])
    np.testing.assert_array_equal(part.query, asked.query[[0, 2]])
    assert part.hashes == (asked.hashes[0], asked.hashes[2]) == lazy[[0, 2]].hashes
    assert lazy.with_queries(None).hashes == every.hashes and source.query_sizes is None


def test_memory_of_a_source_does_not_grow_with_its_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "KEPT", 1)
    p = Preprocessing(num_frames=8, height=96, width=96, stride=1, mean=(0.5,) * 3, std=(0.25,) * 3)
    peaks = []
    for count in (4, 24):
        folder = tmp_path / str(count)
        folder.mkdir()
        for i in range(count):
            write_frames(folder / str(i), numbered(8))
        tracemalloc.start()
        source = open_clips(folder, p)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(source) == count
    assert peaks[1] < peaks[0] + 400_000 < peaks[0] + 20 * 8 * 96 * 96 * 3  # pixels would add 4.4 MB
