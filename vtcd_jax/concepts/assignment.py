"""Known concepts on new clips.

Tokens get the concept of the nearest mean (``tokens``). Tubelets are made by SLIC as in discovery. Convex NMF labels
the tubelets it was fitted to; it has no rule for others. A new tubelet gets the concept with the largest non-negative
code among those of its head, codes being taken on dictionary rows of length one. Concepts of another method get that
method's codes (``dictionaries.encode``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.data.clips import ClipSource
from vtcd_jax.models import InputError, Model
from vtcd_jax.runs import Step, Work

from .clustering.silhouettes import mean_silhouettes
from .dictionaries import encode_padded, reconstruct
from .labels import Grid
from .proposals import (
    Site,
    check_sites,
    padded_concepts,
    padded_features,
    padded_rows,
    padded_samples,
    segment,
    token_ids,
    volume_sizes,
    widest,
)
from .settings import Method, SlicConfig
from .tokens import assign_tokens
from .types import Concepts, Tubelets

ASSIGN = Step("assign", "held-out concepts", "layer")


def assign(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    *,
    workers: int | None = None,
    work: Work = Work(),
) -> Concepts:
    """The same concepts (ids, names, dictionary) on new clips; a concept may have no tubelet there.

    Weights are the deciding codes; silhouette and error are those of the new tubelets. SLIC settings are those of
    discovery. Concepts of tokens need no tubelets (``assign_tokens``) and have no silhouette. Raises InputError for
    no clips, or a model whose sites do not fit the concepts.
    """
    if not len(clips):
        raise InputError("no clips to find concepts in")
    names, config = concepts.sites, slic_config(concepts)
    shapes = check_sites(model, names)
    if concepts.centres is not None:
        _check_fit(shapes, concepts.grid, concepts)
        found = assign_tokens(model, clips, concepts, work=work)
        return replace(found, silhouette=np.full(len(concepts), np.nan, np.float32), settings=_assigned(concepts))
    _check_fit(shapes, volume_sizes(model, names, config), concepts)
    tubelets, labels = segment(model, clips, names, config, workers=workers, work=work)
    assignment = np.full(len(tubelets), -1, np.int32)
    weights = np.zeros(len(tubelets), np.float32)
    memberships = np.zeros((len(tubelets), int(concepts.number[: concepts.leaves].max())), np.float32)
    silhouette, error = np.full((2, len(concepts)), np.nan, np.float32)
    for s, name in enumerate(names):
        _assign_site(s, shapes[name].heads, tubelets, concepts, assignment, weights, memberships, silhouette, error)
        work.progress(ASSIGN, s + 1, len(names))
    return Concepts(
        sites=names,
        grid=concepts.grid,
        slic_grid=concepts.slic_grid,
        site=concepts.site,
        head=concepts.head,
        number=concepts.number,
        dictionary=concepts.dictionary,
        tubelets=tubelets,
        assignment=assignment,
        weights=weights,
        memberships=memberships,
        ids=token_ids(tubelets, assignment, labels, names, concepts.grid, config.grid_rule),
        labels=labels,
        silhouette=silhouette,
        error=error,
        converged=concepts.converged,
        settings=_assigned(concepts),
        video_names=clips.names,
        video_hashes=clips.hashes,
        encoder=concepts.encoder,
        stability_seeds=concepts.stability_seeds,
        stability_clips=concepts.stability_clips,
        stability_centres=concepts.stability_centres,
        parent=concepts.parent,
        channels=concepts.channels,
        frames=concepts.frames,
    )


def _check_fit(shapes: Mapping[str, Site], sizes: Mapping[str, Grid], concepts: Concepts) -> None:
    """Raises InputError where a site of the model is not as it was where the concepts were found."""
    for s, (name, site) in enumerate(shapes.items()):
        model = (site.grid, site.channels, sizes[name])
        known = (concepts.grid[name], concepts.width(s), concepts.slic_grid[name])
        for what, one, other in zip(("tokens", "channels", "SLIC volumes"), model, known, strict=True):
            if one != other:
                raise InputError(f"{name}: {what} of the model are {one}, of the concepts {other}; use the same model")


def slic_config(concepts: Concepts) -> SlicConfig:
    """The SLIC settings of discovery; the defaults where concepts carry none."""
    fields = dict(concepts.settings.get("slic", {}))
    if fields.get("size") is not None:
        fields["size"] = tuple(fields["size"])
    return SlicConfig(**fields)


_CODES = {
    "convex-nmf": "non-negative codes",
    "semi-nmf": "non-negative codes",
    "nmf": "non-negative codes",
    "k-means": "nearest centre",
    "archetypes": "shares",
    "top-k": "encoder",
}


def _assigned(concepts: Concepts) -> dict[str, Any]:
    """The settings, with the rule that gave new clips their concepts."""
    rule = "nearest mean" if concepts.centres is not None else _CODES[_method(concepts)[0]]
    return concepts.settings | {"assigned": rule}


def _method(concepts: Concepts) -> tuple[Method, int]:
    """The method of discovery and its concepts per tubelet; convex NMF where concepts carry none."""
    fields = concepts.settings.get("nmf", {})
    return fields.get("method", "convex-nmf"), fields.get("active", 3)


def _assign_site(
    site: int,
    heads: int,
    tubelets: Tubelets,
    concepts: Concepts,
    assignment: np.ndarray,
    weights: np.ndarray,
    memberships: np.ndarray,
    silhouette: np.ndarray,
    error: np.ndarray,
) -> None:
    """Fills in the five result arrays for one site, all heads in one compiled call."""
    rows = padded_rows(tubelets, site, heads, padded_samples(widest(tubelets)))
    leaf = np.arange(len(concepts)) < concepts.leaves
    own = [np.flatnonzero(leaf & (concepts.site == site) & (concepts.head == head)) for head in range(heads)]
    missing = [str(head) for head in range(heads) if not len(own[head])]
    if missing:
        raise InputError(f"no concepts for site {concepts.sites[site]}, head {', '.join(missing)}")
    counts = np.unique(np.stack([concepts.site, concepts.head])[:, leaf], axis=1, return_counts=True)[1]
    channels = concepts.width(site)
    most = padded_concepts(int(counts.max()))
    dictionary = _per_head(concepts.dictionary[:, :channels], own, most)
    encoder = None if concepts.encoder is None else _per_head(concepts.encoder[:, :channels], own, most)
    used = np.array([len(ids) for ids in own], np.int32)
    X, (method, active) = padded_features(tubelets, rows, channels), _method(concepts)
    found = _codes(X, rows >= 0, used, dictionary, encoder, method=method, active=active)
    codes, errors = (np.asarray(a) for a in found)
    chosen = np.where(rows >= 0, codes.argmax(-1), -1).astype(np.int32)
    widths = mean_silhouettes(X, chosen, dictionary.shape[1])
    for head, ids in enumerate(own):
        real = rows[head] >= 0
        assignment[rows[head, real]] = ids[chosen[head, real]]
        memberships[rows[head, real], : len(ids)] = codes[head, real, : len(ids)]
        weights[rows[head, real]] = codes[head, real, chosen[head, real]]
        of_head = (concepts.site == site) & (concepts.head == head)
        silhouette[of_head], error[of_head] = widths[head], errors[head]


def _per_head(values: np.ndarray, own: list[np.ndarray], most: int) -> np.ndarray:
    """Rows [concept, channel] sorted to their heads: [head, concept, channel], zero where a head has fewer."""
    of_head = np.zeros((len(own), most, values.shape[1]), np.float32)
    for head, ids in enumerate(own):
        of_head[head, : len(ids)] = values[ids]
    return of_head


@partial(jax.jit, static_argnames=("method", "active"))
def _codes(
    X: jax.Array,
    mask: jax.Array,
    used: jax.Array,
    dictionary: jax.Array,
    encoder: jax.Array | None,
    *,
    method: Method,
    active: int,
) -> tuple[jax.Array, jax.Array]:
    """Codes [head, sample, concept] and relative reconstruction error [head]."""
    codes = jax.vmap(partial(encode_padded, method=method, active=active))(X, mask, used, dictionary, encoder)
    residual = X - jax.vmap(partial(reconstruct, method=method))(codes, dictionary)
    total = jnp.maximum((X**2).sum((1, 2)), jnp.finfo(X.dtype).tiny)
    return codes, jnp.sqrt((residual**2).sum((1, 2)) / total)
