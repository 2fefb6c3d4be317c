"""Folders become clips: which ones, under what names, with which labels and masks, the same every time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.video.videos import numbered, numbers, write, write_audio, write_frames
from vtcd_jax.base.errors import InputError
from vtcd_jax.data import Clips, Sampling, find_clips, read_clips
from vtcd_jax.data.clips import content_hash
from vtcd_jax.models import Preprocessing

SMALL = Preprocessing(num_frames=4, height=24, width=48, stride=2, mean=(0.5,) * 3, std=(0.25,) * 3)
CLASSES = ("Rolling something on a flat surface", "Dropping something", "Staying still")


def random_clips(count: int = 3) -> Clips:
    video = np.random.default_rng(0).integers(0, 256, (count, 2, 4, 6, 3), dtype=np.uint8)
    mask = np.arange(count * 48).reshape(count, 2, 4, 6) % 3 == 0
    return Clips.make(video, [f"clip {i}" for i in range(count)], labels=range(count), masks={"target": mask})


# ---- Clips -------------------------------------------------------------------------------------------------------


def test_indexing_keeps_everything_that_belongs_to_a_clip():
    clips = random_clips()
    for chosen in (clips[[2, 0]], clips[np.array([2, 0])], clips[np.array([True, False, True])][::-1]):
        np.testing.assert_array_equal(chosen.video, clips.video[[2, 0]])
        np.testing.assert_array_equal(chosen.masks["target"], clips.masks["target"][[2, 0]])
        assert (chosen.names, chosen.labels.tolist()) == (("clip 2", "clip 0"), [2, 0])
        assert chosen.hashes == (clips.hashes[2], clips.hashes[0])
    assert len(clips[1]) == 1 and clips[1].names == ("clip 1",)
    with pytest.raises(IndexError):
        clips[3]


def test_the_hash_is_of_the_pixels_alone():
    clips = random_clips()
    renamed = Clips.make(clips.video[::-1], ["x", "y", "z"])
    assert renamed.hashes == clips.hashes[::-1]
    changed = clips.video[0].copy()
    changed[0, 0, 0, 0] ^= 1
    assert content_hash(changed) != clips.hashes[0]
    assert content_hash(changed.reshape(2, 6, 4, 3)) != content_hash(changed)


def test_unknown_labels_are_minus_one():
    clips = Clips.make(random_clips().video, ["a", "b", "c"])
    assert clips.labels.dtype == np.int32 and clips.labels.tolist() == [-1, -1, -1]
    assert clips.masks == {} and clips.query is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"video": np.zeros((3, 2, 4, 6, 3), np.float32)}, "uint8"),
        ({"video": np.zeros((3, 2, 4, 6), np.uint8)}, "uint8"),
        ({"names": ["a", "b"]}, "3 clips but 2 names"),
        ({"names": ["a", "b", "a"]}, "share a name: a"),
        ({"labels": [0, 1]}, "labels"),
        ({"masks": {"target": np.zeros((3, 2, 4, 5), bool)}}, "'target'"),
        ({"query": np.zeros((3, 2, 4, 5))}, "'query'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, words):
    good = {"video": random_clips().video, "names": ["a", "b", "c"]}
    with pytest.raises(InputError, match=words):
        Clips.make(**(good | change))


# ---- which clips a folder holds ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """clips/ with two videos, two folders of frames, a video with masks beside it, and things that are no clips."""
    clips = tmp_path / "clips"
    write_frames(clips / "car" / "frames", numbered(8))
    write_frames(clips / "car" / "masks", numbered(8)[:, :, :, 0])
    write_frames(clips / "dog", numbered(10), "frame_{}.png")
    write(clips / "x10.mp4", numbered(8))
    write(clips / "x2.mp4", numbered(8))
    (clips / "duck").mkdir()
    write(clips / "duck" / "duck.MP4", numbered(8))
    Image.fromarray(numbered(1)[0]).save(clips / "duck" / "mask_00015.png")
    Image.fromarray(numbered(1)[0]).save(clips / "duck" / "mask_00016.png")
    (clips / "README.md").write_text("about")
    (clips / ".hidden.mp4").write_text("no")
    (clips / "empty").mkdir()
    return clips


ALL = ["car", "dog", "duck/duck.MP4", "x2.mp4", "x10.mp4"]


def test_a_folder_is_searched(folder):
    sources = find_clips(folder)
    assert [s.name for s in sources] == ALL
    assert [len(s.frames) for s in sources] == [8, 10, 0, 0, 0]
    assert [f.stem for f in sources[1].frames] == [f"frame_{i}" for i in range(10)]
    assert sources[0].masks == folder / "car" / "masks" and sources[1].masks is None


def test_frames_are_in_order_of_their_numbers(tmp_path):
    write_frames(tmp_path / "clip", numbered(12), "f{}.png", start=1)
    clips = read_clips(tmp_path, SMALL, sampling=Sampling(kind="uniform"))
    assert clips.names == ("clip",)
    assert numbers(clips.video[0]) == [1, 4, 7, 10]
    assert find_clips(tmp_path / "clip")[0].name == "clip"


def test_files_folders_and_lists(folder):
    assert [s.name for s in find_clips(folder / "x2.mp4")] == ["x2.mp4"]
    assert [s.name for s in find_clips(str(folder / "dog"))] == ["dog"]
    assert [s.name for s in find_clips(folder / "car")] == ["car"]
    assert [s.name for s in find_clips([folder / "duck", folder / "x2.mp4"])] == ["duck.MP4", "x2.mp4"]


def test_equal_names_from_two_folders_are_told_apart(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "x.mp4", numbered(8))
    names = [s.name for s in find_clips([tmp_path / "a", tmp_path / "b"])]
    assert names == [(tmp_path / n / "x.mp4").as_posix() for n in ("a", "b")]
    with pytest.raises(InputError, match="twice"):
        find_clips([tmp_path / "a", tmp_path / "a"])


def test_a_link_back_up_ends(tmp_path):
    write(tmp_path / "x.mp4", numbered(8))
    os.symlink(tmp_path, tmp_path / "again", target_is_directory=True)
    assert [s.name for s in find_clips(tmp_path)] == ["x.mp4"]


def test_what_is_no_clip(tmp_path, folder):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none: no clips in it; expected videos"):
        find_clips(tmp_path / "none")
    with pytest.raises(InputError, match="missing: no such file or folder"):
        find_clips(tmp_path / "missing")
    with pytest.raises(InputError, match="single image"):
        find_clips(folder / "duck" / "mask_00015.png")
    with pytest.raises(InputError, match="list of paths is empty"):
        find_clips([])
    write_frames(folder / "dog", numbered(3), "depth_{}.png")
    with pytest.raises(InputError, match=r"dog: holds several series of frames \(depth_\*.png, frame_\*.png\)"):
        find_clips(folder)


# ---- reading -----------------------------------------------------------------------------------------------------


def test_clips_are_read_at_the_size_of_the_model(folder):
    progress = []
    clips = read_clips(folder, SMALL, on_clip=lambda done, of: progress.append((done, of)))
    assert clips.video.shape == (5, 4, 24, 48, 3) and clips.video.dtype == np.uint8
    assert list(clips.names) == ALL and clips.labels.tolist() == [-1] * 5
    assert progress == [(i + 1, 5) for i in range(5)]
    for clip in clips.video:
        assert numbers(clip) == [0, 2, 4, 6]  # the stride of the model
    assert numbers(read_clips(folder, SMALL, sampling=Sampling(stride=1)).video[3]) == [0, 1, 2, 3]


def test_reading_twice_gives_the_same_and_company_changes_nothing(folder):
    clips, again = read_clips(folder, SMALL), read_clips(folder, SMALL)
    np.testing.assert_array_equal(clips.video, again.video)
    alone = read_clips(folder / "x10.mp4", SMALL)
    assert alone.hashes[0] == clips.hashes[4]


def test_antialiasing_is_an_option(folder):
    plain = read_clips(folder / "dog", SMALL, sampling=Sampling(antialias=False))
    frame = numbered(1)[0].astype(np.float32)  # 48 x 64 -> 24 x 48: rows are means of two, columns are blends
    rows = (frame[::2] + frame[1::2]) / 2
    place = (np.arange(48) + 0.5) * 64 / 48 - 0.5
    low = np.floor(place).astype(int).clip(0)
    weight = (place - low).clip(0)[:, None]
    wanted = rows[:, low] * (1 - weight) + rows[:, np.minimum(low + 1, 63)] * weight
    np.testing.assert_allclose(plain.video[0, 0], wanted, atol=0.51)


def test_masks_come_along_where_every_clip_has_them(folder):
    assert read_clips(folder, SMALL).masks == {}
    clips = read_clips(folder / "car", SMALL)
    assert clips.masks["target"].shape == (1, 4, 24, 48) and clips.masks["target"].dtype == bool
    (folder / "car" / "masks" / "00004.png").unlink()
    assert read_clips(folder / "car", SMALL).masks == {}


def test_a_mask_is_where_the_picture_is_not_black(tmp_path):
    write_frames(tmp_path / "c" / "frames", numbered(8))
    mask = np.zeros((8, 48, 64), np.uint8)
    for i in range(8):
        mask[i, 4 * i :, 32:] = 1  # palette images hold small numbers
    write_frames(tmp_path / "c" / "masks", mask)
    got = read_clips(tmp_path, SMALL).masks["target"][0]
    rows, columns = np.arange(24) * 2 + 1, ((np.arange(48) + 0.5) * 64 / 48).astype(int)
    np.testing.assert_array_equal(got, mask[::2][:, rows][:, :, columns] > 0)


def test_frames_are_turned_by_their_exif_orientation(tmp_path):
    frames = numbered(8)
    for i, frame in enumerate(frames):
        image = Image.fromarray(frame)
        exif = image.getexif()
        exif[0x0112] = 6  # shown a quarter turn clockwise
        (tmp_path / "c").mkdir(exist_ok=True)
        image.save(tmp_path / "c" / f"{i}.png", exif=exif)
    tall = Preprocessing(num_frames=4, height=64, width=48, stride=2, mean=(0.5,) * 3, std=(0.25,) * 3)
    np.testing.assert_array_equal(read_clips(tmp_path, tall).video[0, 1], np.rot90(frames[2], -1))


def test_short_folders_of_frames(tmp_path):
    write_frames(tmp_path / "c", numbered(6))
    with pytest.raises(InputError, match="c: too short, it has 6 frames and 4 frames at stride 2 need 7"):
        read_clips(tmp_path, SMALL)
    repeated = read_clips(tmp_path, SMALL, sampling=Sampling(short="repeat-last"))
    assert numbers(repeated.video[0]) == [0, 2, 4, 5]


def test_all_bad_clips_are_named_at_once(folder):
    (folder / "text.mp4").write_text("hello")
    write_audio(folder / "sound.mp4")
    write(folder / "short.mp4", numbered(5))
    (folder / "dog" / "frame_4.png").write_bytes(b"broken")
    with pytest.raises(InputError) as error:
        read_clips(folder, SMALL)
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    for line, words in zip(lines, ("frame_4.png", "short.mp4", "sound.mp4", "text.mp4"), strict=True):
        assert words in line


def test_every_bad_clip_is_named_and_equal_reasons_share_a_line(tmp_path):
    for i in range(30):
        (tmp_path / f"{i}.mp4").write_text("no")
    write(tmp_path / "short.mp4", numbered(3))
    with pytest.raises(InputError) as error:
        read_clips(tmp_path, SMALL)
    first, second = str(error.value).splitlines()
    assert first.startswith("30 clips, not a video that can be read") and "short.mp4: too short" in second
    assert all(str(tmp_path / f"{i}.mp4") in first for i in range(30))


# ---- labels ------------------------------------------------------------------------------------------------------


@pytest.fixture
def by_class(tmp_path: Path) -> Path:
    for name in ("Dropping something", "Rolling_something_on_a_flat_surface", "other"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        write(tmp_path / "clips" / name / "1.mp4", numbered(8))
    write_frames(tmp_path / "clips" / "Staying still" / "car" / "frames", numbered(8))
    return tmp_path / "clips"


def test_a_folder_called_like_a_class_labels_its_clips(by_class):
    clips = read_clips(by_class, SMALL, classes=CLASSES)
    assert dict(zip(clips.names, clips.labels.tolist(), strict=True)) == {
        "Dropping something/1.mp4": 1,
        "Rolling_something_on_a_flat_surface/1.mp4": 0,
        "Staying still/car": 2,
        "other/1.mp4": -1,
    }
    assert read_clips(by_class / "Dropping something", SMALL, classes=CLASSES).labels.tolist() == [1]
    assert read_clips(by_class / "Dropping something" / "1.mp4", SMALL, classes=CLASSES).labels.tolist() == [1]
    assert read_clips(by_class, SMALL).labels.tolist() == [-1] * 4


def test_labels_from_a_file(folder, tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"x2.mp4": "Staying still", "duck": "Rolling [something] on a flat surface",
                                "car": "dropping something", "elsewhere.mp4": "Dropping something"}))  # fmt: skip
    clips = read_clips(folder, SMALL, labels=path, classes=CLASSES)
    assert clips.labels.tolist() == [1, -1, 0, 2, -1]
    mapping = read_clips(folder, SMALL, labels=json.loads(path.read_text()), classes=CLASSES)
    assert mapping.labels.tolist() == clips.labels.tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"x2.mp4": "Dropping sth"}', r"labels\.json: x2\.mp4: unknown class 'Dropping sth'; nearest: 'Dropping som"),
        ('{"y.mp4": "Staying still"}', "names none of the 5 clips"),
        ('{"x2.mp4": 3}', "x2.mp4: class 3 is outside the model's 3 classes"),
        ('{"x2.mp4": 1.5}', "one JSON object"),
        ("[1, 2", "not a JSON file"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_used(folder, tmp_path, text, words):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_clips(folder, SMALL, labels=tmp_path / "labels.json", classes=CLASSES)
    with pytest.raises(InputError, match="no such file"):
        read_clips(folder, SMALL, labels=tmp_path / "none.json", classes=CLASSES)


def test_labels_need_classes(folder):
    with pytest.raises(InputError, match="no classes"):
        read_clips(folder, SMALL, labels={"x2.mp4": "Staying still"})


# ---- real clips --------------------------------------------------------------------------------------------------


def test_the_four_real_clips(shared):
    sized = Preprocessing(num_frames=16, height=224, width=224, stride=2, mean=(0.5,) * 3, std=(0.25,) * 3)
    clips = read_clips(shared / "data" / "clips", sized)
    assert clips.names == (
        "davis_car_shadow", "juggle_640x360.mp4", "teaduck2/teaduck2.mp4", "water_bottle_drumming.mp4"
    )  # fmt: skip
    assert clips.video.shape == (4, 16, 224, 224, 3)
    assert (clips.video.reshape(4, -1).std(1) > 20).all()
    car = read_clips(shared / "data" / "clips" / "davis_car_shadow", sized).masks["target"][0]
    area = car.mean((1, 2))
    assert area.min() > 0.02 and area.max() < 0.12 and area[0] > area[-1]
