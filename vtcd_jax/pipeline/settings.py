"""Every setting of a run, and how it is kept in ``config.json``."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from vtcd_jax.concepts.settings import NmfConfig, SlicConfig
from vtcd_jax.data.sampling import Sampling
from vtcd_jax.importance.cris import check_estimator, check_share, default_design
from vtcd_jax.models import InputError


@dataclass(frozen=True)
class RunSettings:
    """What a run's results depend on."""

    clips: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CLIPS")]
    """A video file, a folder of clips, or ``world:COUNT`` for clips of the synthetic world."""
    model: str
    """A converted model's folder, or the name of a shipped model (see ``vtcd models``)."""
    target: str | None = None
    """Class whose score is measured, by name or index; default: each clip's own predicted class."""
    seed: int = 0
    """Seeds every random draw."""
    hold_out: float = 0.25
    """Share of the clips used neither for discovery nor for ranking, on which the curves are drawn. With fewer than
    four clips held out, the curves are drawn on the ranked clips and the report says so."""
    query: str | None = None
    """Query mask for a tracker (an image, or a folder with an image per clip); default: the clips' own."""
    reference: Literal["true", "own"] = "true"
    """Mask that a tracker is scored by: the true one where it is known, or the network's own."""
    labels: str | None = None
    """File of labels: JSON {clip name: class name}, SSv2's JSON, CSV with a header (Kinetics), or lines "clip class";
    default: folders named after classes."""
    skip_bad: bool = False
    """Leave out clips that cannot be read; they are listed in skipped.csv. Without it, they end the run."""
    site: Literal["key", "query", "value"] = "key"
    """Which per-head features concepts are made of, and what is removed."""
    masks: int = 512
    """Masked passes per clip for ranking, at most: designs of blocks take as many whole blocks as fit."""
    design: Literal[
        "auto", "folded-hadamard", "hadamard", "paired", "bernoulli", "random", "heads", "leave-one-out"
    ] = "auto"
    """Which concepts are removed together; auto: folded-hadamard, or the originals' random with their estimators."""
    ratio: float = 0.5
    """Share of the concepts removed in each masked pass (designs random and bernoulli)."""
    estimator: Literal["auto", "contrast", "regression", "paper", "released"] = "auto"
    """How scores become importance: centred contrast, least squares, the paper's equation 6, or the released code's
    sum. auto: what fits the design."""
    stop: bool = False
    """Stop before all masks are spent, once the top concepts are separated or the noise of the masks is small beside
    the spread over clips."""
    stop_top: int = 10
    """How many concepts --stop separates from the rest."""
    only_correct: bool = False
    """Leave out clips whose class (their own where it is known, else the target) the network does not find."""
    mode: Literal["zero", "mean", "resample", "neg_inf"] = "zero"
    """What a removed value becomes: 0, its head's mean, another clip's value, or (keys) unseen by the softmax."""
    scores: tuple[str, ...] = ()
    """Scores to measure in the same passes, the one to rank by first; default: what fits the network."""
    steps: int = 20
    """Steps of the attribution curves."""
    repeats: int = 5
    """Random orders of the attribution curves."""
    controls: int = 20
    """Draws of random tubelet groups that a concept's overlap with true masks is compared with."""
    control_masks: int = 256
    """Masked passes per clip for ranking the control, random groups of tubelets, at most --masks; 0: no control."""
    top: int = 12
    """Concepts shown with their clips in the report."""
    chunk: int | None = None
    """Masks that run together; default: 1 on a CPU, measured on an accelerator."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What masked passes compute with; auto: float32 on a CPU, bfloat16 on an accelerator. Scores are float32."""
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
        for name, least in (
            ("masks", 2),
            ("control_masks", 0),
            ("stop_top", 1),
            ("steps", 1),
            ("repeats", 1),
            ("controls", 1),
            ("top", 1),
        ):
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} must be at least {least}")
        check_share(self.design_name, self.ratio)
        if self.design_name == "leave-one-out" and (self.estimator != "auto" or self.stop):
            raise InputError("--design leave-one-out removes one concept at a time: leave out --estimator and --stop")
        check_estimator(self.design_name, self.estimator_name)
        if self.mode == "neg_inf" and self.site != "key":
            raise InputError(f"--mode neg_inf hides keys from the softmax; --site {self.site} needs another --mode")

    @property
    def design_name(self) -> str:
        """The design that "auto" stands for."""
        return default_design(self.estimator_name) if self.design == "auto" else self.design

    @property
    def estimator_name(self) -> str | None:
        """None: what fits the design."""
        return None if self.estimator == "auto" else self.estimator


def config_of(settings: RunSettings) -> dict[str, Any]:
    """JSON-able settings."""
    return {f.name: _plain(getattr(settings, f.name)) for f in dataclasses.fields(RunSettings)}


def settings_of(config: dict[str, Any]) -> RunSettings:
    """The settings of a run's ``config.json``. Raises InputError where it lacks some."""
    try:
        return _from_plain(RunSettings, config["settings"])
    except (KeyError, TypeError) as error:
        raise InputError(f"config.json does not hold a run's settings ({error}); begin a new run") from None


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _from_plain(kind: type, fields: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in fields.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            value = _from_plain(typing.cast(type, hint), value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)
