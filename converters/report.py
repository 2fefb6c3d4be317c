"""What a conversion did, for people and for the manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .tables.rules import Row
from .verifying import Compared
from .verifying import table as compared_table


@dataclass(frozen=True)
class ConversionReport:
    """What was recognised, and what became of every tensor.

    family, layout: our family, and whose names the source had.  why: container and prefixes, in words.
    rows:       per used source tensor: name, shape, dtype, our name(s), transform.
    ignored:    what the file held besides -> why it was left.
    assumed:    settings that nobody told, in words.  changed: those that the user set otherwise than was told.
    config:     the network's config.  parameters: how many numbers it has.
    labels:     class names in logit order.
    out:        the model folder, None after a dry run.
    sanity:     what two clips through the network showed, "" when it was not run.
    verified:   errors of the recorded arrays, in the order of the forward pass; () when there was no recording.
    """

    family: str
    layout: str
    why: str
    rows: tuple[Row, ...]
    ignored: dict[str, str]
    assumed: tuple[str, ...]
    changed: tuple[str, ...]
    config: Any
    parameters: int
    labels: tuple[str, ...]
    out: Path | None
    sanity: str = ""
    verified: tuple[Compared, ...] = ()

    def table(self) -> str:
        """Everything as text: a line per tensor, then what was ignored, assumed, changed and checked."""
        cells = [("source", "shape", "dtype", "ours", "transform")]
        cells += [(r.source, "x".join(map(str, r.shape)) or "1", r.dtype, r.target, r.transform) for r in self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(5)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        lines += [f"ignored: {name} ({reason})" for name, reason in self.ignored.items()]
        lines += [f"assumed: {line}" for line in self.assumed]
        lines += [f"changed: {line}" for line in self.changed]
        lines += [f"sanity: {self.sanity}"] if self.sanity else []
        lines += [f"verified: {line}" for line in compared_table(self.verified)]
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """One line."""
        done = f"written to {self.out}" if self.out else "nothing written (dry run)"
        worst = max((row.error for row in self.verified), default=None)
        checked = "" if worst is None else f"{len(self.verified)} recorded arrays within {worst:.1e}, "
        return f"{self.family}, {self.layout} ({self.why}): {self.parameters:,} parameters, {checked}{done}"

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        fields = asdict(self)
        rows = {name: [row._asdict() for row in getattr(self, name)] for name in ("rows", "verified")}
        return fields | rows | {"out": self.out and str(self.out)}
