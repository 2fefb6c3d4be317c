"""What a conversion did, for people and for the manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .rules import Row


@dataclass(frozen=True)
class ConversionReport:
    """What was recognised, and what became of every tensor.

    family, layout: our family, and whose names the source had.  why: container and prefixes, in words.
    rows:       per used source tensor: name, shape, dtype, our name(s), transform.
    ignored:    what the file held besides -> why it was left.
    assumed:    settings that nobody told, in words.
    config:     the network's config.  parameters: how many numbers it has.
    labels:     class names in logit order.
    out:        the model folder, None after a dry run.
    """

    family: str
    layout: str
    why: str
    rows: tuple[Row, ...]
    ignored: dict[str, str]
    assumed: tuple[str, ...]
    config: Any
    parameters: int
    labels: tuple[str, ...]
    out: Path | None

    def table(self) -> str:
        """Everything as text: a line per tensor, then what was ignored and assumed."""
        cells = [("source", "shape", "dtype", "ours", "transform")]
        cells += [(r.source, "x".join(map(str, r.shape)) or "1", r.dtype, r.target, r.transform) for r in self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(5)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        lines += [f"ignored: {name} ({reason})" for name, reason in self.ignored.items()]
        lines += [f"assumed: {line}" for line in self.assumed]
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """One line."""
        done = f"written to {self.out}" if self.out else "nothing written (dry run)"
        return f"{self.family}, {self.layout} ({self.why}): {self.parameters:,} parameters, {done}"

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        fields = asdict(self)
        return fields | {"rows": [row._asdict() for row in self.rows], "out": self.out and str(self.out)}
