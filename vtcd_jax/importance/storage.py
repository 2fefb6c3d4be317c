"""Rankings and curves as files of a run folder, read back as they were.

ranking.safetensors    importance, nulls, convergence, interim analyses, interactions of pairs
drawn.safetensors      curves, controls, overlaps with true masks
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtcd_jax.concepts.evaluation.mask_overlaps import MaskOverlap
from vtcd_jax.runs.results import load_results, save_results

from .controls import Control
from .cris import Ranking
from .curves import Curves
from .estimation import Convergence, Importance, Interactions, InterimAnalysis, Null

RANKING, DRAWN = "ranking.safetensors", "drawn.safetensors"


def save_ranking(ranking: Ranking, folder: str | Path) -> None:
    """Writes a ranking into a folder."""
    results = {f"importance/{i:02d}": result for i, result in enumerate(ranking.importance)}
    results |= {f"null/{i:02d}": result for i, result in enumerate(ranking.nulls)}
    results |= {f"convergence/{score}": result for score, result in ranking.convergence.items()}
    results |= {"interactions/first": ranking.interactions} if ranking.interactions is not None else {}
    results |= {f"interim/{i:03d}": result for i, result in enumerate(ranking.interim)}
    save_results(Path(folder) / RANKING, results)


def load_ranking(folder: str | Path) -> Ranking:
    """Reads what ``save_ranking`` wrote. Raises InputError for a missing or damaged file."""
    kinds = {
        "importance": Importance, "null": Null, "convergence": Convergence, "interim": InterimAnalysis,
        "interactions": Interactions,
    }  # fmt: skip
    results = load_results(Path(folder) / RANKING, kinds)
    importance = _of("importance", results)
    curves = {i.score: results[f"convergence/{i.score}"] for i in importance}
    pairs = results.get("interactions/first")
    return Ranking(importance, _of("null", results), curves, _of("interim", results), pairs)


@dataclass(frozen=True)
class CurveResults:
    """Curves of a run.

    curves:   one per score.
    controls: none for a run without them.
    overlaps: with true masks, for clips that have them.
    """

    curves: tuple[Curves, ...]
    controls: tuple[Control, ...]
    overlaps: tuple[MaskOverlap, ...]


def save_curves(
    curves: Sequence[Curves], controls: Sequence[Control], overlaps: Sequence[MaskOverlap], folder: str | Path
) -> None:
    """Writes curves, controls and overlaps into a folder."""
    results = {f"curves/{i:02d}": curve for i, curve in enumerate(curves)}
    results |= {f"control/{i:02d}": control for i, control in enumerate(controls)}
    results |= {f"overlap/{i:02d}": overlap for i, overlap in enumerate(overlaps)}
    save_results(Path(folder) / DRAWN, results)


def load_curves(folder: str | Path) -> CurveResults:
    """Reads what ``save_curves`` wrote. Raises InputError for a missing or damaged file."""
    kinds = {"curves": Curves, "control": Control, "overlap": MaskOverlap}
    results = load_results(Path(folder) / DRAWN, kinds)
    return CurveResults(_of("curves", results), _of("control", results), _of("overlap", results))


def _of(kind: str, results: dict) -> tuple:
    return tuple(result for name, result in results.items() if name.startswith(f"{kind}/"))
