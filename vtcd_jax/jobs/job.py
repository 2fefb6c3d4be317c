"""Jobs: settings, inputs, and an ordered list of stages over one run folder.

A job holds what is specific to its method; ``execute`` handles folders, resuming, shards, dry runs, progress and errors
for all jobs. Each module or subpackage of this package with a ``JOB`` is found (``find``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from vtcd_jax.runs import Progress, Run, Work

S = TypeVar("S")  # settings
I = TypeVar("I")  # inputs: model, clips, targets, other runs  # noqa: E741


@dataclass(frozen=True)
class Context(Generic[S, I]):
    """What a stage works with.

    settings: of the run.
    run:      the open run folder.
    work:     store and progress, for functions of the library.
    inputs:   returns the job's inputs, which are loaded at the first call: a stage that only reads the run folder needs
              neither model nor clips.
    result:   returns the result of an earlier stage.
    """

    settings: S
    run: Run
    work: Work
    inputs: Callable[[], I]
    result: Callable[[str], Any]


@dataclass(frozen=True)
class Cost:
    """Upper bound for the cost of a part of a stage.

    passes: forward passes of the network.
    memory: bytes.
    note:   a short remark, such as the option that bounds it.
    """

    name: str
    seconds: float
    passes: int = 0
    memory: int = 0
    note: str = ""


@dataclass(frozen=True)
class Stage(Generic[S, I]):
    """A part of a job that writes files into the run folder.

    name:   also the command ``vtcd NAME RUN``, and the folder of the stage's record.
    help:   what the command does, in one sentence.
    reads:  names of the earlier stages whose results it reads.
    files:  all files that it may write, relative to the run folder.
    run:    does the work and writes the files. Blocks of unfinished work go through ``Context.work``.
    load:   the result, from the files alone.
    cost:   its cost, for ``--dry-run``, from the measurements of ``Job.measure``.
    lines:  lines that are printed about a result; gets the run folder too.
    blocks: groups of blocks that are removed when the stage is done, because its files contain them.
    needs_inputs: whether ``run`` asks for the job's inputs.
    shard:  computes one shard of the stage's blocks (``vtcd NAME RUN --shard I/N``); None: cannot be divided.
    settings: names of the settings that it depends on and that may change in a run (``changes``).
    unshared: why a run with these settings cannot be divided into shards; "" if it can.
    """

    name: str
    help: str
    files: tuple[str, ...]
    run: Callable[[Context[S, I]], None]
    load: Callable[[Path], Any]
    reads: tuple[str, ...] = ()
    cost: Callable[[S, I, Any], Sequence[Cost]] = lambda settings, inputs, measured: ()
    lines: Callable[[Any, Path], list[str]] = lambda result, folder: []
    blocks: tuple[str, ...] = ()
    needs_inputs: bool = True
    shard: Callable[[Context[S, I]], None] | None = None
    settings: tuple[str, ...] = ()
    unshared: Callable[[S], str] = lambda settings: ""


@dataclass(frozen=True)
class Job(Generic[S, I]):
    """A kind of run folder.

    name:     as in ``config.json``.
    settings: a frozen dataclass; from the command line, a TOML file or Python.
    entry_commands: commands that begin a run: name -> (help, last stage).
    prepare:  loads and checks the inputs of the stages; writes nothing.
    sketch:   the inputs of a dry run, if they can be had without all the work of ``prepare``; None: ``prepare``.
    inputs:   further entries of ``config.json``: hashes of the inputs, choices that depend on them.
    stages:   in order; the last one is usually ``REPORT``.
    measure:  measures small pieces of the work for the costs of the stages; writes nothing.
    facts:    lines about the inputs that are printed before the first stage, and before a dry run.
    outline:  lines about the amount of work, for a dry run.
    resolve:  settings with the defaults that depend on the inputs filled in.
    resolved: names in ``config.json`` that are chosen while the stages run (``Run.resolved``).
    folders:  folders that the stages write.
    presets:  named sets of settings, as a TOML file has them (``--preset NAME``).
    version:  of the files; raised when older runs can no longer be read.
    """

    name: str
    settings: type[S]
    entry_commands: Mapping[str, tuple[str, str]]
    prepare: Callable[[S, Progress], I]
    inputs: Callable[[S, I], Mapping[str, Any]]
    stages: tuple[Stage[S, I], ...]
    sketch: Callable[[S, Progress], I] | None = None
    measure: Callable[[S, I], Any] = lambda settings, inputs: None
    facts: Callable[[I], list[str]] = lambda inputs: []
    outline: Callable[[S, I], list[str]] = lambda settings, inputs: []
    resolve: Callable[[S, I], S] = lambda settings, inputs: settings
    resolved: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: int = 1

    def stage(self, name: str) -> Stage[S, I]:
        """The stage of a name."""
        return next(stage for stage in self.stages if stage.name == name)
