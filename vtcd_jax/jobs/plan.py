"""Cost of a run before it starts: the sum of the costs of its stages."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .job import Cost

# Margin for what is not measured: other load on the machine, and seconds to start, read and write.
SLACK, STARTING = 1.15, 15.0


@dataclass(frozen=True)
class Plan:
    """facts: lines about the inputs.  costs: upper bounds for all parts of the stages, without the margin."""

    facts: tuple[str, ...]
    costs: tuple[Cost, ...]

    @property
    def seconds(self) -> float:
        """An upper bound for the whole run."""
        return STARTING + SLACK * sum(cost.seconds for cost in self.costs)

    @property
    def passes(self) -> int:
        """Forward passes of the network, at most."""
        return sum(cost.passes for cost in self.costs)

    @property
    def memory(self) -> int:
        """Bytes of the largest compiled program with its parameters, without those of Python and JAX."""
        return max((cost.memory for cost in self.costs), default=0)

    def lines(self) -> list[str]:
        """The plan as lines of text."""
        lines = list(self.facts)
        for cost in self.costs:
            passes = f", {cost.passes:,} passes" if cost.passes else ""
            note = f" ({cost.note})" if cost.note else ""
            lines.append(f"{cost.name:<11}at most {duration(cost.seconds)}{passes}{note}")
        lines.append(f"passes     {self.passes:,}")
        lines.append(f"memory     {math.ceil(self.memory / 2**20):,} MiB for compiled programs and parameters")
        return [*lines, f"time       at most {duration(self.seconds)}"]


def duration(seconds: float | int) -> str:
    """Seconds as text: from two minutes in minutes, from two hours in hours."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
