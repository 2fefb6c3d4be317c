"""Settings of discovery. Each difference between the paper and its released code is a named option.

``released`` is what the published code does, ``paper`` what the text says. The defaults are the released choices, with
two exceptions: concepts are found in single tokens, their number by the knee, and given to tokens one by one, which
finds more of what is there with fewer concepts (docs/concepts.md); and convex NMF has a stopping rule in place of
10 000 steps.

Where a default depends on another setting it is "auto"; ``resolved`` says what it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from vtcd_jax.base.errors import InputError

Rule = Literal["auto", "released", "paper", "knee", "prediction", "held-out", "fixed"]
Proposals = Literal["auto", "slic", "crops", "tokens"]
Method = Literal["convex-nmf", "semi-nmf", "nmf", "k-means", "archetypes", "top-k"]
METHODS = ("convex-nmf", "semi-nmf", "nmf", "k-means", "archetypes", "top-k")


@dataclass(frozen=True)
class SlicConfig:
    """How one head's features become tubelets."""

    n_segments: int = 12
    """Requested number of segments; the seeds lie on a regular grid, so their number differs a little."""
    compactness: float = 0.1
    """Weight of position against features (0.1 VideoMAE, 0.01 TCOW, 0.15 InternVideo)."""
    min_size_factor: float = 0.5
    """Smallest segment, in units of the mean size per seed."""
    max_size_factor: float = 3.0
    """Largest segment, in the same units."""
    upsample: Literal["linear", "nearest"] = "linear"
    """"linear": trilinear with aligned corners (released, clips); "nearest" (released, whole videos)."""
    size: tuple[int, int, int] | None = None
    """Time, height and width before SLIC; default: as ``resolution`` says."""
    resolution: Literal["half", "token"] = "half"
    """"half": the frames of the clip at half its height and width (released); "token": the grid of the tokens, which
    takes a hundredth of the time and of the labels' memory and gives coarser outlines."""
    proposals: Proposals = "auto"
    """What concepts are found in. "slic": tubelets; "tokens": single tokens, without segmentation (``sampling``; needs
    ``NmfConfig.assign`` "tokens"); "auto": tokens where tokens get concepts, else tubelets; "crops": random space-time
    boxes as many as seeds asked for, blind to the features: the baseline of the paper's table 1 (``crops``)."""
    proposal_seed: int = 0
    """For "crops" and "tokens"."""
    samples: int = 768
    """For "tokens": tokens per head, at most, evenly from all clips."""
    pooling: Literal["mean", "released-volume"] = "mean"
    """Mean over the tubelet's voxels, or the sum over the voxels of the volume (the literal equation 1, which scales a
    vector by the size of its tubelet)."""
    min_fraction: float = 0.001
    """Smaller tubelets are dropped."""
    grid_rule: Literal["nearest", "majority"] = "nearest"
    """How labels reach the token grid: the first voxel of a token (released), or the most frequent label."""

    def __post_init__(self) -> None:
        _one_of("upsample", self.upsample, ("linear", "nearest"))
        _one_of("resolution", self.resolution, ("half", "token"))
        _one_of("proposals", self.proposals, get_args(Proposals))
        _one_of("pooling", self.pooling, ("mean", "released-volume"))
        _one_of("grid_rule", self.grid_rule, ("nearest", "majority"))
        if not 1 <= self.n_segments <= 100:
            raise InputError(f"n_segments must lie in 1..100, got {self.n_segments}")
        if self.samples < 2:
            raise InputError(f"samples must be at least 2, got {self.samples}")
        if not self.compactness > 0:
            raise InputError(f"compactness must be above 0, got {self.compactness}")


@dataclass(frozen=True)
class ElbowRule:
    """How many concepts a head gets."""

    rule: Rule = "auto"
    """"auto": "knee" for single tokens, "released" for all else; "released": the first k whose k-means objective
    exceeds the threshold times that of k - 1 (else the last k); "paper": the smallest k whose silhouette reaches the
    threshold times the best; "knee": the k after which the objective falls least, compared with its fall before;
    "prediction": the largest k whose prediction strength over halves of the clips reaches the threshold; "held-out":
    the smallest k whose centres, fitted on half of the clips, explain the threshold times the best share of the other
    half's variance; "fixed": as many as given."""
    threshold: float | None = None
    """Default: 0.95 for "released" and "held-out", 0.9 for "paper", 0.8 for "prediction". "knee" and "fixed" have
    none."""
    maximum: int = 15
    """k stays below it: 1 … min(maximum, samples) - 1."""
    number: int = 5
    """For "fixed"."""
    take: Literal["after", "before"] = "after"
    """The k that triggered the stop (released), or the last one that still paid."""

    def __post_init__(self) -> None:
        _one_of("rule", self.rule, get_args(Rule))
        _one_of("take", self.take, ("after", "before"))
        if self.maximum < 2:
            raise InputError(f"maximum must be at least 2, got {self.maximum}")
        if self.number < 1:
            raise InputError(f"number must be at least 1, got {self.number}")

    @property
    def level(self) -> float:
        """The threshold in use."""
        if self.threshold is not None:
            return self.threshold
        return {"paper": 0.9, "prediction": 0.8}.get(self.rule, 0.95)

    @property
    def largest(self) -> int:
        """The largest k that this rule can choose."""
        return self.number if self.rule == "fixed" else self.maximum - 1


@dataclass(frozen=True)
class NmfConfig:
    """How tubelets become concepts."""

    elbow: ElbowRule = field(default_factory=ElbowRule)
    """Number of concepts per head."""
    method: Method = "convex-nmf"
    """How the dictionary is made (``dictionaries``): the paper's convex NMF, or another to compare with."""
    assignment: Literal["G", "H"] = "G"
    """A tubelet's concept is the largest entry of its row of G (convex weights: released) or column of H (codes). Only
    "convex-nmf" has such weights: the other methods go by their codes, whatever stands here."""
    assign: Literal["tokens", "tubelets"] = "tokens"
    """What gets concepts, on the clips of discovery and on new ones: "tokens", each by the nearest of the means of the
    concepts' tubelets (``tokens``), so that tubelets only serve to find concepts; or "tubelets", as in the paper."""
    tree: float = 0.0
    """A hierarchy in every head: inner nodes per concept, at most, that are concepts too (``hierarchy``); 0: none."""
    form: Literal["auto", "gram", "features"] = "auto"
    """For "convex-nmf": "gram" is the released split of X Xᵀ; "features" needs no such matrix and takes other steps;
    "auto" is "gram" up to 2048 tubelets per head."""
    active: int = 3
    """For "top-k": concepts per tubelet, at most."""
    refits: int = 2
    """Times that every dictionary is fitted again, with other seeds and as often on half of the clips, to see which
    concepts are found again; 0: not at all."""
    max_steps: int = 5000
    """Most steps of the factorisation."""
    tol: float = 1e-4
    """Stop when the error fell by less than this share over the last 20 steps; 0 runs all steps."""
    restarts: int = 10
    """k-means starts, of which the best is kept."""
    kmeans_steps: int = 300
    """Most steps of one start."""

    def __post_init__(self) -> None:
        _one_of("method", self.method, METHODS)
        if self.refits < 0:
            raise InputError(f"refits must be at least 0, got {self.refits}")
        _one_of("assignment", self.assignment, ("G", "H"))
        _one_of("assign", self.assign, ("tokens", "tubelets"))
        if not 0 <= self.tree <= 1:
            raise InputError(f"tree must lie in [0, 1] (inner nodes per concept), got {self.tree}")
        _one_of("form", self.form, ("auto", "gram", "features"))
        for name in ("active", "max_steps", "restarts", "kmeans_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def released(cls) -> NmfConfig:
        """The released code: inertia elbow at 0.95, 10 000 steps, tubelets' labels from G."""
        return cls(assign="tubelets", elbow=ElbowRule(rule="released"), max_steps=10_000, tol=0.0, form="gram")

    @classmethod
    def paper(cls) -> NmfConfig:
        """The paper's text: silhouette elbow at 0.9, labels of tubelets."""
        return cls(assign="tubelets", elbow=ElbowRule(rule="paper"))


def resolved(slic: SlicConfig, nmf: NmfConfig) -> tuple[SlicConfig, NmfConfig]:
    """Both with what "auto" stands for. Raises InputError for settings that exclude each other."""
    if slic.proposals == "auto":
        slic = replace(slic, proposals="tokens" if nmf.assign == "tokens" else "slic")
    if slic.proposals == "tokens" and nmf.assign != "tokens":
        raise InputError('slic.proposals "tokens" makes no tubelets; it needs nmf.assign "tokens"')
    if nmf.elbow.rule == "auto":
        rule: Rule = "knee" if slic.proposals == "tokens" else "released"
        nmf = replace(nmf, elbow=replace(nmf.elbow, rule=rule))
    if nmf.elbow.threshold is not None and nmf.elbow.rule in ("knee", "fixed"):
        raise InputError(f"nmf.elbow.threshold: the rule {nmf.elbow.rule!r} has none; choose another nmf.elbow.rule")
    if nmf.elbow.take != "after" and nmf.elbow.rule != "released":
        raise InputError(f"nmf.elbow.take: only for nmf.elbow.rule 'released', not {nmf.elbow.rule!r}")
    return slic, nmf


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}; got {value!r}")
