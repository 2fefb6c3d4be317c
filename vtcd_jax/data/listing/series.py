"""Which images of a folder are the frames of one clip, and in which order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vtcd_jax.base.errors import InputError

from .kinds import SAME, suffix_of


class Series(NamedTuple):
    """frames: in order of their numbers.  left: images that are not among them.  odd: gaps and doubles in words."""

    frames: tuple[Path, ...] = ()
    left: tuple[Path, ...] = ()
    odd: str = ""


def find_series(folder: Path, images: Iterable[Path]) -> Series:
    """The numbered frames among the images of a folder.

    Frames have equal names but for one number, wherever it stands (``frame_7.png``, ``00007_rgb.jpg``); leading
    zeros do not count. One such image alone is no series. Raises InputError where several series are mixed,
    since their order would be a guess.
    """
    images = list(images)
    groups: dict[tuple, list[tuple[tuple[int, ...], Path]]] = {}
    for image in images:
        parts = re.split(r"(\d+)", image.stem)
        if len(parts) > 1:
            key = (*parts[::2], SAME.get(suffix_of(image.name), suffix_of(image.name)))
            groups.setdefault(key, []).append((tuple(map(int, parts[1::2])), image))
    split = [part for group in groups.values() for part in _by_counter(group)]
    several = [part for part in split if len(part) > 1]
    if len(several) > 1:
        shown = ", ".join(sorted(_pattern(part) for part in several)[:3])
        raise InputError(f"{folder}: holds several series of frames ({shown}); put each into a folder of its own")
    if not several:
        return Series(left=tuple(images))
    chosen = sorted(several[0], key=lambda pair: (pair[0], pair[1].name))
    frames = tuple(path for _, path in chosen)
    kept = set(frames)
    return Series(frames, tuple(i for i in images if i not in kept), _odd([number for number, _ in chosen]))


def _by_counter(group: list[tuple[tuple[int, ...], Path]]) -> list[list[tuple[int, Path]]]:
    """Images of one pattern, by the number that counts: the last that differs; the others tell series apart."""
    places = [i for i, values in enumerate(zip(*(n for n, _ in group), strict=True)) if len(set(values)) > 1]
    place = places[-1] if places else len(group[0][0]) - 1
    series: dict[tuple, list[tuple[int, Path]]] = {}
    for values, path in group:
        series.setdefault((*values[:place], *values[place + 1 :]), []).append((values[place], path))
    return list(series.values())


def _pattern(part: list[tuple[int, Path]]) -> str:
    """A series as ``frame_*.png``."""
    number, path = part[0]
    hits = [hit for hit in re.finditer(r"\d+", path.stem) if int(hit[0]) == number]
    start, end = hits[-1].span()
    return f"{path.stem[:start]}*{path.stem[end:]}{path.suffix.lower()}"


def _odd(values: Sequence[int]) -> str:
    """Numbers that are missing or there twice, in words; the usual distance between numbers is no gap."""
    counts = Counter(values)
    numbers = sorted(counts)
    steps = Counter(b - a for a, b in zip(numbers, numbers[1:], strict=False))
    words = []
    if steps:
        step, times = max(steps.items(), key=lambda item: (item[1], -item[0]))
        usual = 2 * times >= sum(steps.values())  # else the names hold times or the like, not counts
        holes = [(a, b) for a, b in zip(numbers, numbers[1:], strict=False) if usual and b - a > step]
        missing = [_range(a + step, b - step, step) for a, b in holes]
        words += [f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''} missing"] if missing else []
    twice = [str(number) for number in numbers if counts[number] > 1]
    words += [f"{', '.join(twice[:5])}{' ...' if len(twice) > 5 else ''} more than once"] if twice else []
    return "; ".join(words)


def _range(first: int, last: int, step: int) -> str:
    if last < first:  # frames that lie irregularly
        return f"after {first - step}"
    return str(first) if last <= first else f"{first} to {last}"
