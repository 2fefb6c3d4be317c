"""Sections: the contribution of a job to the report. Each reads only the run folder. Found in ``sections``.

A module of ``report/sections`` that has a ``SECTION`` adds to the page of every run of its job. ``Part`` is a piece of
the page with an anchor. Its HTML is trusted, so templates must escape external text (Jinja's autoescape).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True)
class Part:
    """A piece of the page.

    anchor: its id in the page.
    title:  text in the navigation bar, "" for none.
    html:   a complete ``<section>`` with this id.
    """

    anchor: str
    title: str
    html: Markup


@dataclass(frozen=True)
class Section:
    """The section of a job.

    job:       the name of the job whose runs it shows.
    title:     heading of the page, from the run's config.
    parts:     made from the run folder; empty if there are no results yet.
    citations: keys of the methods that the run uses (``citations.ENTRIES``), or complete BibTeX entries.
    """

    job: str
    title: Callable[[Mapping[str, Any]], str]
    parts: Callable[[Path], Sequence[Part]]
    citations: Callable[[Path], Sequence[str]] = lambda folder: ()


def find_sections(job: str) -> list[Section]:
    """The sections of a job's runs, in the order of their modules' names."""
    from . import sections

    result = []
    for module in pkgutil.iter_modules(sections.__path__):
        section = getattr(import_module(f"{sections.__name__}.{module.name}"), "SECTION", None)
        if section is not None and section.job == job:
            result.append(section)
    return result
