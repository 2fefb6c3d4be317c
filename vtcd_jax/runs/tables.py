"""Tables as CSV files whose bytes depend only on their content."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base.files import write_text


def write_csv(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A table with a header line; the same rows give the same bytes.

    Floats are written with the fewest digits that read back as the same number of their type, booleans as
    true and false, None as nothing. Raises ValueError where a row has other columns.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for i, row in enumerate(rows):
        if set(row) != set(columns):
            raise ValueError(f"row {i} has the columns {sorted(row)}, the table {sorted(columns)}")
        writer.writerow([_cell(row[column]) for column in columns])
    write_text(Path(path), text.getvalue())


def read_csv(path: str | os.PathLike) -> list[dict[str, str]]:
    """The rows of a table as text."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return str(value)  # str and repr agree for floats; NumPy's shortest form also for its own float types
