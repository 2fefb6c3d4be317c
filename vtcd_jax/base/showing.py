"""How results show themselves: columns for tables, HTML for notebooks, data frames for pandas."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import InputError

Columns = Mapping[str, Sequence[Any] | np.ndarray]
"""Name -> values, all equally long."""
ROWS = 10  # of a table in a notebook


def html_table(caption: str, columns: Columns, rows: int = ROWS) -> str:
    """The first rows as an HTML table; all text is escaped."""
    count = len(next(iter(columns.values()), ()))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell(values[i]))}</td>" for values in columns.values()) + "</tr>"
        for i in range(min(rows, count))
    )
    rest = f"<p>and {count - rows:,} more rows</p>" if count > rows else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if count else ""
    return f"<div><p>{html.escape(caption)}</p>{table}{rest}</div>"


def cell(value: Any) -> str:
    """A value as text: numbers with four digits, nothing for NaN and None."""
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def to_pandas(columns: Columns) -> Any:
    """A ``pandas.DataFrame`` of the columns. Raises InputError where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise InputError("pandas is not installed: pip install pandas; table() gives the same columns") from None
    return pandas.DataFrame({name: np.asarray(values) for name, values in columns.items()})


def few(names: Sequence[str], count: int = 3) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:count]) + (f" and {len(names) - count:,} more" if len(names) > count else "")
