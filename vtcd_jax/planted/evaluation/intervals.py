"""Student's intervals over seeds at 95 %: mean ± t · standard deviation / √seeds; and what is claimed with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtcd_jax.base.statistics import half_width

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Mean over seeds, with half the width of its 95 % interval (NaN for one seed). values: one per seed."""

    mean: float
    half_width: float
    values: tuple[float, ...]

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


def interval(values: Sequence[float]) -> Interval:
    """Mean and Student's interval of one value per seed."""
    count, width = len(values), float("nan")
    if count > 1:
        se = np.std(values, ddof=1, keepdims=True) / np.sqrt(count)
        width = float(half_width(se, count - 1, LEVEL)[0])
    return Interval(float(np.mean(values)), width, tuple(values))


def over_seeds(trials: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """The interval of every metric."""
    return {name: interval([t[name] for t in trials]) for name in trials[0]}


def better(one: Interval, other: Interval, larger: bool) -> bool | None:
    """Whether the whole interval of ``one`` is better than that of ``other``; None without intervals."""
    if np.isnan([one.half_width, other.half_width]).any():
        return None
    return bool(one.low > other.high if larger else one.high < other.low)


def ahead(one: Interval, other: Interval, larger: bool) -> bool | None:
    """Whether the interval of the differences, seed by seed, is on the better side of zero; None without intervals."""
    apart = interval([(a - b) * (1 if larger else -1) for a, b in zip(one.values, other.values, strict=True)])
    return above(apart, 0.0)


def above(figure: Interval, level: float) -> bool | None:
    """Whether the whole interval is above a level; None without an interval."""
    return None if np.isnan(figure.half_width) else bool(figure.low > level)


def plain(figure: Interval) -> dict[str, Any]:
    """For JSON, which has no NaN."""
    numbers = {"mean": figure.mean, "low": figure.low, "high": figure.high}
    values = [None if np.isnan(value) else value for value in figure.values]
    return {**{name: None if np.isnan(value) else value for name, value in numbers.items()}, "values": values}


def with_width(figure: Interval, digits: int = 2) -> str:
    """ "0.79 ± 0.04"; without a width where there is none."""
    half = "" if np.isnan(figure.half_width) else f" ± {figure.half_width:.{digits}f}"
    return f"{figure.mean:.{digits}f}{half}"
