"""``Work``: how a resumable function stores results, reports progress and divides its blocks.

A function declares its steps in its own module, so that the command line or a notebook needs no list of them. Functions
take one ``Work`` instead of several arguments. The default stores nothing, reports nothing and computes everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from .blocks import Arrays, BlockStore


@dataclass(frozen=True)
class Step:
    """A part of the work.

    name:  short name, for events.
    title: text for users.
    unit:  what is counted.
    brief: shown only while it runs.
    """

    name: str
    title: str
    unit: str = "step"
    brief: bool = False


@runtime_checkable
class Progress(Protocol):
    """Called as progress(step, done, total), with a few words of detail where useful."""

    def __call__(self, step: Step, done: int, total: int, detail: str = "") -> None: ...


def silent(step: Step, done: int, total: int, detail: str = "") -> None:
    """Progress that is not shown."""


@dataclass(frozen=True)
class Shard:
    """The ``index``-th of ``count`` equal parts of the work, index from 0."""

    index: int = 0
    count: int = 1

    def has(self, number: int) -> bool:
        """Whether the block of this number belongs to the shard."""
        return number % self.count == self.index


WHOLE = Shard()


def never() -> bool:
    """A ``stop`` that is always False."""
    return False


@dataclass(frozen=True)
class Work:
    """How a function does its work.

    store:    where finished blocks are kept; None: nowhere.
    progress: called after each piece of work.
    shard:    the blocks that this process computes.
    stop:     called between blocks; once True, the function raises KeyboardInterrupt after saving the running blocks.
    group:    prefix of the names of all blocks.
    """

    store: BlockStore | None = None
    progress: Progress = silent
    shard: Shard = WHOLE
    stop: Callable[[], bool] = never
    group: str = ""

    def within(self, group: str) -> Work:
        """The same work with block names below ``group``."""
        return replace(self, group=f"{self.group}{group}/")

    def read(self, name: str) -> Arrays | None:
        """A stored block, else None."""
        return None if self.store is None else self.store.read_block(self.group + name)

    def write(self, name: str, arrays: Arrays) -> None:
        """Stores a block, if there is a store."""
        if self.store is not None:
            self.store.write_block(self.group + name, arrays)

    def discard(self, name: str, reason: str) -> None:
        """Removes a block that cannot be used."""
        if self.store is not None:
            self.store.discard_block(self.group + name, reason)

    def remove(self, name: str) -> None:
        """Removes all blocks below a name, once a result contains them."""
        if self.store is not None:
            self.store.remove_blocks(self.group + name)

    def cached(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The stored block of a name; if there is none, the result of ``make``, which is then stored."""
        stored = self.read(name)
        if stored is not None:
            return stored
        arrays = make()
        self.write(name, arrays)
        return arrays
