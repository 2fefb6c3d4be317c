"""Nothing that a folder holds is left out in silence, and what is no clip is none."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.video.videos import numbered, numbers, write, write_frames
from vtcd_jax.base.errors import InputError
from vtcd_jax.data import Clips, InputWarning, find_clips, read_clips
from vtcd_jax.data.listing import class_indices
from vtcd_jax.data.listing.search import Source
from vtcd_jax.models import Preprocessing

SMALL = Preprocessing(num_frames=4, height=24, width=48, stride=2, mean=(0.5,) * 3, std=(0.25,) * 3)
STILL = Preprocessing(num_frames=1, height=24, width=48, stride=1, mean=(0.5,) * 3, std=(0.25,) * 3)


def listed(folder: Path, *, images: bool = False) -> tuple[list[str], str]:
    """Names of the clips, and the one warning, which is empty where there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names = [source.name for source in find_clips(folder, images=images)]
    assert len(caught) <= 1 and all(issubclass(each.category, InputWarning) for each in caught)
    return names, "".join(str(each.message) for each in caught)


KINDS = {
    "mpeg.mpg": "mpeg2video", "dvd.VOB": "mpeg2video", "wmv.WMV": "wmv2", "ts.ts": "mpeg2video", "cam.MTS": "libx264",
    "blu.m2ts": "libx264", "flash.flv": "flv", "phone.3gp": "mpeg4", "ogv.ogv": "libtheora", "qt.MOV": "mpeg4",
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_video_file_is_read(tmp_path, name):
    import av

    if KINDS[name] not in av.codecs_available:
        pytest.skip("no encoder")
    frames = numbered(12, 48, 64)
    write(tmp_path / "clip" / name if (tmp_path / "clip").mkdir() else tmp_path / "clip" / name, frames, KINDS[name])
    clips = read_clips(tmp_path, SMALL)
    assert clips.names == (f"clip/{name}",) and numbers(clips.video[0]) == [0, 2, 4, 6]


@pytest.mark.parametrize(
    "pattern",
    ["{:05d}.bmp", "{}.TIF", "{:03d}.ppm", "f{}.webp", "{:05d}_rgb.png", "img_{}_left.png", "2024-{:02d}-s.png"],
)
def test_every_kind_of_frame_is_read_wherever_its_number_stands(tmp_path, pattern):
    write_frames(tmp_path / "c", numbered(12), pattern)
    names, words = listed(tmp_path)
    assert names == ["c"] and not words
    assert numbers(read_clips(tmp_path, SMALL).video[0]) == [0, 2, 4, 6]


def test_what_is_left_out_is_named_in_one_warning(tmp_path):
    write(tmp_path / "a.mp4", numbered(8))
    write_frames(tmp_path / "clip", numbered(8))
    Image.fromarray(numbered(1)[0]).save(tmp_path / "clip" / "cover.png")
    write_frames(tmp_path / "words", numbered(3)[:1], "one.png")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".hidden.mp4").write_bytes(b"")
    (tmp_path / "photo.heic").write_bytes(b"x")
    (tmp_path / "code.ts").write_text("export const x = 1\n")
    Image.fromarray(numbered(1)[0]).save(tmp_path / "beside.JPG")
    (tmp_path / "notes.txt").write_text("text")
    names, words = listed(tmp_path)
    assert names == ["a.mp4", "clip"]
    for word in ("clip/cover.png", "words/one.png", "gone.mp4", "2 links to nothing", ".hidden.mp4", "photo.heic",
                 "code.ts", "beside.JPG"):  # fmt: skip
        assert word in words
    assert "notes.txt" not in words and len(words.splitlines()) == 1


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["00000.png", "00001.png", "00003.png", "00004.png"], "2 missing"),
        (["0.png", "10.png", "20.png", "50.png", "60.png"], "30 to 40 missing"),
        (["00001.png", "00002.png", "2.png", "00003.png"], "2 more than once"),
        (["00000.png", "00001.png", "00003.png", "3.png", "00004.png"], "2 missing; 3 more than once"),
        (["0.png", "5.png", "10.png", "15.png"], ""),
    ],
)
def test_gaps_and_doubles_in_frame_numbers_are_named(tmp_path, files, words):
    (tmp_path / "c").mkdir()
    for name in files:
        Image.fromarray(numbered(1)[0]).save(tmp_path / "c" / name)
    names, said = listed(tmp_path)
    assert names == ["c"] and (f"c ({words})" in said if words else not said)


def test_a_second_link_to_a_folder_is_named_and_the_name_without_a_link_stays(tmp_path):
    write(tmp_path / "root" / "z" / "a.mp4" if (tmp_path / "root" / "z").mkdir(parents=True) else
          tmp_path / "root" / "z" / "a.mp4", numbered(8))  # fmt: skip
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "b.mp4", numbered(8))
    (tmp_path / "root" / "a_link").symlink_to(tmp_path / "root" / "z")
    (tmp_path / "root" / "other").symlink_to(tmp_path / "elsewhere")
    names, words = listed(tmp_path / "root")
    assert names == ["other/b.mp4", "z/a.mp4"]
    assert "1 links to folders that are listed already, left out: a_link" in words


@pytest.mark.parametrize(
    "junk", [".thumbnails", "@eaDir", "__MACOSX", "$RECYCLE.BIN", ".Trash-1000", "lost+found", "Thumbs", "#recycle"]
)
def test_thumbnails_and_recycle_bins_hold_no_clips(tmp_path, junk):
    write(tmp_path / "a.mp4", numbered(8))
    write_frames(tmp_path / junk / "a.mp4", numbered(4), "SHOT_{}.jpg")
    names, words = listed(tmp_path)
    assert names == ["a.mp4"] and junk in words


@pytest.mark.parametrize(
    ("pictures", "answers"),
    [("JPEGImages", "Annotations"), ("JPEGImages", "Annotations_unsupervised"), ("JPEGImages", "SegmentationClass"),
     ("frames", "masks")],
)  # fmt: skip
def test_masks_beside_their_pictures_are_no_clips(tmp_path, pictures, answers):
    for folder in (pictures, answers):
        write_frames(tmp_path / folder / "480p" / "bear", numbered(8))
    names, words = listed(tmp_path)
    assert names == [f"{pictures}/480p/bear"]
    assert answers in words or answers == "masks"


def test_a_folder_of_annotations_alone_is_a_clip_like_any_other(tmp_path):
    write_frames(tmp_path / "Annotations" / "x", numbered(8))
    assert listed(tmp_path)[0] == ["Annotations/x"]


def test_images_are_clips_of_one_frame_for_a_network_that_takes_one(tmp_path):
    for name in ("cat", "dog"):
        write_frames(tmp_path / name, numbered(3), f"{name}_{{}}.png")
    Image.fromarray(numbered(8)[7]).save(tmp_path / "dog" / "any name.bmp")
    clips = read_clips(tmp_path, STILL, classes=("dog", "cat"))
    assert clips.names == ("cat/cat_0.png", "cat/cat_1.png", "cat/cat_2.png", "dog/any name.bmp", "dog/dog_0.png",
                           "dog/dog_1.png", "dog/dog_2.png")  # fmt: skip
    assert clips.labels.tolist() == [1, 1, 1, 0, 0, 0, 0] and clips.video.shape == (7, 1, 24, 48, 3)
    assert [numbers(clip)[0] for clip in clips.video] == [0, 1, 2, 7, 0, 1, 2]
    assert numbers(read_clips(tmp_path / "cat" / "cat_2.png", STILL).video[0]) == [2]
    assert [s.name for s in find_clips(tmp_path / "cat")] == ["cat"]  # for a network of many frames: one clip


def test_images_of_one_frame_keep_their_masks(tmp_path):
    write_frames(tmp_path / "c" / "frames", numbered(2))
    write_frames(tmp_path / "c" / "masks", np.full((2, 48, 64), 255, np.uint8))
    clips = read_clips(tmp_path, STILL)
    assert len(clips) == 2 and clips.masks["target"].all()


def test_names_that_are_no_utf8_are_read_and_can_be_printed(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    write(tmp_path / "x.mp4", numbered(8)).rename(Path(folder) / os.fsdecode(b"\xff.mp4"))
    write_frames(Path(folder) / os.fsdecode(b"\xfe"), numbered(8))
    clips = read_clips(tmp_path, SMALL)
    assert sorted(clips.names) == ["caf\\xe9/\\xfe", "caf\\xe9/\\xff.mp4"]
    assert all(name.encode("utf-8") for name in clips.names)


def test_40000_names_are_listed_in_seconds(tmp_path):
    """Names were once compared each with each, which takes minutes for so many."""
    for i in range(4000):
        os.close(os.open(tmp_path / f"{i}.mp4", os.O_CREAT | os.O_WRONLY))
    begun = time.monotonic()
    assert [source.name for source in find_clips(tmp_path)] == [f"{i}.mp4" for i in range(4000)]
    names = [f"clip {i}" for i in range(40_000)]
    assert len(Clips.make(np.zeros((len(names), 1, 1, 1, 3), np.uint8), names)) == 40_000
    sources = [Source(name, tmp_path / name, ("top",)) for name in names[:4000]]
    labels = {name: str(i % 400) for i, name in enumerate(names[:4000])}
    classes = [f"class {i}" for i in range(400)]
    assert class_indices(sources, classes, labels) == [i % 400 for i in range(4000)]
    assert time.monotonic() - begun < 15


def test_no_clips_says_what_is_there(tmp_path):
    write_frames(tmp_path / "words", numbered(1), "one.png")
    with pytest.raises(InputError, match=r"no clips in it; .*words/one\.png"):
        find_clips(tmp_path)
