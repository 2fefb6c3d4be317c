"""Which class each clip belongs to: by a list of labels, or by the folder it lies in.

Clips are named by path, file name, or file name without suffix. Unicode names match in either normal form.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence

from vtcd_jax.base.errors import InputError, nearest

from ..notices import printable
from .kinds import is_media
from .search import Source

Labels = Mapping[str, str]
"""Clip -> class name or index, as ``read_labels`` gives it."""


def class_indices(
    sources: Sequence[Source], classes: Sequence[str], labels: Labels | None, origin: str = "labels"
) -> list[int]:
    """Index of each clip's class: from ``labels`` if given, else from the nearest folder above it that is a class.

    -1 where there is none. Case, underscores, the square brackets of templates and the Unicode form do not count.
    Raises InputError, a line per clip, for classes that the model does not know and clips that two entries fit, and
    where ``labels`` names none of the clips.
    """
    index = {_plain(name): i for i, name in reversed(list(enumerate(classes)))}
    if labels is None:
        plain = {folder: index.get(_plain(folder), -1) for source in sources for folder in source.folders}
        return [next((i for f in reversed(s.folders) if (i := plain[f]) >= 0), -1) for s in sources]
    entries = _entries(labels)
    numbers, problems = [], []
    for source in sources:
        try:
            given = _label_of(source, entries)
            numbers.append(-1 if given is None else _index_of(given, index, classes))
        except InputError as error:
            problems.append(f"{origin}: {source.name}: {error}")
    if problems:
        raise InputError("\n".join(problems))
    if labels and sources and all(number < 0 for number in numbers):
        raise InputError(f"{origin}: names none of the {len(sources)} clips; the first clip is {sources[0].name!r}")
    return numbers


def _index_of(given: str, index: Mapping[str, int], classes: Sequence[str]) -> int:
    if _plain(given) in index:
        return index[_plain(given)]
    if not classes:
        raise InputError(f"the model has no classes, so the label {given!r} means nothing to it")
    if re.fullmatch(r"\d+", given):
        if int(given) < len(classes):
            return int(given)
        raise InputError(f"class {given} is outside the model's {len(classes)} classes (0 to {len(classes) - 1})")
    raise InputError(f"unknown class {given!r}; nearest: {nearest(given, classes)}")


Entries = dict[tuple[bool, str], list[tuple[tuple[str, ...], str]]]


def _entries(labels: Labels) -> Entries:
    """Entries by (whether without suffix, last part of the clip's name): all parts of the name, and the class."""
    entries: Entries = {}
    for clip, label in labels.items():
        parts = tuple(part for part in _key(clip.replace("\\", "/")).split("/") if part not in ("", "."))
        if parts:
            entries.setdefault((False, parts[-1]), []).append((parts, label))
            stemmed = (*parts[:-1], _stem(parts[-1]))
            entries.setdefault((True, stemmed[-1]), []).append((stemmed, label))
    return entries


def _label_of(source: Source, entries: Entries) -> str | None:
    """The class of the entry that shares most of the clip's path: all of its own name, or all of the clip's.

    Names with their suffix go before names without. Raises InputError where entries with two classes fit as well.
    """
    name, place = _key(source.name).split("/"), [_key(part) for part in source.path.absolute().parts]
    for stemmed in (False, True):
        if stemmed:
            name, place = [*name[:-1], _stem(name[-1])], [*place[:-1], _stem(place[-1])]
        fits: dict[int, set[str]] = {}
        for parts, label in entries.get((stemmed, name[-1]), ()):
            shared = _shared(parts, place)
            if shared == len(parts) or _shared(parts, name) == len(name):
                fits.setdefault(shared, set()).add(label)
        if fits:
            best = fits[max(fits)]
            if len(best) > 1:
                raise InputError(
                    f"two entries fit it, {' and '.join(map(repr, sorted(best)))}; name the clip by its path"
                )
            return next(iter(best))
    return None


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    """How many of the last parts are equal."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", printable(name))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if is_media(name) else name


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", re.sub(r"[\[\]]", "", name)).replace("_", " ").strip().casefold()
