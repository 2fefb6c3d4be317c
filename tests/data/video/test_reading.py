"""Video files become the right frames, the right way up, in the right colours, or a clear refusal."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.data.video.videos import numbered, numbers, set_matrix, write, write_audio
from vtcd_jax.base.errors import InputError
from vtcd_jax.data import Sampling, write_video
from vtcd_jax.data.encode import encode_video
from vtcd_jax.data.resize import resize, resize_mask
from vtcd_jax.data.sampling import uniform_indices
from vtcd_jax.data.video.containers import cut_short
from vtcd_jax.data.video.reading import sample_video

FORMATS = {
    "h264.mp4": ("libx264", "yuv420p"),
    "h264_444.mp4": ("libx264", "yuv444p"),
    "h264.mkv": ("libx264", "yuv420p"),
    "mpeg4.mov": ("mpeg4", "yuv420p"),
    "vp8.webm": ("libvpx", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "yuv420p"),
    "mjpeg.avi": ("mjpeg", "yuvj420p"),
    "mpeg4.avi": ("mpeg4", "yuv420p"),
    "animated.gif": ("gif", "rgb8"),
}


def sample(
    path: Path, sampling: Sampling | None = None, num_frames: int = 5, stride: int = 1, convert=np.asarray
) -> np.ndarray:
    return sample_video(path, sampling or Sampling(), num_frames=num_frames, stride=stride, convert=convert)


UNIFORM = Sampling(kind="uniform")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_frames(tmp_path, name):
    path = write(tmp_path / name, numbered(24), *FORMATS[name])
    first = sample(path, num_frames=6, stride=3)
    assert numbers(first) == [0, 3, 6, 9, 12, 15]
    assert numbers(sample(path, UNIFORM, num_frames=6)) == [2, 6, 10, 14, 18, 22]
    assert np.abs(first[0, 4, 30].astype(int) - (200, 30, 30)).max() <= 40  # red comes first: RGB, not BGR


@pytest.mark.parametrize("size", [(35, 51), (49, 33)])
def test_odd_sizes(tmp_path, size):
    clip = sample(write(tmp_path / "odd.mp4", numbered(8, *size), pixels="yuv444p"))
    assert clip.shape == (5, *size, 3)
    assert numbers(clip) == [0, 1, 2, 3, 4]


def test_variable_frame_rate_is_counted_in_frames(tmp_path):
    times = [*range(6), *range(20, 20 + 12 * 5, 5), *range(300, 306)]
    path = write(tmp_path / "vfr.mp4", numbered(24), times=times)
    with av.open(str(path)) as container:
        stamps = [frame.pts or 0 for frame in container.decode(video=0)]
    assert len(set(np.diff(stamps))) > 1
    assert numbers(sample(path, num_frames=5, stride=2)) == [0, 2, 4, 6, 8]
    assert numbers(sample(path, UNIFORM, num_frames=4)) == [3, 9, 15, 21]


def test_gif_with_uneven_delays(tmp_path):
    pictures = [Image.fromarray(frame) for frame in numbered(12)]
    delays = [20, 500, 20, 70, 30, 900, 20, 20, 20, 40, 50, 60]
    pictures[0].save(tmp_path / "x.gif", save_all=True, append_images=pictures[1:], duration=delays, loop=0)
    assert numbers(sample(tmp_path / "x.gif", num_frames=6, stride=2)) == [0, 2, 4, 6, 8, 10]
    assert numbers(sample(tmp_path / "x.gif", UNIFORM, num_frames=3)) == [2, 6, 10]


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1, -1, 0), lambda f: np.rot90(f, -1)),  # a telephone held upright: shown a quarter turn clockwise
        ((0, -1, 1, 0), lambda f: np.rot90(f, 1)),
        ((-1, 0, 0, -1), lambda f: np.rot90(f, 2)),
        ((-1, 0, 0, 1), lambda f: f[:, ::-1]),
        ((0, 1, 1, 0), lambda f: f.swapaxes(0, 1)),
        ((1, 0, 0, 1), lambda f: f),
    ],
)
def test_frames_come_upright(tmp_path, matrix, turned):
    path = write(tmp_path / "x.mp4", numbered(6))
    plain = sample(path)
    upright = sample(set_matrix(path, *matrix))
    np.testing.assert_array_equal(upright, np.stack([turned(f) for f in plain]))


def test_quarter_turn_agrees_with_pyav(tmp_path):
    """A clockwise quarter turn in the file is what FFmpeg calls a rotation of -90 degrees counter-clockwise."""
    path = set_matrix(write(tmp_path / "x.mp4", numbered(6)), 0, 1, -1, 0)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert frame.rotation == -90
    np.testing.assert_array_equal(sample(path)[0], np.rot90(frame.to_ndarray(format="rgb24"), -1))


def test_jumping_gives_the_frames_of_plain_decoding(tmp_path, monkeypatch):
    path = write(tmp_path / "x.mp4", numbered(60), gop=6)
    jumps = []
    with_jumps = sample(path, UNIFORM, num_frames=4)
    monkeypatch.setattr("vtcd_jax.data.video.reading.packet_times", lambda path: jumps.append(path))
    np.testing.assert_array_equal(with_jumps, sample(path, UNIFORM, num_frames=4))
    assert jumps == [path]
    assert numbers(with_jumps) == [7, 22, 37, 52]


def test_decoding_stops_after_the_last_frame_needed(tmp_path, monkeypatch):
    """Only sampled frames are converted, and a damaged end that is not needed does no harm."""
    path = write(tmp_path / "x.mp4", numbered(60), muxer={"movflags": "+faststart"}, encoder={"bf": "0"})
    data = bytearray(path.read_bytes())
    data[-400:] = bytes(400)
    path.write_bytes(data)
    converted = []
    clip = sample(path, num_frames=4, stride=2, convert=lambda f: converted.append(1) or f)
    assert numbers(clip) == [0, 2, 4, 6] and len(converted) == 4
    with pytest.raises(InputError, match="damaged"):
        sample(path, num_frames=60)


def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = []
    for count in (12, 60):
        path = write(tmp_path / f"{count}.mp4", numbered(count, 240, 320))
        tracemalloc.start()
        sample(path, UNIFORM, num_frames=4, convert=lambda f: resize(f, 16, 16))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000


@pytest.mark.parametrize(
    ("matrix", "tag"), [("ITU709", 1), ("ITU601", 5)]
)  # high-definition and standard-definition colour
def test_colour_matrix_of_the_file_is_followed(tmp_path, matrix, tag):
    from av.video.reformatter import Colorspace

    green = np.zeros((6, 32, 32, 3), np.uint8)
    green[...] = (20, 200, 40)
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=24)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "1"}
        stream.codec_context.colorspace = tag
        for frame in green:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=Colorspace[matrix])))
        container.mux(stream.encode())
    got = sample(tmp_path / "x.mp4")
    assert np.abs(got.astype(int) - green[:5]).max() <= 4


# ---- short clips -------------------------------------------------------------------------------------------------


def test_short_clips_are_refused_or_repeat_their_last_frame(tmp_path):
    path = write(tmp_path / "x.mp4", numbered(10))
    with pytest.raises(InputError, match=r"x\.mp4: too short, it has 10 frames and 6 frames at stride 2 need 11"):
        sample(path, num_frames=6, stride=2)
    assert numbers(sample(path, num_frames=5, stride=2)) == [0, 2, 4, 6, 8]
    repeat = Sampling(short="repeat-last")
    assert numbers(sample(path, repeat, num_frames=8, stride=2)) == [0, 2, 4, 6, 8, 9, 9, 9]
    with pytest.raises(InputError, match="repeat-last"):
        sample(path, UNIFORM, num_frames=12)
    repeat = Sampling(kind="uniform", short="repeat-last")
    assert numbers(sample(path, repeat, num_frames=12)) == [*range(10), 9, 9]


def test_one_frame_short_is_short(tmp_path):
    """The last frame may fill the last place only where that was asked for."""
    path = write(tmp_path / "x.mp4", numbered(10))
    with pytest.raises(InputError, match="too short"):
        sample(path, num_frames=4, stride=4)
    with pytest.raises(InputError, match="too short"):
        sample(path, num_frames=2, stride=10)


# ---- what is no usable video -------------------------------------------------------------------------------------


def refused(path: Path, *, words: str, num_frames: int = 5) -> None:
    for sampling in (Sampling(), UNIFORM, Sampling(short="repeat-last")):
        with pytest.raises(InputError, match=words) as error:
            sample(path, sampling, num_frames=num_frames)
        assert path.name in str(error.value) and len(str(error.value).splitlines()) == 1


def test_text_named_like_a_video(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("hello\n" * 100)
    refused(path, words="not a video")


def test_empty_file(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"")
    refused(tmp_path / "x.mp4", words="empty")


def test_sound_without_picture(tmp_path):
    refused(write_audio(tmp_path / "sound.mp4"), words="audio only")


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:5,\nsecret.mp4\n"])
def test_playlists_are_not_followed(tmp_path, text):
    write(tmp_path / "secret.mp4", numbered(12))
    (tmp_path / "list.mp4").write_text(text)
    refused(tmp_path / "list.mp4", words="not a video")


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "h264_444.mp4"])
def test_a_truncated_file_is_used_as_far_as_needed(tmp_path, name):
    """Frames before the cut are used; where more are needed, the clip is called cut short and not merely short."""
    rng = np.random.default_rng(0)
    frames = np.clip(numbered(40) + rng.integers(-30, 30, (40, 48, 64, 3)), 0, 255).astype(np.uint8)
    faststart = {"movflags": "+faststart"} if name.endswith(("mp4", "mov")) else {}
    path = write(tmp_path / name, frames, *FORMATS[name], muxer=faststart)
    assert not cut_short(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    assert cut_short(path)
    assert numbers(sample(path, num_frames=4)) == [0, 1, 2, 3]
    refused(path, words="cut short", num_frames=40)


def test_truncated_before_its_index(tmp_path):
    """Without its index, which lies at the end, nothing of an mp4 can be read."""
    path = write(tmp_path / "x.mp4", numbered(12))
    path.write_bytes(path.read_bytes()[:-600])
    refused(path, words="cut short")


def test_damage_in_the_middle(tmp_path):
    """A quarter of the file is noise, so that the lengths of whole packets are: no decoder can take that for video."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (30, 48, 64, 3), dtype=np.uint8)
    path = write(tmp_path / "x.mp4", frames, muxer={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    half, quarter = len(data) // 2, len(data) // 4
    data[half : half + quarter] = rng.bytes(quarter)
    path.write_bytes(data)
    refused(path, words="damaged after", num_frames=30)


def test_random_bytes_never_escape_as_another_error(tmp_path):
    """Whatever is flipped in a file, it is read or refused."""
    good = write(tmp_path / "x.mp4", numbered(12), muxer={"movflags": "+faststart"}).read_bytes()
    rng = np.random.default_rng(1)
    refusals = 0
    for i in range(60):
        data = bytearray(good)
        for place in rng.integers(0, len(data) if i % 2 else 200, 20):
            data[place] = rng.integers(256)
        (tmp_path / "bad.mp4").write_bytes(data)
        try:
            assert sample(tmp_path / "bad.mp4", num_frames=12).shape[0] == 12
        except InputError:
            refusals += 1
    assert refusals > 10


# ---- resize ------------------------------------------------------------------------------------------------------


def plain_bilinear(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """By the definition, pixel by pixel, in float64: pixel centres at half integers, edges repeated."""
    out = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            y = max((i + 0.5) * frame.shape[0] / height - 0.5, 0)
            x = max((j + 0.5) * frame.shape[1] / width - 0.5, 0)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, frame.shape[0] - 1), min(x0 + 1, frame.shape[1] - 1)
            top = frame[y0, x0] * (1 - (x - x0)) + frame[y0, x1] * (x - x0)
            bottom = frame[y1, x0] * (1 - (x - x0)) + frame[y1, x1] * (x - x0)
            out[i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return out


@pytest.mark.parametrize("size", [(16, 16), (60, 20), (23, 37), (24, 64)])
def test_resize_without_antialiasing_is_plain_bilinear(size):
    frame = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    got = resize(frame, *size, antialias=False)
    assert got.dtype == np.uint8
    assert np.abs(got - plain_bilinear(frame, *size)).max() <= 0.5 + 1e-3


def test_resize_without_antialiasing_is_that_of_torch():
    torch = pytest.importorskip("torch")
    frame = np.random.default_rng(0).integers(0, 256, (240, 427, 3), dtype=np.uint8)
    tensor = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    wanted = torch.nn.functional.interpolate(tensor, (224, 224), mode="bilinear", align_corners=False)
    got = resize(frame, 224, 224, antialias=False)
    exact = wanted[0].permute(1, 2, 0).numpy()
    assert np.abs(got - exact).max() <= 0.5 + 1e-3
    assert (got == np.rint(exact)).mean() > 0.9999


def test_resize_with_antialiasing_keeps_the_mean_of_a_fine_pattern():
    checks = np.indices((90, 90)).sum(0) % 2 * 255
    frame = np.repeat(checks[..., None], 3, -1).astype(np.uint8)
    smooth, rough = (resize(frame, 20, 20, antialias=a) for a in (True, False))
    assert np.abs(smooth.astype(float) - 127.5).max() < 20 < rough.std()


def test_resize_to_the_same_size_changes_nothing():
    frame = numbered(1)[0]
    for antialias in (True, False):
        np.testing.assert_array_equal(resize(frame, *frame.shape[:2], antialias=antialias), frame)


def test_mask_takes_the_nearest_pixel():
    mask = np.zeros((8, 8), bool)
    mask[2:6, 4:] = True
    np.testing.assert_array_equal(resize_mask(mask, 4, 4), mask[1::2, 1::2])
    np.testing.assert_array_equal(resize_mask(mask, 16, 16), mask.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("count", "frames"), [(16, 16), (100, 16), (17, 16), (3, 8), (7, 2)])
def test_uniform_indices_are_centres_of_equal_segments(count, frames):
    wanted = [int((i + 0.5) * count / frames) for i in range(frames)] if count >= frames else list(range(count))
    assert uniform_indices(count, frames) == wanted
    assert sorted(set(wanted)) == wanted


def test_options_are_checked():
    for wrong in ({"kind": "random"}, {"short": "skip"}, {"stride": 0}):
        with pytest.raises(InputError, match="sampling|short"):
            Sampling(**wrong)  # type: ignore[arg-type]


# ---- writing -----------------------------------------------------------------------------------------------------


def test_a_written_video_reads_back(tmp_path):
    frames = numbered(10, 48, 64)
    write_video(tmp_path / "x.mp4", frames, fps=8)
    with av.open(str(tmp_path / "x.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 8 and stream.codec_context.colorspace == 1
    data = (tmp_path / "x.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it is whole
    back = sample(tmp_path / "x.mp4", num_frames=10)
    assert np.abs(back.astype(float) - frames).mean() < 6
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]


def test_written_bytes_repeat_and_fit_a_buffer(tmp_path):
    frames = numbered(6)
    buffer = io.BytesIO()
    write_video(buffer, frames, 12.5)
    write_video(tmp_path / "x.mp4", frames, 12.5)
    assert buffer.getvalue() == (tmp_path / "x.mp4").read_bytes() == encode_video(frames, 12.5)


def test_writing_odd_sizes_repeats_an_edge(tmp_path):
    write_video(tmp_path / "x.mp4", numbered(5, 33, 47), 12)
    assert sample(tmp_path / "x.mp4").shape == (5, 34, 48, 3)


@pytest.mark.parametrize("frames", [np.zeros((2, 8, 8, 3)), np.zeros((0, 8, 8, 3), np.uint8)])
def test_what_is_no_video_is_not_written(tmp_path, frames):
    with pytest.raises(InputError, match="uint8"):
        write_video(tmp_path / "x.mp4", frames, 12)
    assert not list(tmp_path.iterdir())


def test_real_clips_jump_and_decode_alike(shared, monkeypatch):
    for name in ("juggle_640x360.mp4", "teaduck2/teaduck2.mp4", "water_bottle_drumming.mp4"):
        path = shared / "data" / "clips" / name
        with monkeypatch.context() as patch:
            jumped = sample(path, UNIFORM, num_frames=3)
            patch.setattr("vtcd_jax.data.video.reading.packet_times", lambda path: None)
            np.testing.assert_array_equal(jumped, sample(path, UNIFORM, num_frames=3))
