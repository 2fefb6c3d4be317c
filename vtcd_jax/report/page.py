"""The page: one HTML file that works offline and makes no network requests.

Styles and the script are inline and the clips are data addresses (H.264). A content security policy with the
script's hash forbids everything else, and all external text is escaped. The same parts give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import write_text
from vtcd_jax.runs import read_config

from .citations import bibtex
from .section import Part, find_sections
from .words import flat_settings

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Table:
    """A collapsed table of pairs at the end of the page. code: whether values are shown as code."""

    title: str
    rows: Sequence[tuple[str, str]]
    code: bool = False


def write_report(run: str | Path) -> Path:
    """Writes ``report/index.html`` of a run folder and returns its path.

    Raises InputError for a folder that is not a run, and for a run without results.
    """
    folder = Path(run)
    config = read_config(folder)
    if config is None:
        raise InputError(f"{folder}: is not a run folder; give one")
    sections = find_sections(str(config.get("job")))
    parts = [part for section in sections for part in section.parts(folder)]
    if not parts:
        raise InputError(f"{folder}: has no results yet, so there is nothing to report; run its job first")
    methods = [method for section in sections for method in section.citations(folder)]
    tables = [Table("Settings", flat_settings(config["settings"]))]
    tables += [Table(title, list(values.items()), True) for title, values in _hashes(config)]
    tables.append(Table("Versions", [(name, str(value)) for name, value in config.get("made_with", {}).items()]))
    html = render_page(sections[0].title(config), parts, tables, methods)
    path = folder / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html)
    return path


def render_page(
    title: str, parts: Sequence[Part], tables: Sequence[Table], methods: Sequence[str], home: str = "Concepts"
) -> str:
    """The page's text. methods: see ``Section.citations``.  home: text of the link to the top."""
    script = (TEMPLATES / "report.js").read_text("utf-8")
    return render(
        "report.html",
        {
            "title": title,
            "home": home,
            "parts": parts,
            "tables": tables,
            "bibtex": bibtex(methods) if methods else "",
            "style": Markup((TEMPLATES / "report.css").read_text("utf-8")),
            "script": Markup(script),
            "script_hash": base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode(),
        },
    )


def render(template: str, values: Mapping[str, Any]) -> Markup:
    """A template of this package; all ``values`` are escaped, except ``Markup``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return Markup(environment.get_template(template).render(**values))


def _hashes(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, str]]]:
    """The config's tables of hashes with their titles: names of files or clips -> sha256."""
    groups = [(name, value) for name, value in config.items() if isinstance(value, Mapping) and value]
    hashes = [(name, g) for name, g in groups if all(isinstance(v, str) and len(v) == 64 for v in g.values())]
    return [(name.replace("_", " ").capitalize(), group) for name, group in hashes]
