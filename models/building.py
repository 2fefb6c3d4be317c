"""A model from its config, with given or random parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vtcd_jax.base.random import Seed, as_key

from .registry import family
from .taps import Tap, example_inputs
from .types import Inputs, Model, Preprocessing


def param_shapes(config: Any) -> dict[str, Any]:
    """Nested dict of ``jax.ShapeDtypeStruct``: every parameter of the network, at no cost."""
    kind = family(config.family)
    module = kind.module(config)
    shapes = example_inputs(Model({}, module, config, kind.preprocessing(config)))

    def init(key: jax.Array, inputs: Inputs) -> Any:
        return module.init(key, inputs, Tap({}, ()))["params"]

    return jax.eval_shape(init, jax.random.key(0), shapes)


def build(
    config: Any,
    *,
    params: Any = None,
    key: Seed | None = None,
    labels: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    name: str = "",
) -> Model:
    """A model from its config: with the given parameters, or randomly initialised from ``key`` (default: 0)."""
    kind = family(config.family)
    module = kind.module(config)
    preprocessing = preprocessing or kind.preprocessing(config)
    model = Model(params, module, config, preprocessing, tuple(labels), name or config.family)
    if params is None:
        inputs = example_inputs(model)
        key = as_key(0 if key is None else key)
        blank = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), inputs)
        init = jax.jit(lambda k, x: module.init(k, x, Tap({}, ()))["params"])
        model = dataclasses.replace(model, params=init(key, blank))
    return model
