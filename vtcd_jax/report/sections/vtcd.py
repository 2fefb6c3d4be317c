"""The report of a run of VTCD: ranked concepts with their clips, curves, controls, overlap with true masks.

Everything is read from the run folder: concepts, ranking, curves, the table of clips, and the saved frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.concepts import Concepts, load_concepts
from vtcd_jax.importance import Importance, Ranking, layer_importance
from vtcd_jax.importance.storage import CurveResults, load_curves, load_ranking
from vtcd_jax.models import citations_of
from vtcd_jax.report.concept_parts import concept_parts
from vtcd_jax.report.frames import load_frames
from vtcd_jax.report.section import Part, Section
from vtcd_jax.report.types import ReportData, ShownClips
from vtcd_jax.runs import read_config, read_csv


@dataclass(frozen=True)
class Folder:
    """Results of a finished run. clips: rows of ``clips.csv``."""

    config: Mapping[str, Any]
    clips: list[dict[str, str]]
    concepts: Concepts
    ranking: Ranking
    drawn: CurveResults

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.config["settings"]

    def role(self, name: str) -> list[dict[str, str]]:
        """Rows of the clips with a role: "ranked", "held out"."""
        return [row for row in self.clips if row["role"] == name]


def parts(folder: Path) -> Sequence[Part]:
    """The parts of the page; empty before the curves are drawn."""
    if not (folder / "drawn.safetensors").is_file():
        return ()
    run = Folder(
        read_config(folder) or {}, read_csv(folder / "clips.csv"), load_concepts(folder), load_ranking(folder),
        load_curves(folder),
    )  # fmt: skip
    return concept_parts(report_data(run, load_frames(folder / "frames.npz")), top=run.settings["top"])


def report_data(run: Folder, frames: Mapping[int, np.ndarray]) -> ReportData:
    """The report's data of a run."""
    concepts, importance, ranked = run.concepts, run.ranking.importance, run.role("ranked")
    held_out = run.role("held out")
    where = f"{len(held_out)} held-out clips" if held_out else "the ranked clips themselves"
    labels = tuple(row["label"] for row in ranked)
    layer = np.asarray(concepts.layers)[concepts.site]
    network = run.config["network"]
    return ReportData(
        title=title(run.config),
        model=network["name"],
        description=network["description"],
        clips=ShownClips(concepts.video_names, concepts.video_hashes, labels, frames),
        concepts=concepts,
        importance=importance,
        p_null=run.ranking.nulls[0].p,
        target=_target(run),
        seed=run.settings["seed"],
        curves=run.drawn.curves[0],
        controls=run.drawn.controls,
        curves_note=f"Drawn on {where}.",
        layers=layer_importance(importance[0].order(), layer),
        overlaps=run.drawn.overlaps,
        overlaps_note=f"Chosen on the ranked clips, measured on {where}; controls over "
        f"{run.settings['controls']} draws.",
        interactions=run.ranking.interactions,
        baselines=_baselines(ranked, importance),
        notes=_notes(run, held_out),
        convergence=run.ranking.convergence.get(importance[0].score),
        settings=run.settings,
    )


def title(config: Mapping[str, Any]) -> str:
    """Heading of the page."""
    return f"Concepts of {config['network']['name']}"


def citations(folder: Path) -> tuple[str, ...]:
    """VTCD, its parts, and the network's paper."""
    config = read_config(folder) or {}
    return ("vtcd", "convex-nmf", "slic", *citations_of(config["network"]["family"]))


def _target(run: Folder) -> str | None:
    """The explained class or mask; None for each clip's predicted class."""
    if run.config["targets"]:
        return run.config["targets"]
    given = run.settings["target"]
    return None if given is None else (run.clips[0]["target"] or given)


def _baselines(ranked: Sequence[Mapping[str, str]], importance: Sequence[Importance]) -> tuple[str, ...]:
    lines = [f"{i.score.replace('_', ' ')} with nothing removed: {i.baseline.mean():.4g}" for i in importance]
    labelled = [row for row in ranked if row["label"] and row["target"]]
    if labelled:
        right = np.mean([row["label"] == row["target"] for row in labelled])
        lines.insert(0, f"labelled clips whose class is the explained one: {right:.1%} of {len(labelled)}")
    return tuple(lines)


def _notes(run: Folder, held_out: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    first, notes = run.ranking.importance[0], []
    if not held_out:
        notes.append(
            "Too few clips to hold some out: the curves were drawn on the clips of the ranking, which makes the "
            "ranking look better than it is."
        )
    if run.concepts.videos == 1:
        notes.append("One clip: errors for new clips are unknown.")
    notes += _notes_on_clips(run)
    notes += _notes_on_errors(run)
    if run.ranking.interim:
        notes.append(f"Interim analysis: {run.ranking.interim[-1].line()}.")
    if run.settings["mode"] != "zero":
        notes.append(f"Removed values were replaced ({run.settings['mode']}), not zeroed as in the paper.")
    if first.estimator == "released":
        notes.append("The released estimator is not centred: its values depend on how often a concept was kept.")
    if first.estimator == "slope":
        notes.append("Slopes at soft gates have a small bias, which the intervals do not include.")
    if first.estimator == "joined":
        notes.append("Slopes at soft gates were calibrated by masks; the intervals include what is left of their bias.")
    return tuple(notes)


def _notes_on_clips(run: Folder) -> list[str]:
    wrong = sum(row["misclassified"] == "true" for row in run.clips)
    notes = []
    if run.config["left_out"]:
        notes.append(f"Clips that could not be read were left out: {len(run.config['left_out'])}.")
    if run.settings["only_correct"]:
        notes.append("Clips that the unmodified model gets wrong were left out.")
    elif wrong:
        notes.append(
            "Clips that the unmodified model gets wrong were kept; removing concepts can hardly lower their score: "
            f"{wrong}."
        )
    return notes


def _notes_on_errors(run: Folder) -> list[str]:
    """Notes on the significance of concepts and on errors."""
    first, null = run.ranking.importance[0], run.ranking.nulls[0]
    half, _ = first.half_widths()
    includes_zero = ~(np.abs(first.importance) > half)
    text = f"The 95 % interval of {int(includes_zero.sum())} of {len(includes_zero)} concepts includes zero."
    if np.isfinite(null.p).any():
        text += (
            f" {int((null.p < 0.05).sum())} differ significantly from the permutation null (p < 0.05 for all concepts "
            "together)."
        )
    notes = [text]
    copies = run.concepts.videos - first.distinct
    if copies:
        notes.append(f"Clips that are copies of others: {copies}. Errors count copies once.")
    if first.pooled:
        notes.append(
            f"Errors are pooled over the concepts in {first.pooled} of {run.concepts.videos} clips: their masks are "
            "fewer than three whole blocks of the design."
        )
    return notes


SECTION = Section("vtcd", title, parts, citations)
