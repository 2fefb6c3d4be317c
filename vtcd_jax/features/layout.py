"""Sites of a clip: names, axes, and the axes that pooling removes.

    kind of site             values of one clip                     pool="space"                  pool="all"
    positions (tokens, or    [time, height, width, (head,)          [time, (head,) channel]       [(head,) channel]
    a CNN's feature map)      channel]
    special tokens (…_cls)   [sequence, special, (head,) channel]   [sequence, (head,) channel]   [(head,) channel]
    a vector (``pooled``)    [channel]                              [channel]                     [channel]

A sequence is the input of one attention: a frame, or the whole clip (then there is one).
"""

from __future__ import annotations

from collections.abc import Sequence

from vtcd_jax.models import InputError, Model, nearest, sites

POOLS = (None, "space", "all")
TEXT = "text/"  # sites of a text tower begin with this
SPECIAL = "_cls"  # and those of special tokens end with this


def clip_sites(model: Model) -> dict[str, tuple[int, ...]]:
    """Sites that hold values of a clip, with their shapes at a batch of one, in the order of computation."""
    return {name: tuple(value.shape) for name, value in sites(model).items() if not name.startswith(TEXT)}


def chosen_sites(model: Model, names: str | Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The named sites with their shapes at a batch of one, in the order of ``names``; a string is one site.

    Raises InputError for no site, for a repeated one, for one that the network lacks, with the nearest names, and for
    one of a text tower.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    known = clip_sites(model)
    if not names:
        raise InputError("no sites given; `vtcd.models.sites(model)` lists them")
    if len(set(names)) < len(names):
        raise InputError(f"sites repeat: {', '.join(names)}; give each once")
    lines = [_refusal(model, name, known) for name in names if name not in known]
    several = [name for name in names if known.get(name, (1,))[0] > 1]
    lines += [f"site {name!r} holds {known[name][0]} rows per clip; choose another" for name in several]
    if lines:
        raise InputError("\n".join(lines))
    return {name: known[name] for name in names}


def _refusal(model: Model, name: str, known: dict[str, tuple[int, ...]]) -> str:
    if isinstance(name, str) and name.startswith(TEXT) and name in sites(model):
        return f"site {name!r} belongs to the text tower, which gets no clip; choose a site of the video"
    return f"no site {name!r}; nearest names: {nearest(str(name), known)}"


def pooled_axes(name: str, shape: tuple[int, ...], pool: str | None) -> tuple[int, ...]:
    """The axes of ``shape``, [batch, …], that pooling removes.

    Raises InputError for an unknown ``pool`` and for a site whose axes have no known meaning.
    """
    if pool not in POOLS:
        raise InputError(f"unknown pool {pool!r}; known: None, 'space', 'all'")
    if pool is None or len(shape) == 2:
        return ()
    if name.endswith(SPECIAL) and len(shape) in (4, 5):
        return (2,) if pool == "space" else (1, 2)
    if not name.endswith(SPECIAL) and len(shape) in (5, 6):
        return (2, 3) if pool == "space" else (1, 2, 3)
    raise InputError(f"site {name!r} of shape {list(shape)} has no positions to pool; give pool=None")


def pooled_shape(name: str, shape: tuple[int, ...], pool: str | None) -> tuple[int, ...]:
    """``shape`` with axes of length 1 instead of those that pooling removes."""
    axes = pooled_axes(name, shape, pool)
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
