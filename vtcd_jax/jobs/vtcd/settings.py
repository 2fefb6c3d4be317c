"""Every setting of a run of VTCD: discovery, ranking, curves, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from vtcd_jax.concepts.settings import NmfConfig, SlicConfig, resolved
from vtcd_jax.data.sampling import Sampling
from vtcd_jax.importance.named_designs import check_design_ratio, check_estimator, check_nested, default_design
from vtcd_jax.models import InputError
from vtcd_jax.scores import Score


@dataclass(frozen=True)
class RunSettings:
    """What a run's results depend on."""

    clips: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CLIPS")]
    """A video file, a folder of clips, or ``world:COUNT`` for clips of the synthetic world."""
    model: str
    """A converted model's folder, or the name of a shipped model (see ``vtcd models``)."""
    target: str | None = None
    """Class whose score is measured, by name or index; default: each clip's predicted class."""
    seed: int = 0
    """Seeds every random draw."""
    hold_out: float = 0.25
    """Fraction of the clips used neither for discovery nor for ranking, on which the curves are drawn. With fewer than
    four such clips the curves are drawn on the ranked clips, and the report notes it."""
    query: str | None = None
    """Query mask for a tracker (an image, or a folder with an image per clip); default: that of the clips."""
    reference: Literal["true", "own"] = "true"
    """Target mask of a tracker: the true one if it is known, or the one that the unmodified model predicts."""
    labels: str | None = None
    """File of labels: JSON {clip name: class name}, SSv2's JSON, CSV with a header (Kinetics), or lines "clip class";
    default: folders named after classes."""
    site: Literal["key", "query", "value"] = "key"
    """Per-head features from which concepts are made, and which are removed."""
    masks: int = 512
    """Largest number of masked passes per clip for ranking; block designs use as many whole blocks as fit. A pass for
    slopes counts as three; under the design slopes, with two scores, as five, and so on."""
    design: Literal[
        "auto",
        "folded-hadamard",
        "hadamard",
        "paired",
        "bernoulli",
        "random",
        "heads",
        "leave-one-out",
        "slopes",
        "joined",
    ] = "auto"
    """Which concepts are removed together. slopes ranks by gradients at random gates, joined by these and masks
    together (the first score; it must be smooth). auto: joined if the first score is smooth and --masks are at least
    48, without --estimator and --nmf.tree; else folded-hadamard, or random with the estimators paper and released."""
    ratio: float = 0.5
    """Fraction of the concepts removed in each masked pass (designs random and bernoulli)."""
    estimator: Literal["auto", "contrast", "regression", "paper", "released"] = "auto"
    """How scores become importance: centred contrast, least squares, the paper's equation 6, or the released code's
    sum. auto: what fits the design."""
    stop: bool = False
    """Stop before all masks are used, once the top concepts are separated or the noise of the masks is small compared
    with the variance over clips."""
    stop_top: int = 10
    """Number of concepts that --stop separates from the rest."""
    skip_bad: bool = False
    """Leave out clips that cannot be read and list them in skipped.csv; without this option they end the run."""
    only_correct: bool = False
    """Leave out clips that the unmodified model classifies wrongly (by label, or by target without a label)."""
    mode: Literal["zero", "mean", "resample", "neg_inf"] = "zero"
    """What a removed value becomes: 0, its head's mean, another clip's value, or (keys) ignored by the softmax."""
    scores: tuple[str, ...] = ()
    """Scores to measure in the same passes; concepts are ranked by the first. Default: those that fit the network."""
    steps: int = 20
    """Steps of the removal curves."""
    repeats: int = 5
    """Random orders of the removal curves."""
    controls: int = 20
    """Draws of random centres and of random groups, for comparison with a concept's overlap with true masks."""
    control_masks: int = 512
    """Masked passes per clip for ranking each control (random centres, random groups), at most --masks; 0: none."""
    top: int = 12
    """Concepts shown with their clips in the report."""
    chunk: int | None = None
    """Masks that run together; default: 1 on a CPU, measured on an accelerator."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of masked passes; auto: float32 on a CPU, bfloat16 on an accelerator. Scores are float32."""
    sampling: Sampling = field(default_factory=Sampling)
    """How frames become clips."""
    slic: SlicConfig = field(default_factory=SlicConfig)
    """How features become tubelets."""
    nmf: NmfConfig = field(default_factory=NmfConfig)
    """How tubelets become concepts."""

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise InputError(f"--chunk {self.chunk} must be at least 1 (masks that run together)")
        if not 0 <= self.hold_out < 1:
            raise InputError(f"--hold-out {self.hold_out} must lie in [0, 1)")
        for name, minimum in (
            ("masks", 2),
            ("control_masks", 0),
            ("stop_top", 1),
            ("steps", 1),
            ("repeats", 1),
            ("controls", 1),
            ("top", 1),
        ):
            if getattr(self, name) < minimum:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} must be at least {minimum}")
        resolved(self.slic, self.nmf)  # refuses what excludes each other
        design = self.design_for({})
        check_design_ratio(design, self.ratio)
        if design == "leave-one-out" and (self.estimator != "auto" or self.stop):
            raise InputError("--design leave-one-out removes one concept at a time: leave out --estimator and --stop")
        check_estimator(design, self.estimator_name)
        check_nested(design, self.nmf.tree > 0)
        if self.mode == "neg_inf" and self.site != "key":
            raise InputError(f"--mode neg_inf hides keys from the softmax; --site {self.site} needs another --mode")

    def design_for(self, scores: Mapping[str, Score]) -> str:
        """The design of the ranking and its controls by these scores, name -> function: what "auto" stands for."""
        if self.design != "auto":
            return self.design
        return default_design(scores, self.fewest_masks, estimator=self.estimator_name, nested=self.nmf.tree > 0)

    @property
    def fewest_masks(self) -> int:
        """Masked passes of a clip for the ranking or for a control, whichever has fewer."""
        return min(self.masks, self.control_masks or self.masks)

    @property
    def estimator_name(self) -> str | None:
        """None: what fits the design."""
        return None if self.estimator == "auto" else self.estimator


def demo_settings(clips: int = 72, masks: int = 256, seed: int = 0) -> RunSettings:
    """The settings of ``vtcd demo``: the shipped classifier on clips of the synthetic world, a third held out."""
    return RunSettings(
        clips=f"world:{clips}",
        model="world-videomae",
        masks=masks,
        seed=seed,
        hold_out=1 / 3,
        nmf=NmfConfig(refits=1),
    )
