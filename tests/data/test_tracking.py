"""Questions and answers of tracking: query masks from images, and truth through occlusion."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from vtcd_jax import world
from vtcd_jax.data import Clips, tracking
from vtcd_jax.data.inputs import check_query, clip_inputs, seen_clips
from vtcd_jax.data.query import with_query
from vtcd_jax.models import InputError, build
from vtcd_jax.models.families import tcow, timesformer

LABEL = {name: i for i, name in enumerate(world.CLASSES)}


def truth_of(clip):
    return tracking.tracked(clip.target, clip.target_whole, clip.occluder | clip.container, clip.contained)


def test_the_target_counts_where_it_is_hidden_and_what_hides_it_is_named():
    clip = world.sample(3, LABEL["Passing behind something"])
    truth, occlusion = truth_of(clip)
    hidden = np.asarray(occlusion >= 1)
    assert hidden.any() and not hidden.all()
    np.testing.assert_array_equal(truth[..., 0], clip.target_whole)
    assert truth[hidden, ..., 1].any((1, 2)).all() and not truth[np.asarray(occlusion < 0.95), ..., 1].any()
    assert not truth[..., 2].any()  # nothing contains it


def test_a_container_is_named_while_it_holds_the_target():
    for name in ("Dropping something into something", "Covering something and carrying it along"):
        clip = world.sample(5, LABEL[name])
        truth, _ = truth_of(clip)
        held = np.any(truth[..., 2], axis=(1, 2))
        assert not held[0] and held[-1]
        np.testing.assert_array_equal(truth[held][..., 2], clip.container[held])


def test_the_query_shows_the_whole_target_in_the_first_frame_alone():
    clips = world.clips(14, seed=2)
    np.testing.assert_array_equal(clips.query[:, 0], clips.masks["target_whole"][:, 0])
    assert clips.query[:, 0].any((1, 2)).all() and not clips.query[:, 1:].any()


def test_overlap_by_frame_is_unknown_where_there_is_no_truth():
    truth, found = np.zeros((2, 1, 3, 2, 2), bool)
    truth[0, :2] = found[0, 0, 0] = True
    np.testing.assert_array_equal(tracking.mask_iou(found, truth), [[0.5, 0.0, np.nan]])


def plain(count: int = 1, **fields) -> Clips:
    video = np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16, 3), dtype=np.uint8)
    return Clips.make(video, [f"folder/clip{i}.mp4" for i in range(count)], **fields)


def paint(path, size=(32, 32), box=(8, 8, 16, 16)):
    image = Image.new("RGB", size)
    image.paste((0, 200, 0), box)
    image.save(path)


def test_an_image_marks_the_object_at_the_clips_size(tmp_path):
    paint(tmp_path / "duck.png")
    clips = with_query(plain(), tmp_path / "duck.png")
    expected = np.zeros((16, 16), bool)
    expected[4:8, 4:8] = True
    np.testing.assert_array_equal(clips.query[0, 0], expected)
    assert not clips.query[0, 1:].any()


def test_a_folder_holds_an_image_for_every_clip(tmp_path):
    paint(tmp_path / "clip0.png")
    with pytest.raises(InputError, match=r"clip1\.png: is missing"):
        with_query(plain(2), tmp_path)
    paint(tmp_path / "clip1.png", box=(0, 0, 4, 4))
    assert with_query(plain(2), tmp_path).query[:, 0].sum((1, 2)).tolist() == [16, 4]


def named(*names: str) -> Clips:
    video = np.random.default_rng(0).integers(0, 256, (len(names), 3, 16, 16, 3), np.uint8)
    return Clips.make(video, names)


def test_images_lie_in_folders_like_the_clips(tmp_path):
    for place, box in (("cat/001.png", (0, 0, 8, 8)), ("dog/001.png", (0, 0, 4, 4)), ("001.png", (0, 0, 16, 16))):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        paint(tmp_path / place, box=box)
    clips = named("cat/001.mp4", "dog/001.mp4", "001.mp4")
    assert with_query(clips, tmp_path).query.sum((1, 2, 3)).tolist() == [16, 4, 64]


def test_an_image_that_fits_two_clips_is_refused(tmp_path):
    paint(tmp_path / "001.png")
    assert with_query(named("cat/001.mp4", "002.mp4")[[0]], tmp_path).query.any()  # its file name will do
    for names in (("cat/001.mp4", "dog/001.mp4"), ("001.mp4", "001.avi"), ("cat/001.mp4", "001.mp4")):
        with pytest.raises(
            InputError, match=rf"001\.png: fits two clips, {names[0]} and {names[1]}; give each its own"
        ):
            with_query(named(*names), tmp_path)
    for name in ("001.mp4", "001.avi"):
        paint(tmp_path / f"{name}.png")
    assert with_query(named("001.mp4", "001.avi"), tmp_path).query.any((1, 2, 3)).all()


def test_another_query_is_another_clip():
    """The hash names a clip in all that is kept; the pixels' alone says on which side of a split it lies."""
    one, other = np.zeros((2, 2, 3, 16, 16), bool)
    one[:, 0, :4], other[:, 0, 4:8] = True, True
    clips = plain(2)
    asked = [dataclasses.replace(clips, query=query) for query in (one, one.astype(np.float32), other)]
    assert asked[0].hashes == asked[1].hashes and not set(asked[0].hashes) & set(asked[2].hashes)
    assert clips.hashes == clips.pixel_hashes == asked[2].pixel_hashes and asked[0][[1]].hashes == asked[0].hashes[1:]


def test_a_network_that_follows_no_query_sees_clips_without_one():
    """So what is kept of them, and the draws about them, do not depend on a mask that changes nothing."""
    clips = plain(query=np.ones((1, 3, 16, 16), bool))
    sizes = {"patch_size": 8, "num_frames": 3, "width": 8, "depth": 1, "num_heads": 1}
    tracker = build(tcow.TCOWConfig(image_height=16, image_width=16, **sizes))
    classifier = build(timesformer.TimeSformerConfig(image_size=16, num_classes=2, **sizes))
    assert seen_clips(tracker, clips).hashes == clips.hashes != clips.pixel_hashes
    assert seen_clips(classifier, clips).hashes == clips.pixel_hashes


def test_without_an_image_the_first_true_mask_is_the_query():
    mask = np.zeros((1, 3, 16, 16), bool)
    mask[0, :, 2:5, 2:5] = True
    assert with_query(plain(masks={"target": mask}), None).query.sum() == 9
    assert with_query(plain(), None).query is None


@pytest.mark.parametrize("fault", ["missing", "empty", "two clips"])
def test_useless_queries_are_refused_by_name(tmp_path, fault):
    path = tmp_path / "query.png"
    if fault != "missing":
        paint(path, box=(0, 0, 0, 0) if fault == "empty" else (0, 0, 8, 8))
    with pytest.raises(InputError, match=r"query\.png: "):
        with_query(plain(2 if fault == "two clips" else 1), path)


def test_a_tracker_without_a_query_is_refused_and_with_one_gets_it():
    model = build(
        tcow.TCOWConfig(image_height=16, image_width=16, patch_size=8, num_frames=3, width=8, depth=1, num_heads=1)
    )
    with pytest.raises(InputError, match="--query"):
        check_query(model, plain())
    query = np.zeros((1, 3, 16, 16), bool)
    with pytest.raises(InputError, match="clip0.mp4: its query mask is empty"):
        check_query(model, plain(query=query))
    query[0, 0, 3] = True
    check_query(model, plain(query=query))
    np.testing.assert_array_equal(clip_inputs(model, plain(query=query), 0).query, query.astype(np.float32))
