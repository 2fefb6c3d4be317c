"""Multiply-accumulates of a forward pass, counted in its traced form: by shapes alone, without memory or arithmetic.

Matrix products and convolutions count, as in published GMACs (often printed as GFLOPs); everything else is small beside
them. Where the code differs by platform, the textbook form counts: the tiles of the others may be padded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from .building import param_shapes
from .registry import family
from .taps import example_inputs, forward
from .types import Model


def macs(config: Any) -> int:
    """Multiply-accumulates of one clip through the network of this config."""
    kind = family(config.family)
    model = Model(param_shapes(config), kind.module(config), config, kind.preprocessing(config))
    traced = jax.make_jaxpr(lambda m, inputs: forward(m, inputs)[0])(model, example_inputs(model))
    return count(traced.jaxpr)


def count(jaxpr: Jaxpr) -> int:
    """Multiply-accumulates of a jaxpr. Of other branches the largest counts; ``while`` loops count once."""
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return equation.outvars[0].aval.size * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        return equation.outvars[0].aval.size * kernel.size // kernel.shape[params["dimension_numbers"].rhs_spec[0]]
    if name == "cond":
        counts = [count(branch.jaxpr) for branch in params["branches"]]
        platforms = params.get("branches_platforms") or ()
        return counts[platforms.index(None)] if None in platforms else max(counts)
    inner = sum(count(jaxpr) for jaxpr in _inside(params.values()))
    return inner * params["length"] if name == "scan" else inner


def _inside(values: Any) -> Iterator[Jaxpr]:
    """The jaxprs among the parameters of an equation."""
    for value in values:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _inside(value)
