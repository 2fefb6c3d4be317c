"""What a network of version 2 is made of, drawn from its seed: directions of properties in keys, and circuits.

    r  RANK       dimensions of the space in which a head's keys lie, turned at random inside its channels
    m  PER_HEAD   properties in the keys of a head, m > r: their directions overlap
    u  [property r]  unit directions; q the direction that queries read, first of the r

The property that an acting head seeks has the component ``ALONG`` on q, and all others none, so that queries see it
alone while clustering sees all. Every property lies in at least one head, most in two to four, of one block or several.

A circuit turns the outputs o of one or two acting heads into a number y:

    alone      y = o₁
    or         y = min(o₁ + o₂, t) / t               both heads seek the same property: either is enough
    and        y = max(o₁ + o₂ - t, 0)               two properties
    inhibited  y = max(o₁ - o₂ / 2, 0)               the second property works against the first

and the logit of a class is Σ weight · y over circuits, plus a bias (``instance``). All are sums of max(0, linear), the
``Ramp`` below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .properties import EVENTS, LOOKS, NAMES

DEPTH, HEADS = 3, 4
RANK, PER_HEAD = 6, 8
ALONG = 0.6
LOW, HIGH = 0.7, 1.3  # lengths of properties in keys
ENOUGH, BOTH = 0.3, 0.6  # t of "or" and of "and"
KINDS = {"alone": 1, "or": 2, "and": 2, "inhibited": 2}  # -> heads
CIRCUITS = ("alone", "alone", "or", "and", "inhibited")
CLASSES = 4
STRENGTH = np.array([12.0, 10.0, 8.0, 7.0, 6.0])  # weights of a class, in another order for each class
ACTORS = (*LOOKS[4:], *EVENTS)  # what circuits read: looks and events that every clip has

Place = tuple[str, int]
SITES = tuple(f"block_{i}/attn/key" for i in range(DEPTH))
PLACES: tuple[Place, ...] = tuple((site, head) for site in SITES for head in range(HEADS))


@dataclass(frozen=True)
class Head:
    """A head.

    properties: indices into ``NAMES`` of what its keys contain.
    directions: float64 [property, r], of those, with their lengths.
    basis:      float64 [channel, r], orthonormal: the space in which its keys lie.
    sought:     position in ``properties`` of what queries look for.
    acts:       whether its output is used.
    """

    properties: tuple[int, ...]
    directions: Float[np.ndarray, "property r"]
    basis: Float[np.ndarray, "channel r"]
    sought: int
    acts: bool

    @property
    def name(self) -> str:
        """The sought property."""
        return NAMES[self.properties[self.sought]]


@dataclass(frozen=True)
class Ramp:
    """weight · max(0, Σ slopes · o + offset)."""

    slopes: tuple[float, ...]
    offset: float
    weight: float


@dataclass(frozen=True)
class Circuit:
    """kind: of ``KINDS``.  heads: indices into ``PLACES``.  weights: float64 [class]."""

    kind: str
    heads: tuple[int, ...]
    weights: Float[np.ndarray, "class"]

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """y as a sum of ramps. Outputs lie in 0 … 1."""
        if self.kind == "alone":
            return (Ramp((1.0,), 0.0, 1.0),)
        if self.kind == "or":
            return (Ramp((1.0, 1.0), 0.0, 1 / ENOUGH), Ramp((1.0, 1.0), -ENOUGH, -1 / ENOUGH))
        return (Ramp((1.0, 1.0), -BOTH, 1.0) if self.kind == "and" else Ramp((1.0, -0.5), 0.0, 1.0),)


@dataclass(frozen=True)
class Wiring:
    """heads: in the order of ``PLACES``.  biases: float64 [class], added to the logits."""

    heads: tuple[Head, ...]
    circuits: tuple[Circuit, ...]
    biases: Float[np.ndarray, "class"]

    def places(self, name: str) -> tuple[Place, ...]:
        """The heads whose keys contain a property."""
        return tuple(p for p, head in zip(PLACES, self.heads, strict=True) if NAMES.index(name) in head.properties)

    @property
    def planted(self) -> int:
        """Number of pairs of a property and a head whose keys contain it."""
        return sum(len(head.properties) for head in self.heads)


def wiring(rng: np.random.Generator, channels: int) -> Wiring:
    """Draws heads and circuits. channels: of a head."""
    order = [int(i) for i in rng.permutation(len(PLACES))]
    actors = [NAMES.index(name) for name in rng.permutation(ACTORS)]
    sought: dict[int, int] = {}
    circuits, strengths = [], [np.roll(rng.permutation(STRENGTH), k) for k in range(CLASSES)]
    for number, kind in enumerate(CIRCUITS):
        heads = tuple(order.pop() for _ in range(KINDS[kind]))
        first = actors.pop()
        second = first if kind == "or" else actors.pop()  # of a circuit of one head it is not used
        sought |= dict(zip(heads, (first, second), strict=False))
        circuits.append(Circuit(kind, heads, np.array([s[number] for s in strengths])))
    contents = _contents(rng, sought)
    heads = tuple(_head(rng, contents[i], i in sought, channels) for i in range(len(PLACES)))
    return Wiring(heads, tuple(circuits), np.zeros(CLASSES))


def _contents(rng: np.random.Generator, sought: dict[int, int]) -> list[list[int]]:
    """The properties of each head, the sought one first; every property is in some head."""
    contents: list[list[int]] = [[sought[i]] if i in sought else [] for i in range(len(PLACES))]
    placed = set(sought.values())
    for name in rng.permutation([i for i in range(len(NAMES)) if i not in placed]):
        min(contents, key=len).append(int(name))
    for own in contents:
        rest = [i for i in range(len(NAMES)) if i not in own]
        own += [int(i) for i in rng.choice(rest, PER_HEAD - len(own), replace=False)]
    return contents


def _head(rng: np.random.Generator, properties: list[int], acts: bool, channels: int) -> Head:
    basis = np.linalg.qr(rng.standard_normal((channels, RANK)))[0]
    inner = _spread(rng, len(properties), RANK - 1)
    directions = np.concatenate([np.zeros((len(inner), 1)), inner], 1)
    directions[0] = np.append(ALONG, np.sqrt(1 - ALONG**2) * inner[0])
    lengths = rng.uniform(LOW, HIGH, len(properties))
    return Head(tuple(properties), directions * lengths[:, None], basis, 0, acts)


def _spread(rng: np.random.Generator, count: int, dimensions: int, tries: int = 64) -> np.ndarray:
    """Unit vectors [count, dimensions]: of ``tries`` random sets the one whose largest |cosine| is smallest."""
    drawn = rng.standard_normal((tries, count, dimensions))
    drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
    cosines = np.abs(drawn @ drawn.swapaxes(1, 2)) - np.eye(count)
    return drawn[cosines.max((1, 2)).argmin()]
