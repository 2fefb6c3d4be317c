"""Frames out of video files.

Only the sampled frames are converted and kept, so memory does not grow with the length of a video. "first" stops
decoding at the last frame it needs, and jumps where it begins far inside; "uniform" reads the packets once without
decoding, to count frames and find keyframes, and then jumps to the keyframe before each frame it needs. Where packets
do not stand one for a frame, or a jump does not arrive, all is decoded, with the same frames as result.

Damage in parts that need not be decoded goes unseen, and so does a flipped bit that leaves a stream the codec allows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from itertools import count as counting
from pathlib import Path

import numpy as np

from vtcd_jax.base.errors import InputError

from ..sampling import Sampling, first_indices, needed, too_short, uniform_indices
from .containers import container_of, cut_short
from .hdr import NAMES
from .seeking import FAR, NoSeek, packet_times, pictures_at, pictures_from
from .streams import Damaged, Picture, decode, upright

Convert = Callable[[np.ndarray], np.ndarray]


def sample_video(
    path: Path,
    sampling: Sampling,
    *,
    num_frames: int,
    stride: int,
    convert: Convert,
    remarks: list[str] | None = None,
) -> np.ndarray:
    """The sampled frames of one file, each put through ``convert`` (RGB uint8 [height, width, 3], upright).

    remarks: takes what a user should know about the clip, such as that its range was reduced.

    Returns [num_frames, ...]. Raises InputError, naming the file, where it is no video, has no picture, is
    damaged before the last frame that is needed, or is too short and ``sampling.short`` is "refuse".
    """
    from av.error import FFmpegError

    progress, remarks = [0], [] if remarks is None else remarks

    def keep(picture: Picture) -> np.ndarray:
        if picture.transfer in NAMES and not remarks:
            remarks.append(f"HDR ({NAMES[picture.transfer]}), tone-mapped: brighter than 203 cd/m2 is white")
        return convert(upright(picture))

    try:
        if sampling.kind == "first":
            frames, seen = _sample_first(path, first_indices(num_frames, stride, sampling.start), keep, progress)
        else:
            frames, seen = _sample_uniform(path, num_frames, keep, progress)
    except (FFmpegError, Damaged, OSError) as error:
        raise InputError(_complaint(path, progress[0], error)) from error
    if not frames:
        raise InputError(f"{path}: not one frame could be decoded; re-encode or replace the file")
    refused = sampling.short == "refuse" or seen <= sampling.start
    if seen < needed(sampling, num_frames, stride) and refused:
        raise too_short(str(path), seen, sampling, num_frames, stride)
    return np.stack(frames + [frames[-1]] * (num_frames - len(frames)))


Keep = Callable[[Picture], np.ndarray]


def _sample_first(path: Path, indices: list[int], keep: Keep, progress: list[int]) -> tuple[list, int]:
    if indices[0] >= FAR:
        with contextlib.suppress(NoSeek):
            picked, wanted = [], set(indices)
            for number, picture in pictures_from(path, indices[0], indices[-1]):
                if number in wanted:
                    picked.append(keep(picture))
            if len(picked) == len(indices):
                return picked, indices[-1] + 1
    return _pick(decode(path, progress), indices, keep)


def _sample_uniform(path: Path, num_frames: int, keep: Keep, progress: list[int]) -> tuple[list, int]:
    times = packet_times(path)
    if times is not None:
        shown, keys = times
        indices = uniform_indices(len(shown), num_frames)
        with contextlib.suppress(NoSeek):
            return [keep(p) for p in pictures_at(path, [shown[i] for i in indices], keys)], len(shown)
    seen = sum(1 for _ in decode(path, progress))
    frames, _ = _pick(decode(path, progress), uniform_indices(seen, num_frames), keep)
    return frames, seen


def _pick(pictures: Iterable[Picture], indices: list[int], keep: Keep) -> tuple[list[np.ndarray], int]:
    """The frames at ascending ``indices``, and how many frames were seen.

    Where the frames end early and the last one was not taken, it is added, to be repeated by the caller.
    """
    picked: list[np.ndarray] = []
    seen, last = 0, None
    for seen, picture in zip(counting(1), pictures, strict=False):
        last = picture
        if seen - 1 == indices[len(picked)]:
            picked.append(keep(picture))
            last = None
            if len(picked) == len(indices):
                break
    if last is not None:
        picked.append(keep(last))
    return picked, seen


def _complaint(path: Path, decoded: int, error: Exception) -> str:
    if path.stat().st_size == 0:
        return f"{path}: the file is empty; copy or download it again"
    if cut_short(path):
        where = f"after {decoded} frames" if decoded else "before its first frame"
        return f"{path}: the file is cut short ({where}); copy or download it again"
    kind = container_of(path)
    if kind is not None and not kind[1]:
        what = f"{kind[0]} inside {path.suffix or 'a file without suffix'}"
        after = f"damaged after {decoded} frames" if decoded else f"not a video that can be read ({_reason(error)})"
        return f"{path}: {after}; it is {what}: try `ffmpeg -i {path.name} -c copy out.mp4`"
    if decoded:
        return f"{path}: damaged after {decoded} frames; re-encode or replace the file"
    return f"{path}: not a video that can be read ({_reason(error)}); give mp4, webm, mkv, mov, avi or gif"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
