"""The stages that compute: concepts, importance, curves. Each leaves its results in the run folder.

    discover   concepts.safetensors, concepts_labels.npz, concepts.csv
    rank       scores/rank/*.safetensors (a file per finished block of masks), importance.csv, convergence.csv,
               looks.csv (where they decide when to stop)
    curves     held_out/ (the same concepts on the held-out clips), scores/curves/*, curves.csv, areas.csv, layers.csv,
               control.csv (random groups of tubelets beside the concepts), overlaps.csv (where true masks are known)

A stage that finds its results, or some of its blocks, goes on from there: the random draws depend on the seed, the
clip's content and the mask's index alone.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np

from vtcd_jax.ablation.keys import Part
from vtcd_jax.concepts import (
    Concepts,
    assign,
    concept_sites,
    discover,
    load_concepts,
    save_concepts,
)
from vtcd_jax.concepts.cache import STAGES
from vtcd_jax.concepts.storage import ARRAYS
from vtcd_jax.data import Clips
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.importance import Curves, Importance, Support, Targets, importance_from_scores, layer_importance, tables
from vtcd_jax.importance.control import Control, control_stage
from vtcd_jax.importance.cris import make_design
from vtcd_jax.importance.curves import curve_gates, curves_from_scores, removal_counts
from vtcd_jax.importance.designs.random import Design, Explicit, nothing_removed
from vtcd_jax.importance.estimation.convergence import Convergence, convergence
from vtcd_jax.importance.estimation.permutation import Null, permutation_null
from vtcd_jax.importance.estimation.stopping import Look, look, looks
from vtcd_jax.models import InputError, Model
from vtcd_jax.runs import Run, differences

from .overlapping import Overlap, overlap_stage
from .scoring import Progress, Shard, measure
from .settings import RunSettings
from .sources import Prepared


@dataclass(frozen=True)
class Drawn:
    """What the curves' stage found: curves, one per score; overlaps with true masks; the control, None without one."""

    curves: tuple[Curves, ...]
    overlaps: tuple[Overlap, ...]
    control: Control | None


def stage_key(settings: RunSettings, stage: str) -> jax.Array:
    """The seed of a stage."""
    return jax.random.fold_in(jax.random.key(settings.seed), zlib.crc32(stage.encode()))


def discover_stage(run: Run, settings: RunSettings, prepared: Prepared, progress: Progress | None = None) -> Concepts:
    """Concepts of the ranked clips, from the run folder where they are there."""
    sites, key = concept_sites(prepared.model, settings.site), stage_key(settings, "discover")
    known = _known_concepts(run, run.folder, prepared.clips)
    if known is not None:
        _check_settings(run, known, settings, sites, key)
        return known
    if progress:
        progress("segment", 0, len(prepared.clips))
    found = discover(
        prepared.model, prepared.clips, sites=sites, slic=settings.slic, nmf=settings.nmf, key=key, progress=progress,
        memory=run,
    )  # fmt: skip
    save_concepts(found, run.folder)
    for stage in STAGES:  # what an interrupted discovery would go on from
        run.remove_blocks(stage)
    run.event("discovered", {"concepts": len(found), "tubelets": len(found.tubelets)})
    return found


@dataclass(frozen=True)
class Ranked:
    """What ranking found.

    importance: one per score, the first to rank by.  nulls: one per score.  convergence: score -> curve.
    looks: the looks at the ranking while it was measured (``--stop``), the last one with the reason for stopping.
    """

    importance: tuple[Importance, ...]
    nulls: tuple[Null, ...]
    convergence: dict[str, Convergence]
    looks: tuple[Look, ...] = ()


def rank_design(settings: RunSettings, concepts: Concepts) -> Design:
    """The design that concepts are ranked by."""
    key, name = stage_key(settings, "rank"), settings.design_name
    ratio, estimator = settings.ratio, settings.estimator_name
    return make_design(name, key, settings.masks, concepts=concepts, ratio=ratio, estimator=estimator)


def rank_stage(
    run: Run,
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    progress: Progress | None = None,
) -> Ranked:
    """Importance of every concept, one for each score, and ``importance.csv``, ``convergence.csv``, ``looks.csv``."""
    design, part = rank_design(settings, concepts), _part(prepared.clips, concepts, prepared.targets)
    work = partial(measure, run, settings=settings, prepared=prepared, part=part)
    baseline = work("untouched", design=nothing_removed(len(concepts)))
    present, looked = part.support.present(), []
    if settings.stop:
        found, looked = _look_by_look(settings, prepared, part, design, baseline, partial(work, "rank"), progress)
        for look_ in looked:
            run.event("look", {"line": look_.line()})
    else:
        found = work("rank", design=design, progress=progress)
    every = _importances(settings, prepared, part, design, found, baseline)
    key = stage_key(settings, "null")
    hashes, name = prepared.clips.hashes, every[0].estimator
    nulls = tuple(permutation_null(name, design, found[s], hashes, present, key=key) for s in prepared.scores)
    curves = {
        s: convergence(name, design, found[s], baseline[s][:, 0], hashes, present, seed=settings.seed)
        for s in prepared.scores
    }
    tables.write_importance(run, concepts, every, nulls)
    tables.write_convergence(run, curves)
    if looked:
        tables.write_looks(run, looked)
    run.event("ranked", {"masks": int(every[0].masks.sum()), "scores": list(prepared.scores)})
    return Ranked(every, nulls, curves, tuple(looked))


def rank_shard(
    run: Run,
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    shard: Shard,
    progress: Progress | None = None,
) -> None:
    """One shard's blocks of the ranking, into ``run`` (a folder of the shard's own)."""
    design, part = rank_design(settings, concepts), _part(prepared.clips, concepts, prepared.targets)
    work = partial(measure, run, settings=settings, prepared=prepared, part=part, shard=shard)
    work("untouched", design=nothing_removed(len(concepts)))
    work("rank", design=design, progress=progress)


def _importances(
    settings: RunSettings,
    prepared: Prepared,
    part: Part,
    design: Design,
    found: dict[str, np.ndarray],
    baseline: dict[str, np.ndarray],
) -> tuple[Importance, ...]:
    present, hashes = part.support.present(), part.clips.hashes
    return tuple(
        importance_from_scores(
            name, settings.design_name, design, found[name], baseline[name][:, 0].astype(np.float64), hashes, present,
            estimator=settings.estimator_name,
        )
        for name in prepared.scores
    )  # fmt: skip


def _look_by_look(
    settings: RunSettings,
    prepared: Prepared,
    part: Part,
    design: Design,
    baseline: dict[str, np.ndarray],
    work: Callable[..., dict[str, np.ndarray]],
    progress: Progress | None,
) -> tuple[dict[str, np.ndarray], list[Look]]:
    """Scores up to the look that says to stop (NaN beyond it), and the looks."""
    found, looked = {}, []
    for number, rows in enumerate(looks(design, part.support.present()), 1):
        found = work(design=design, rows=rows, progress=progress)
        beyond = np.arange(design.masks) >= rows[:, None]  # blocks may reach further
        found = {name: np.where(beyond, np.nan, values) for name, values in found.items()}
        ranked = _importances(settings, prepared, part, design, found, baseline)[0]
        looked.append(look(ranked, number, top=settings.stop_top, seed=settings.seed))
        if looked[-1].reason:
            return found, looked
    looked[-1] = dataclasses.replace(looked[-1], reason="all masks are spent")
    return found, looked


def curves_stage(
    run: Run,
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    ranked: Importance,
    progress: Progress | None = None,
) -> Drawn:
    """Curves of every score on the held-out clips (else the ranked ones), their control, and overlaps where true masks
    are known."""
    clips, targets, here = prepared.clips, prepared.targets, concepts
    if prepared.held_out is not None and prepared.held_out_targets is not None:
        clips, targets = prepared.held_out, prepared.held_out_targets
        here = _assigned(run, prepared.model, clips, concepts, progress)
    order = ranked.order()
    counts = removal_counts(len(order), settings.steps)
    gates = Explicit(curve_gates(order, counts, settings.repeats, stage_key(settings, "curves")))
    part = _part(clips, here, targets)
    found = measure(run, "curves", settings, prepared, part, gates, progress)
    curves = tuple(
        curves_from_scores(name, counts, len(order), found[name], settings.repeats) for name in prepared.scores
    )
    control = None
    if settings.control_masks:
        key = stage_key(settings, "control")
        control = control_stage(run, settings, prepared, concepts, here, part, curves[0], key, progress)
        tables.write_control(run, curves[0], control)
    tables.write_curves(run, curves)
    tables.write_layers(run, layers_of(concepts, order))
    overlaps = overlap_stage(settings, prepared, concepts, here, stage_key(settings, "overlaps"), progress)
    tables.write_overlaps(run, concepts, overlaps)
    run.event("curves drawn", {"clips": len(clips), "held_out": prepared.held_out is not None})
    return Drawn(curves, overlaps, control)


def _part(clips: Clips, concepts: Concepts, targets: Targets) -> Part:
    return Part(clips, Support.of(concepts), targets)


def layers_of(concepts: Concepts, order: np.ndarray) -> dict[int, float]:
    """Mean rank share of each layer's concepts (figure 8)."""
    return layer_importance(order, np.asarray(concepts.layers)[concepts.site])


def _assigned(run: Run, model: Model, clips: Clips, concepts: Concepts, progress: Progress | None) -> Concepts:
    """The run's concepts on the held-out clips."""
    folder = run.path("held_out/concepts.csv").parent
    known = _known_concepts(run, folder, clips)
    if known is not None:
        if known.names != concepts.names or not np.array_equal(known.dictionary, concepts.dictionary):
            raise InputError(f"{folder}: holds other concepts than {run.folder}; remove this folder, it is made again")
        return known
    if progress:
        progress("segment", 0, len(clips))
    found = assign(model, clips, concepts, progress=progress, memory=run)
    save_concepts(found, folder)
    run.remove_blocks("segment")
    return found


def _check_settings(run: Run, known: Concepts, settings: RunSettings, sites: Sequence[str], key: jax.Array) -> None:
    """Raises InputError for concepts that were found with other settings than the run's."""
    wanted = {
        "slic": dataclasses.asdict(settings.slic),
        "nmf": dataclasses.asdict(settings.nmf),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
    }
    changed = differences({name: known.settings.get(name) for name in wanted}, json.loads(json.dumps(wanted)))
    if tuple(known.sites) != tuple(sites):
        changed.append(f"sites: {', '.join(known.sites)} -> {', '.join(sites)}")
    if changed:
        raise InputError(
            f"{run.folder / ARRAYS}: holds concepts of another run: {changed[0]}; remove {ARRAYS} to find them again"
        )


def _known_concepts(run: Run, folder: Path, clips: Clips) -> Concepts | None:
    """Concepts that lie in a folder; None where they are not there, or damaged and to be found again.

    Raises InputError for concepts of other clips.
    """
    if not (folder / ARRAYS).is_file():  # written last
        return None
    try:
        known = load_concepts(folder)
    except InputError as error:
        run.event("concepts thrown away", {"folder": folder.name, "reason": str(error)})
        return None
    path = folder / ARRAYS
    try:
        check_same_clips("concepts", known.video_hashes, clips, f"remove {ARRAYS} to find them again in these clips")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return known
