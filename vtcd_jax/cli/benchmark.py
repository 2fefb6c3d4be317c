"""``vtcd benchmark``, both versions. Docstrings are the help texts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from vtcd_jax.base.errors import InputError
from vtcd_jax.planted.evaluation.settings import VtcdSettings
from vtcd_jax.runs import Work
from vtcd_jax.runs.folder import check_parents

from .cache import keep_compilations
from .jobs import naming
from .options import COMMON, Common, Flat
from .progress import Progress

FIRST = ("noise", "proposals")  # options of version 1 alone
SECOND = ("levels", "hidden_seed", "methods")


@dataclass(frozen=True)
class Given:
    """What was given; None takes the default of the version."""

    clips: int | None = None
    """Planted clips per seed (16; version 2: 8): concepts are found, ranked and chosen on one half, evaluated on the
    other."""
    seeds: int | None = None
    """Number of seeds (5), each with its own clips, in version 2 also its own network; intervals are over seeds."""
    seed: int | None = None
    """The first seed (0)."""
    steps: int | None = None
    """Steps of the removal curves (20)."""
    controls: int | None = None
    """Draws of random concepts, the control (10; version 2: 3)."""
    noise: float | None = None
    """Version 1: length of the random part of a key (0.1); the part that its head detects has length 1."""
    proposals: tuple[Literal["slic", "tokens", "crops"], ...] | None = None
    """Version 1: what concepts are found in, each evaluated by itself: single tokens, tubelets, random boxes (tokens
    slic crops; with --nmf.assign tubelets: slic crops)."""
    levels: tuple[float, ...] | None = None
    """Version 2: levels of noise, lengths of the random part of a key (0.1 0.5 1)."""
    hidden_seed: str | None = None
    """Version 2: a secret text from which networks and clips are drawn; the file holds only a hash of it."""
    methods: tuple[str, ...] | None = None
    """Version 2: names of the methods to compare (all)."""


NOTHING_GIVEN, VTCD = Given(), VtcdSettings()


def benchmark(
    given: Annotated[Given, Flat] = NOTHING_GIVEN,
    method: Annotated[VtcdSettings, Flat] = VTCD,
    *,
    version: Literal[1, 2] = 1,
    out: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    common: Annotated[Common, Flat] = COMMON,
) -> None:
    """Evaluate discovery and ranking on hand-written networks and clips with known right answers.

    Args:
        given: Settings of the evaluation.
        method: Settings of discovery and ranking.
        version: 1, one network with twelve properties; 2, networks by seed with many overlapping properties.
        out: JSON file for all numbers and claims.
        overwrite: Replace an existing file.
        dry_run: Print the amount of work; write nothing.
        common: Options of every command.
    """
    _refuse(given, SECOND if version == 1 else FIRST, version)
    if out is not None:
        check_parents(out)
    if out is not None and (out.is_dir() or (out.exists() and not overwrite)):
        raise InputError(f"{out}: exists already; give another file, or --overwrite to replace it")
    done = (_first if version == 1 else _second)(given, method, dry_run, common)
    if done is None:
        return
    lines, content = done
    print("\n".join(lines))
    if out is not None:
        from vtcd_jax.base.files import write_json

        with naming(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_json(out, content | {"method": dataclasses.asdict(method)})
        print(f"all numbers: {out}")


def _first(
    given: Given, method: VtcdSettings, dry_run: bool, common: Common
) -> tuple[list[str], dict[str, Any]] | None:
    """Lines and content of the file; None after a dry run."""
    from vtcd_jax.planted import Settings, lines, vtcd
    from vtcd_jax.planted import benchmark as judge
    from vtcd_jax.planted.evaluation.trials import passes

    settings = Settings(**_chosen(given, Settings))
    every = ("tokens", "slic", "crops") if method.nmf.assign == "tokens" else ("slic", "crops")
    proposals = every if given.proposals is None else given.proposals
    if not proposals:
        raise InputError("--proposals: give at least one of slic, tokens and crops")
    slic = {kind: dataclasses.replace(method.slic, proposals=kind) for kind in proposals}
    asked = {kind: dataclasses.replace(method, slic=own) for kind, own in slic.items()}
    if dry_run:
        trials = settings.seeds * len(asked)
        print(f"{trials} trials on {settings.clips} clips each, at most {trials * passes(settings, method):,} passes")
        return None
    keep_compilations()
    methods = {kind: vtcd(own) for kind, own in asked.items()}
    with Progress(common.quiet) as progress:
        report = judge(methods, settings, workers=_workers(), work=Work(progress=progress))
    return lines(report), report.to_json()


def _second(
    given: Given, method: VtcdSettings, dry_run: bool, common: Common
) -> tuple[list[str], dict[str, Any]] | None:
    """As ``_first``."""
    from vtcd_jax.planted import BASELINES, ComparisonSettings, baselines, compare, comparison_lines

    settings = ComparisonSettings(**_chosen(given, ComparisonSettings))
    names = _known(BASELINES if given.methods is None else given.methods, BASELINES)
    if dry_run:
        trials = settings.seeds * len(settings.levels) * len(names)
        print(
            f"{trials} trials on {settings.clips} clips each: {settings.seeds} networks, {len(settings.levels)} levels "
            f"of noise, {len(names)} methods"
        )
        return None
    keep_compilations()
    known = baselines(method)
    with Progress(common.quiet) as progress:
        methods = {name: known[name] for name in names}
        report = compare(methods, settings, workers=_workers(), work=Work(progress=progress))
    return comparison_lines(report), report.to_json()


def _workers() -> int:
    return min(os.cpu_count() or 1, 4)


def _chosen(given: Given, settings: type) -> dict[str, Any]:
    """The given values of the fields of a version's settings."""
    names = (field.name for field in dataclasses.fields(settings))
    return {name: value for name in names if (value := getattr(given, name)) is not None}


def _refuse(given: Given, others: Sequence[str], version: int) -> None:
    """Raises InputError for options of the other version."""
    for name in others:
        if getattr(given, name) is not None:
            other = 3 - version
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option} belongs to version {other}; leave it out, or add --version {other}")


def _known(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names, each once. Raises InputError for none and for unknown ones."""
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        said = f"unknown method {wrong[0]!r}" if wrong else "no method"
        raise InputError(f"--methods: {said}; choose from {', '.join(known)}")
    return list(dict.fromkeys(names))
