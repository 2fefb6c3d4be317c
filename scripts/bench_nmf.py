"""Measurement of ``bench.py factorise``: convex NMF of all heads of a network, and VTCD's released code.

ours      ``fit_heads``: float32, one head per core at a time, each until its error falls by less than ``tol`` of itself
          over 20 steps
released  NumPy in float64, one head after the other, 10,000 iterations each, the error after each; the products with
          A⁺ and A⁻ as they stand in the equations. A few hundred iterations of a few heads are timed, by turns with
          ours, and scaled up.

Both start from the same k-means labels, and their errors after the same number of steps are compared (``difference``).
``excess`` is what the stopping rule gives away: the error at the stop over that after all 10,000 steps, minus one; the
ratio at the same number of steps is the one at equal error. Features are Gaussian clusters with mixed signs and noise.
The floor is the counted arithmetic of the matrix products over the rate of a plain float32 product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from bench_tools import difference, matmul_rate, seconds

from vtcd_jax.concepts.clustering.kmeans import kmeans
from vtcd_jax.concepts.dictionaries import fit_heads
from vtcd_jax.concepts.dictionaries.convex_nmf import Factorization, initial_factors
from vtcd_jax.concepts.dictionaries.products import Form

RELEASED_STEPS = 10_000
EPS = 1e-9


@dataclass(frozen=True)
class Factorise:
    """Seconds of convex NMF for all heads of a network, and the ratio to the released code."""

    heads: int = 144
    samples: int = 360
    """Tubelets per head."""
    channels: int = 64
    concepts: int = 14
    """Largest number of concepts of a head; each has 5 or more."""
    tol: float = 1e-6
    """The stopping rule; discovery's default is 1e-4."""
    compared: int = 8
    """Heads that also run all 10,000 steps, and by "features", in turn with the released code."""
    iterations: int = 200
    """Of each turn."""
    pairs: int = 3
    """Timed pairs."""
    tiny: bool = False
    """Toy sizes instead, for tests."""
    threads: int = 2
    """Cores to use."""
    json: bool = False
    """Print one JSON object."""


TINY = Factorise(heads=3, samples=30, channels=6, concepts=5, compared=2, iterations=20, pairs=1, tiny=True)


def features(settings: Factorise) -> tuple[np.ndarray, np.ndarray]:
    """X [head, sample, channel]: clusters of different sizes around centres of mixed signs, an offset per head, and
    noise; and the number of concepts [head].
    """
    rng = np.random.default_rng(0)
    X = np.empty((settings.heads, settings.samples, settings.channels), np.float32)
    k = rng.integers(min(5, settings.concepts), settings.concepts + 1, settings.heads).astype(np.int32)
    for values, number in zip(X, k, strict=True):
        centres = 1.5 * rng.normal(size=(number, settings.channels))
        labels = rng.choice(number, settings.samples, p=rng.dirichlet(np.full(number, 2.0)))
        values[:] = centres[labels] + 0.5 * rng.normal(size=settings.channels) + rng.normal(size=values.shape)
    return X, k


class Task(NamedTuple):
    """X [head, sample, channel], labels [head, sample] to start from, numbers of concepts [head]."""

    X: np.ndarray
    labels: np.ndarray
    k: np.ndarray

    def first(self, heads: int) -> Task:
        return Task(*(part[:heads] for part in self))


def task_of(settings: Factorise) -> Task:
    X, k = features(settings)
    one = jax.jit(lambda x, number, key: kmeans(x, number, key, maximum=settings.concepts).labels)
    keys = jax.random.split(jax.random.key(0), len(X))
    return Task(X, np.stack([one(*head) for head in zip(X, k, keys, strict=True)]), k)


def measure_factorise(settings: Factorise) -> dict[str, Any]:
    """All that is printed."""
    settings = replace(TINY, threads=settings.threads) if settings.tiny else settings
    task = task_of(settings)
    few = task.first(settings.compared)

    def run(task: Task, steps: int, tol: float, form: Form = "gram") -> Factorization:
        return fit_heads(*task, concepts=settings.concepts, max_steps=steps, tol=tol, form=form)

    def stopped(task: Task, form: Form) -> tuple[float, np.ndarray, np.ndarray]:
        """Seconds, and steps and last error [head], with the stopping rule."""
        run(task.first(1), RELEASED_STEPS, settings.tol, form)  # compiles
        found = []
        spent = seconds(lambda: found.append(run(task, RELEASED_STEPS, settings.tol, form)))
        return spent, np.asarray(found[0].steps), np.asarray(found[0].error[:, -1])

    spent, steps, errors = stopped(task, "gram")
    few_spent, _, few_errors = stopped(few, "gram")
    other_spent, other_steps, other_errors = stopped(few, "features")
    final = np.asarray(run(few, RELEASED_STEPS, 0.0).error[:, -1])
    turns = take_turns(settings, few, lambda: run(few, settings.iterations, 0.0))
    ratios = [theirs / ours for ours, theirs, _ in turns]
    begun = np.asarray(run(few.first(1), settings.iterations, 0.0).error[0, 1:])
    expected = released(few.first(1), settings.iterations)
    return {
        "device": jax.devices()[0].device_kind,
        "threads": settings.threads,
        "size": [*task.X.shape, settings.concepts],
        "tol": settings.tol,
        "seconds": spent,
        "steps": float(steps.mean()),
        "error": float(errors.mean()),
        "excess": float((few_errors / final - 1).max()),
        "released_seconds": median(theirs for _, theirs, _ in turns) * RELEASED_STEPS * len(task.X),
        "step_ratios": ratios,
        "ratios": [ratio * RELEASED_STEPS / float(steps.mean()) for ratio in ratios],
        "operations": operations(settings),
        "share": median(operations(settings) / (ours * rate) for ours, _, rate in turns),
        "features": {
            "ratio": few_spent / other_spent,
            "steps": float(other_steps.mean()),
            "excess": float((other_errors / few_errors - 1).mean()),
        },
        "difference": difference(begun, expected),
    }


def take_turns(settings: Factorise, few: Task, ours: Callable[[], Any]) -> list[tuple[float, float, float]]:
    """Per pair: seconds per head and step, ours and released, and the rate of a matrix product."""
    rate = matmul_rate(64 if settings.tiny else 2048)
    ours()  # compiles
    count, timed = settings.iterations, few.first(2)
    return [
        (
            seconds(ours) / (len(few.X) * count),
            seconds(lambda: released(timed, count)) / (len(timed.X) * count),
            rate(),
        )
        for _ in range(settings.pairs)
    ]


def released(task: Task, steps: int) -> np.ndarray:
    """Relative errors [step] of the last head, after factorising one head after the other in float64."""
    errors = np.empty(steps)
    for x, labels, k in zip(*task, strict=True):
        X = x.astype(np.float64)
        gram = X @ X.T
        plus, minus = (np.abs(gram) + gram) / 2, (np.abs(gram) - gram) / 2
        G, H = (np.asarray(part, np.float64) for part in initial_factors(jnp.asarray(labels), int(k)))
        for step in range(steps):
            plus_G, minus_G = plus @ G, minus @ G
            H = (H.T * np.sqrt((plus_G + H.T @ (G.T @ minus_G)) / (minus_G + H.T @ (G.T @ plus_G) + EPS))).T
            HH = H @ H.T
            G = G * np.sqrt((plus @ H.T + minus_G @ HH) / (minus @ H.T + plus_G @ HH + EPS))
            errors[step] = np.linalg.norm(X.T - (X.T @ G) @ H) / np.linalg.norm(X)
    return errors


def operations(settings: Factorise) -> int:
    """Of the matrix products of one step of one head, two per multiply-add: |A| twice, X five times, k x k seven."""
    M, d, k = settings.samples, settings.channels, settings.concepts
    return 4 * M * M * k + 10 * M * d * k + 14 * M * k * k


def print_factorise(r: dict[str, Any]) -> None:
    heads, samples, channels, concepts = r["size"]
    found = f"{r['steps']:.0f} steps a head, error {r['error']:.4f}"
    print(f"convex NMF, {heads} heads x {samples} tubelets x {channels}, k <= {concepts}, {r['threads']} threads")
    print(f"  ours, to {r['tol']:.0e}         {r['seconds']:8.3g} s, {found}")
    share = f"{r['share']:.0%} of a matrix product's rate"
    print(f"  counted                {r['operations'] / 1e6:8.3g} MFLOP a step, {share}")
    print(f"  released, 10,000 steps {r['released_seconds']:8.3g} s, scaled up from a few hundred steps of two heads")
    for name, label in (("ratios", "ratio"), ("step_ratios", "ratio, step by step")):
        pairs = ", ".join(f"{ratio:.1f}" for ratio in r[name])
        print(f"  {label:22} {median(r[name]):8.3g} (pair by pair: {pairs})")
    print(f"  the stop gives away    {r['excess']:8.1e} of the error after 10,000 steps, at most")
    print(f"  difference             {r['difference']:8.1e} of the largest error, from the same start")
    other = r["features"]
    print(
        f'  form "features"        {other["ratio"]:8.3g} times as fast to the same rule, {other["steps"]:.0f} steps, '
        f"error {other['excess']:+.1e}"
    )
