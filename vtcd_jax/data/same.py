"""Whether two results are about the same clips, in the same order: asked before anything joins them."""

from __future__ import annotations

from collections.abc import Sequence

from vtcd_jax.base.errors import InputError

from .clips import ClipSource


def check_same_clips(what: str, hashes: Sequence[str], clips: ClipSource, remedy: str) -> None:
    """Raises InputError, with the first difference, where ``hashes`` are not those of the clips in their order.

    what:   what the hashes belong to, in the plural, such as "concepts".
    hashes: as ``Clips.hashes``; empty where they are not known, which passes.
    remedy: what to do about other clips.
    """
    if not hashes or tuple(hashes) == clips.hashes:
        return
    if sorted(hashes) == sorted(clips.hashes):
        first = next(i for i, (a, b) in enumerate(zip(hashes, clips.hashes, strict=True)) if a != b)
        raise InputError(
            f"the {what} have these clips in another order: their clip {first} is not {clips.names[first]!r}; "
            f"take clips[{_order(hashes, clips.hashes)}]"
        )
    other = next((i for i, own in enumerate(clips.hashes) if own not in hashes), None)
    if other is None:
        raise InputError(f"the {what} are of {len(hashes)} clips, and {len(clips)} of them are given; {remedy}")
    raise InputError(
        f"the {what} are of other clips: {clips.names[other]!r} (clip {other}) is not among them; {remedy}"
    )


def _order(wanted: Sequence[str], given: Sequence[str]) -> list[int]:
    """Indices that bring ``given`` into the order of ``wanted``."""
    places: dict[str, list[int]] = {}
    for i, own in enumerate(given):
        places.setdefault(own, []).append(i)
    return [places[own].pop(0) for own in wanted]
