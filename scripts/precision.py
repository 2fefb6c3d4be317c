"""What 16-bit passes do to a ranking: the same masks in float32 and in bfloat16, on a small trained model.

    python scripts/precision.py --model world-videomae

rounding   root mean square difference of a score between the two, over its standard deviation among a clip's masks
same       Spearman between the importances of both precisions, from the same masks; how many of the top ten they share
redrawn    the same between float32 and float32 under other masks: what a ranking of this length leaves to chance anyway
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import jax
import numpy as np
import tyro
from masks_needed import HARD, SMOOTH, Common, compare, problem

from vtcd_jax.ablation.scores import scores
from vtcd_jax.ablation.support import Support
from vtcd_jax.importance.cris import importance_from_scores
from vtcd_jax.importance.designs.hadamard import Hadamard
from vtcd_jax.importance.measure import baselines
from vtcd_jax.scores.targets import find_targets

DESIGN = "folded-hadamard"


@dataclass(frozen=True)
class Settings:
    """Both precisions, side by side."""

    model: str = "world-videomae"
    clips: int = 8
    masks: int = 1024
    """Passes per clip."""
    folder: Path = Path("runs/masks_needed")
    seed: int = 0


def main(settings: Settings) -> None:
    common = Common(settings.model, settings.clips, folder=settings.folder, seed=settings.seed)
    model, clips, concepts = problem(common)
    support = Support.of(concepts)[range(len(clips))]
    asked = {"score": SMOOTH[settings.model] + HARD.get(settings.model, ()), "targets": find_targets(model, clips)}
    keys = jax.random.split(jax.random.key(settings.seed))
    runs = {"float32": (keys[0], "float32"), "bfloat16": (keys[0], "bfloat16"), "redrawn": (keys[1], "float32")}
    found, importance = {}, {}
    for name, (key, dtype) in runs.items():
        unmodified = baselines(model, clips, support, **asked, dtype=dtype)
        design = Hadamard(key, settings.masks)
        scores(model, clips[[0]], only(support, 0), design, **asked | {"targets": asked["targets"][[0]]}, dtype=dtype)
        begun = perf_counter()
        found[name] = scores(model, clips, support, design, **asked, dtype=dtype)
        rate = sum(np.isfinite(row).sum() for row in found[name][asked["score"][0]]) / (perf_counter() - begun)
        print(f"{settings.model}, {name}: {rate:.0f} passes a second")
        importance[name] = {
            score: importance_from_scores(
                score, DESIGN, design, found[name][score], unmodified[score], clips.hashes, support.present()
            ).importance
            for score in asked["score"]
        }
    print(f"{'':18}{'rounding':>10}{'same: Spearman':>16}{'top ten':>9}{'redrawn: Spearman':>19}{'top ten':>9}")
    for score in asked["score"]:
        moved = rounding(found["float32"][score], found["bfloat16"][score])
        cells = [compare(importance["float32"][score], importance[other][score]) for other in ("bfloat16", "redrawn")]
        same, redrawn = ((f"{c['Spearman']:.4f}", f"{10 * c['top 10']:.0f}") for c in cells)
        print(f"{score:18}{moved:>10.4f}{same[0]:>16}{same[1]:>9}{redrawn[0]:>19}{redrawn[1]:>9}")


def only(support: Support, video: int) -> Support:
    return support[[video]]


def rounding(exact: np.ndarray, rough: np.ndarray) -> float:
    """exact, rough: scores [video, mask], NaN where not run."""
    spread = np.nanstd(exact, axis=1)
    return float(np.mean(np.sqrt(np.nanmean((rough - exact) ** 2, axis=1)) / np.maximum(spread, 1e-12)))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
