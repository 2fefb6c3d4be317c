"""Containers as they are met: cut out of others, with wrong lengths, several streams, far starts, high range."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.data.video.videos import numbered, numbers, write, write_frames
from vtcd_jax.base.errors import InputError
from vtcd_jax.data import InputWarning, Sampling, open_clips, read_clips
from vtcd_jax.data.notices import SkippedClips
from vtcd_jax.data.video.hdr import HLG, PQ, to_sdr
from vtcd_jax.data.video.reading import sample_video
from vtcd_jax.models import Preprocessing

UNIFORM = Sampling(kind="uniform")
SMALL = Preprocessing(num_frames=4, height=24, width=48, stride=2, mean=(0.5,) * 3, std=(0.25,) * 3)


def sample(path: Path, sampling: Sampling | None = None, num_frames: int = 5, stride: int = 1) -> np.ndarray:
    return sample_video(path, sampling or Sampling(), num_frames=num_frames, stride=stride, convert=np.asarray)


def cut(source: Path, target: Path, *, keyframe: int, leading: bool) -> Path:
    """Packets from the n-th keyframe on, with or without those that are shown before it; nothing is encoded again."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        keys, start = 0, 0
        for packet in read.demux(stream):
            if packet.pts is None or packet.dts is None:
                continue
            if packet.is_keyframe:
                keys += 1
                start = packet.pts if keys == keyframe else start
            if keys >= keyframe and (leading or packet.pts >= start):
                packet.stream = copy
                written.mux(packet)
    return target


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
@pytest.mark.parametrize("leading", [False, True])
@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_a_stream_cut_at_an_open_group_begins_with_its_keyframe(tmp_path, codec, leading, suffix):
    options = {
        "libx264": {"x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:ref=4"},
        "libx265": {"x265-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:log-level=none"},
        "mpeg2video": {"bf": "2", "g": "10"},
    }[codec]
    if codec not in av.codecs_available:
        pytest.skip("no encoder")
    source = write(tmp_path / f"whole.{suffix}", numbered(40, 96, 128), codec, gop=10, encoder=options)
    path = cut(source, tmp_path / f"cut.{suffix}", keyframe=2, leading=leading)
    first = numbers(sample(path, num_frames=8))
    assert first[0] > 5 and first == list(range(first[0], first[0] + 8))
    count = 40 - first[0]
    wanted = [first[0] + (2 * i + 1) * count // 10 for i in range(5)]
    assert numbers(sample(path, UNIFORM)) == wanted


def test_damage_after_an_open_group_is_still_refused(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.clip(numbered(40, 96, 128) + rng.integers(-60, 60, (40, 96, 128, 3)), 0, 255).astype(np.uint8)
    options = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:ref=4"}
    source = write(tmp_path / "whole.mkv", frames, gop=10, encoder=options)
    path = cut(source, tmp_path / "cut.mkv", keyframe=2, leading=False)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 3000] = rng.bytes(3000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cut\.mkv: "):
        sample(path, num_frames=28)


FORMATS = {"x.mp4": "libx264", "x.mkv": "libx264", "x.webm": "libvpx-vp9", "x.avi": "mjpeg", "x.gif": "gif",
           "x.ts": "libx264", "x.flv": "flv"}  # fmt: skip


def written(path: Path, count: int = 40) -> Path:
    codec = FORMATS[path.name]
    return write(path, numbered(count), codec, {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p"))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("extra", [b"camera-trailer " * 9, bytes(40), b"\xff" * 33])
def test_bytes_after_the_end_change_nothing(tmp_path, name, extra):
    path = written(tmp_path / name)
    before = [sample(path), sample(path, UNIFORM)]
    path.write_bytes(path.read_bytes() + extra)
    for got, wanted in zip([sample(path), sample(path, UNIFORM)], before, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert numbers(before[1]) == [4, 12, 20, 28, 36]


@pytest.mark.parametrize("more", [1, 2, 1000])
def test_a_wrong_outer_length_changes_nothing(tmp_path, more):
    riff = written(tmp_path / "x.avi")
    data = bytearray(riff.read_bytes())
    data[4:8] = (int.from_bytes(data[4:8], "little") + more).to_bytes(4, "little")
    riff.write_bytes(data)
    matroska = written(tmp_path / "x.mkv")
    data = bytearray(matroska.read_bytes())
    place = data.index(b"\x18\x53\x80\x67") + 4
    size = int.from_bytes(data[place + 1 : place + 8], "big") + more
    assert data[place] == 1  # eight bytes
    data[place + 1 : place + 8] = size.to_bytes(7, "big")
    matroska.write_bytes(data)
    gif = written(tmp_path / "x.gif")
    gif.write_bytes(gif.read_bytes()[:-1])
    for path in (riff, matroska, gif):
        assert numbers(sample(path, UNIFORM)) == [4, 12, 20, 28, 36]
        assert numbers(sample(path, num_frames=40)) == list(range(40))


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "x.mp4"])
def test_other_containers_under_a_familiar_suffix_are_read(tmp_path, name):
    path = written(tmp_path / name).rename(tmp_path / "named.mp4")
    assert numbers(sample(path)) == [0, 1, 2, 3, 4] and numbers(sample(path, UNIFORM)) == [4, 12, 20, 28, 36]


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [("x.mp4", b"FLV\x01" + bytes(300), "FLV inside .mp4"), ("x.mp4", (b"G" + bytes(187)) * 9, "MPEG-TS inside .mp4"),
     ("x.avi", b"OggS" + bytes(300), "Ogg inside .avi")],
)  # fmt: skip
def test_an_error_names_the_true_container_and_the_command(tmp_path, name, head, words):
    (tmp_path / name).write_bytes(head)
    with pytest.raises(InputError, match=rf"{words}: try `ffmpeg -i {name} -c copy out\.mp4`"):
        sample(tmp_path / name)


@pytest.mark.parametrize("default", [0, 1])
def test_the_default_stream_is_read_and_no_thumbnail(tmp_path, default):
    shown, other = numbered(12), 255 - numbered(12)
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for number in range(2):
            stream: Any = container.add_stream("libx264", rate=24)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.disposition = Disposition.default if number == default else Disposition(0)
            streams.append(stream)
        for i in range(12):
            for number, stream in enumerate(streams):
                frame = (shown if number == default else other)[i]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    assert numbers(sample(path)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x.webm", "x.ts", "x.avi"])
@pytest.mark.parametrize("start", [64, 101, 190])
def test_a_far_start_gives_the_frames_of_plain_decoding(tmp_path, name, start, monkeypatch):
    path = write(tmp_path / name, np.concatenate([numbered(60)] * 4), FORMATS[name],
                 "yuvj420p" if name == "x.avi" else "yuv420p", gop=12)  # fmt: skip
    jumped = sample(path, Sampling(start=start), num_frames=6, stride=3)
    assert numbers(jumped) == [(start + 3 * i) % 60 for i in range(6)]
    monkeypatch.setattr("vtcd_jax.data.video.reading.FAR", 10**9)
    np.testing.assert_array_equal(jumped, sample(path, Sampling(start=start), num_frames=6, stride=3))


def test_a_far_start_with_open_groups(tmp_path):
    options = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:ref=4"}
    path = write(tmp_path / "x.mp4", np.concatenate([numbered(60)] * 4), gop=10, encoder=options)
    for start in (64, 70, 71, 129, 130):
        assert numbers(sample(path, Sampling(start=start))) == [(start + i) % 60 for i in range(5)]


def test_a_far_start_decodes_little(tmp_path, monkeypatch):
    path = write(tmp_path / "x.mp4", np.concatenate([numbered(60)] * 8), gop=12)
    monkeypatch.setattr("vtcd_jax.data.video.reading.decode", lambda *_: pytest.fail("decoded from the start"))
    monkeypatch.setattr("vtcd_jax.data.video.seeking.packet_times", lambda *_: pytest.fail("read from the start"))
    for start in (70, 300, 440):
        assert numbers(sample(path, Sampling(start=start))) == [(start + i) % 60 for i in range(5)]


def test_a_start_behind_the_end_is_too_short(tmp_path):
    path = write(tmp_path / "x.mp4", numbered(30))
    with pytest.raises(InputError, match="too short, it has 30 frames"):
        sample(path, Sampling(start=100))


COLOURS = np.array([[220, 40, 40], [40, 200, 60], [128, 128, 128], [16, 16, 16], [240, 240, 240]])


def pq_signal(colours: np.ndarray) -> np.ndarray:
    """sRGB colours, white at 203 cd/m2, as PQ in BT.2020, by the definitions."""
    values = colours / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    power = (np.maximum(light @ to_2020.T, 0) * 203 / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def test_pq_becomes_the_colours_of_a_usual_screen():
    signal = np.rint(pq_signal(COLOURS) * 65535).astype(np.uint16)
    assert np.abs(to_sdr(signal, PQ, 9).astype(int) - COLOURS).max() <= 2


def test_hlg_white_of_75_percent_is_white():
    """ITU-R BT.2408: reference white is 75 % HLG, 203 cd/m2 on a screen of 1,000."""
    grey = np.rint(np.array([[0.75] * 3, [1.0] * 3, [0.0] * 3, [0.38] * 3]) * 65535).astype(np.uint16)
    white, brighter, black, middle = to_sdr(grey, HLG, 9).astype(int)
    assert (white >= 253).all() and (brighter == 255).all() and (black == 0).all() and (middle > 100).all()
    assert (middle < 150).all()


@pytest.mark.parametrize(("transfer", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_clips_of_high_range_are_tone_mapped_with_one_warning(tmp_path, transfer, name):
    for number in range(2):
        with av.open(str(tmp_path / f"{number}.mp4"), "w") as container:
            stream: Any = container.add_stream("libx265", rate=Fraction(24))
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
            stream.options = {"x265-params": "log-level=none"}
            context = stream.codec_context
            context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 9
            for frame in numbered(8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    with pytest.warns(InputWarning, match=rf"2 clips are HDR \({name}\), tone-mapped.*: 0\.mp4, 1\.mp4") as caught:
        read_clips(tmp_path, SMALL)
    assert len(caught) == 1


# ---- clips on demand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [read_clips, open_clips])
def test_bad_clips_are_skipped_where_this_is_asked_for_and_listed(tmp_path, opening):
    write(tmp_path / "good.mp4", numbered(8))
    write(tmp_path / "short.mp4", numbered(3))
    (tmp_path / "text.mp4").write_text("no")
    write_frames(tmp_path / "mixed", numbered(3), "a_{}.png")
    write_frames(tmp_path / "mixed", numbered(3), "b_{}.png")
    with pytest.warns(SkippedClips, match=r"left out 3 of 4 clips that cannot be read") as caught:
        clips = opening(tmp_path, SMALL, skip_bad=True)
    assert clips.names == ("good.mp4",) and clips.labels.tolist() == [-1]
    warning = caught[0].message
    assert isinstance(warning, SkippedClips)
    reasons = warning.reasons
    assert set(reasons) == {"short.mp4", "text.mp4", "mixed"} and "too short" in reasons["short.mp4"]
    with pytest.raises(InputError) as error:
        opening(tmp_path, SMALL)
    assert len(str(error.value).splitlines()) == 3
    (tmp_path / "good.mp4").unlink()
    with pytest.raises(InputError):
        opening(tmp_path, SMALL, skip_bad=True)
