"""Discovery of concepts: tokens or tubelets of every head grouped by convex NMF (or another dictionary), at as many
concepts as a rule gives.

Kowal et al. (2024), §4.1-4.2. Heads are independent: a concept lives in one head of one site.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np

from vtcd_jax.base.random import Seed, as_key
from vtcd_jax.data.clips import ClipSource
from vtcd_jax.models import InputError, Model, fingerprint
from vtcd_jax.runs import Step, Work
from vtcd_jax.runs.blocks import Arrays

from .cache import each_head, key_of, site_name
from .clustering.number_of_concepts import choose_numbers, head_keys
from .clustering.silhouettes import mean_silhouettes
from .dictionaries import fit_heads, memberships
from .dictionaries.convex_nmf import Factorization
from .dictionaries.fitting import checked_for
from .evaluation.stability import most_concepts, stability
from .hierarchy import with_tree
from .labels import Labels
from .proposals import (
    Site,
    check_sites,
    concept_sites,
    features,
    padded_features,
    padded_rows,
    padded_samples,
    segment,
    token_ids,
    widened,
    widest,
)
from .sampling import sampled_tokens
from .settings import NmfConfig, SlicConfig, resolved
from .tokens import assign_tokens, tubelet_means
from .types import Concepts, Tubelets

COUNT = Step("count", "number of concepts", "layer")
FACTORISE = Step("factorise", "concepts", "layer")


class _Layer(NamedTuple):
    """One site on its way: rows [head, sample] of its tubelets (-1 padding), numbers [head], start labels."""

    rows: np.ndarray
    numbers: np.ndarray
    labels: np.ndarray


class _Head(NamedTuple):
    """Concepts of one head: rows of its tubelets, concept per row from 0, deciding factor [row, concept], dictionary,
    encoder [concept, channel] if there is one, quality.
    """

    rows: np.ndarray
    concept: np.ndarray
    memberships: np.ndarray
    dictionary: np.ndarray
    encoder: np.ndarray | None
    silhouette: float
    error: float
    converged: bool


def discover(
    model: Model,
    clips: ClipSource,
    *,
    sites: str | Sequence[str] | None = None,
    slic: SlicConfig | None = None,
    nmf: NmfConfig | None = None,
    key: Seed | None = None,
    workers: int | None = None,
    work: Work = Work(),
) -> Concepts:
    """Concepts of every head of the given sites on a set of clips.

    sites:    one or more per-head sites (or streams, each one head), of any grids and channels; None: the keys of all
              (encoder) blocks.
    slic:     how features become tubelets.   nmf: how tubelets become concepts.
    key:      seed of k-means (a whole number or a key), folded per site and head; None: 0. Equal ones give equal
              concepts.
    workers:  threads for SLIC; changes no result.
    work:     keeps every head's tubelets of a clip, number, dictionary and stability as they are done; an equal call
              that was interrupted continues from there (``cache``).

    Concepts that no tubelet chose are dropped and the others renumbered. With ``NmfConfig(assign="tokens")`` the tokens
    then get concepts, and one may have no token; with ``tree`` unions of concepts are concepts, too. Raises InputError
    for no clips, unknown sites, features that are not finite, and features below zero with ``NmfConfig(method="nmf")``.
    """
    slic, nmf = resolved(slic or SlicConfig(), nmf or NmfConfig())
    key = as_key(0 if key is None else key)
    names = concept_sites(model) if sites is None else (sites,) if isinstance(sites, str) else tuple(sites)
    shapes = check_sites(model, names)
    if not len(clips):
        raise InputError("no clips to discover concepts in")
    check_features(model, clips, names, nmf)
    if slic.proposals == "tokens":
        tubelets, labels = sampled_tokens(model, clips, names, slic, work=work), None
    else:
        tubelets, labels = segment(model, clips, names, slic, workers=workers, work=work)
    seed = np.asarray(jax.random.key_data(key)).tolist()
    question = None if work.store is None else key_of(fingerprint(model), clips.hashes, names, slic, nmf, seed)
    layers = _choose(tubelets, shapes, nmf, key, work, question)
    found = _factorise(tubelets, shapes, layers, nmf, work, question)
    settings = {
        "model": model.name,
        "slic": asdict(slic),
        "nmf": asdict(nmf),
        "key": seed,
        "versions": {name: version(name) for name in ("jax", "numpy", "scikit-image")},
    }
    clip = model.preprocessing
    concepts = _gather(found, tubelets, labels, shapes, settings, clips)
    concepts = replace(concepts, frames=(clip.num_frames, clip.height, clip.width))
    concepts = concepts if not nmf.refits else _judged(concepts, nmf, key, work, question)
    if nmf.assign == "tokens":
        means = tubelet_means(tubelets, concepts.assignment, len(concepts))
        concepts = replace(concepts, centres=means, origin=tubelets)
    if nmf.tree:
        concepts = with_tree(concepts, tubelets, concepts.assignment, nmf.tree)
    return concepts if concepts.centres is None else assign_tokens(model, clips, concepts, work=work)


def check_features(model: Model, clips: ClipSource, names: Sequence[str], nmf: NmfConfig) -> None:
    """Raises InputError where the first clip's features show, before anything is segmented, that the method of ``nmf``
    cannot take them: below zero for "nmf"."""
    if nmf.method == "nmf":
        for volume in features(model, clips, 0, names).values():
            checked_for(nmf.method, volume)


def _judged(
    concepts: Concepts,
    nmf: NmfConfig,
    key: jax.Array,
    work: Work,
    question: str | None,
) -> Concepts:
    """The concepts with their stability."""
    own = jax.random.fold_in(key, zlib.crc32(b"stability"))
    found = stability(concepts, nmf, own, fits=nmf.refits, work=work, question=question)
    return replace(concepts, stability_seeds=found.seeds, stability_clips=found.clips, stability_centres=found.centres)


def _choose(
    tubelets: Tubelets,
    shapes: Mapping[str, Site],
    nmf: NmfConfig,
    key: jax.Array,
    work: Work,
    question: str | None,
) -> list[_Layer]:
    """Number of concepts and k-means labels for every head, site by site. question: in the names of the blocks."""
    drawn, layers = widest(tubelets), []
    for s, (name, site) in enumerate(shapes.items()):
        rows = padded_rows(tubelets, s, site.heads, padded_samples(drawn))
        keys = head_keys(jax.random.fold_in(key, zlib.crc32(name.encode())), site.heads)
        X = padded_features(tubelets, rows, site.channels)

        def choose(
            which: list[int], X: np.ndarray = X, rows: np.ndarray = rows, keys: jax.Array = keys
        ) -> list[Arrays]:
            numbers, labels = choose_numbers(
                X[which], rows[which] >= 0, keys[np.asarray(which)], nmf.elbow,
                restarts=nmf.restarts, kmeans_steps=nmf.kmeans_steps, drawn=drawn, groups=tubelets.video[rows[which]],
            )  # fmt: skip
            return [{"number": np.asarray(k), "labels": start} for k, start in zip(numbers, labels, strict=True)]

        found = each_head(work, f"choose/{question}-{site_name(name)}", site.heads, choose)
        layers.append(_Layer(rows, *(np.stack([head[kind] for head in found]) for kind in ("number", "labels"))))
        work.progress(COUNT, s + 1, len(shapes))
    return layers


def _factorise(
    tubelets: Tubelets,
    shapes: Mapping[str, Site],
    layers: list[_Layer],
    nmf: NmfConfig,
    work: Work,
    question: str | None,
) -> list[list[_Head]]:
    """The dictionaries of all heads, with one compiled program for equal channels; site -> head -> concepts."""
    concepts = most_concepts(max(int(layer.numbers.max()) for layer in layers), nmf)
    found = []
    for (name, site), layer in zip(shapes.items(), layers, strict=True):
        X = padded_features(tubelets, layer.rows, site.channels)

        def factorise(which: list[int], X: np.ndarray = X, layer: _Layer = layer) -> list[Arrays]:
            fit = fit_heads(
                X[which], layer.labels[which], layer.numbers[which], method=nmf.method, concepts=concepts,
                max_steps=nmf.max_steps, tol=nmf.tol, active=nmf.active, form=nmf.form,
            )  # fmt: skip
            parts = {f.name: np.asarray(value) for f in fields(fit) if (value := getattr(fit, f.name)) is not None}
            return [{name: value[i] for name, value in parts.items()} for i in range(len(which))]

        known = each_head(work, f"factorise/{question}-{site_name(name)}", site.heads, factorise)
        parts = {field: np.stack([head[field] for head in known]) for field in known[0]}
        fit = Factorization(**{f.name: parts.get(f.name) for f in fields(Factorization)})  # type: ignore[arg-type]
        _check(fit)
        deciding = memberships(fit, nmf.method, nmf.assignment)  # [head, sample, concept]
        chosen = np.where(layer.rows >= 0, deciding.argmax(-1), -1).astype(np.int32)
        widths = mean_silhouettes(X, chosen, concepts)
        found.append(
            [_head(h, layer.rows[h], chosen[h], deciding[h], fit, float(widths[h])) for h in range(len(layer.rows))]
        )
        work.progress(FACTORISE, len(found), len(layers))
    return found


def _check(fit: Factorization) -> None:
    if not np.isfinite(fit.dictionary).all():
        raise InputError("the factorisation overflowed; check the features of this model")


def _head(
    head: int, rows: np.ndarray, chosen: np.ndarray, deciding: np.ndarray, fit: Factorization, width: float
) -> _Head:
    """One head's concepts, without those that no tubelet chose."""
    real = rows >= 0
    used, concept = np.unique(chosen[real], return_inverse=True)
    error, converged = float(fit.error[head, -1]), bool(fit.converged[head])
    dictionary = np.asarray(fit.dictionary)[head, used]
    encoder = None if fit.encoder is None else np.asarray(fit.encoder)[head, used]
    return _Head(rows[real], concept, deciding[real][:, used], dictionary, encoder, width, error, converged)


def _gather(
    found: list[list[_Head]],
    tubelets: Tubelets,
    labels: Labels | None,
    shapes: Mapping[str, Site],
    settings: dict,
    clips: ClipSource,
) -> Concepts:
    """Numbers the concepts of all heads through and puts everything into one result. labels: None where nothing was
    segmented."""
    assignment = np.full(len(tubelets), -1, np.int32)
    weights = np.zeros(len(tubelets), np.float32)
    largest = max(len(part.dictionary) for layer in found for part in layer)
    memberships = np.zeros((len(tubelets), largest), np.float32)
    columns: dict[str, Any] = {name: [] for name in ("site", "head", "number", "silhouette", "error", "converged")}
    total = 0
    for s, layer in enumerate(found):
        for h, part in enumerate(layer):
            assignment[part.rows] = total + part.concept
            k = len(part.dictionary)
            weights[part.rows] = part.memberships[np.arange(len(part.rows)), part.concept]
            memberships[part.rows, :k] = part.memberships
            total += k
            values = (s, h, None, part.silhouette, part.error, part.converged)
            for name, value in zip(columns, values, strict=True):
                columns[name] += list(range(1, k + 1)) if name == "number" else [value] * k
    encoders = [part.encoder for layer in found for part in layer if part.encoder is not None]
    names, grid = tuple(shapes), {name: site.grid for name, site in shapes.items()}
    rule = settings["slic"]["grid_rule"]
    most = max(site.channels for site in shapes.values())
    dtypes: dict[str, str] = {"site": "int32", "head": "int32", "number": "int32", "converged": "bool"}
    arrays: dict[str, Any] = {name: np.array(column, dtypes.get(name, "float32")) for name, column in columns.items()}
    return Concepts(
        sites=names,
        grid=grid,
        slic_grid=grid if labels is None else labels.grid,
        dictionary=widened([part.dictionary for layer in found for part in layer]),
        tubelets=tubelets,
        assignment=assignment,
        weights=weights,
        memberships=memberships,
        ids={} if labels is None else token_ids(tubelets, assignment, labels, names, grid, rule),
        labels=labels or Labels(),
        settings=settings,
        video_names=clips.names,
        video_hashes=clips.hashes,
        encoder=widened(encoders) if encoders else None,
        channels={name: site.channels for name, site in shapes.items() if site.channels < most},
        **arrays,
    )
