"""``wrap``: a network of one's own as a ``Model``, so that everything in this library works on it.

    function   (params, video, tap) -> prediction, in which ``value = tap("name", value)`` makes a site
    module     linen or nnx: the outputs of submodules are sites, its code stays as it is

A prediction is logits [batch, class], an ``Output``, or anything with a field ``logits``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from vtcd_jax.base.errors import InputError

from ..taps import Tap, output_shapes
from ..taps import sites as every_site
from ..types import BLOCK_SITES, Inputs, Model, Output, Preprocessing
from .layout import ModuleSite
from .modules import Call, LinenCall, NnxCall, is_nnx

Function = Callable[[Any, jax.Array, Tap], Any]


@dataclass(frozen=True)
class WrappedConfig:
    """What the library asks of a network's config.

    title:         of the network, for reports.
    program:       SHA-256 (hex) of its traced program: two networks of equal parameters and other code differ.
    concept_sites: as in ``Family``.
    """

    title: str
    program: str = ""
    concept_sites: tuple[tuple[str, str], ...] = ()
    family: str = "wrapped"


@dataclass(frozen=True, eq=False)
class Wrapped:
    """Stands where a Flax module stands in a ``Model``."""

    function: Function

    def apply(self, variables: Mapping[str, Any], inputs: Inputs, tap: Tap) -> Output:
        return output_of(self.function(variables["params"], inputs.video, tap))


def wrap(
    network: Function | nn.Module | Any,
    params: Any = None,
    *,
    preprocessing: Preprocessing,
    sites: Mapping[str, ModuleSite] | None = None,
    call: Call | None = None,
    labels: Sequence[str] = (),
    name: str = "own network",
) -> Model:
    """A ``Model`` of any JAX function, linen module or nnx module.

    network:       a function (params, video, tap) -> prediction; or a module.
    params:        the function's parameters, any pytree of arrays; a linen module's variables (or its "params" alone);
                   None for an nnx module, which has its own.
    preprocessing: size of its clips, and how pixels are normalised before they get there. ``video`` is float
                   [batch, time, height, width, 3]; a network of single images has ``num_frames`` 1.
    sites:         of a module: name -> ``ModuleSite``. Names as those of the library's own networks
                   ("block_0/attn/key") make ``discover`` find keys by itself; otherwise it takes all sites.
    call:          of a module: (module, video) -> prediction; default: ``module(video)``.
    labels:        class names in the order of the logits.

    The network is traced once, without arithmetic. Raises InputError for what is no network, for sites that meet no
    submodule or do not fit its output, and for a prediction without logits or without a batch.

    >>> import jax.numpy as jnp, vtcd_jax as vtcd
    >>> def network(params, video, tap):
    ...     patches = video.reshape(len(video), 2, 4, 4, 4, 4, 3).mean((3, 5))
    ...     tokens = tap("tokens", patches @ params["embed"])
    ...     return tokens.mean((1, 2, 3)) @ params["head"]
    >>> params = {"embed": jnp.ones((3, 8)), "head": jnp.ones((8, 5))}
    >>> size = vtcd.models.Preprocessing(num_frames=2, height=16, width=16)
    >>> model = vtcd.models.wrap(network, params, preprocessing=size)
    >>> {site: shape.shape for site, shape in vtcd.models.sites(model).items()}
    {'tokens': (1, 2, 4, 4, 8)}
    """
    function, params = function_of(network, params, dict(sites or {}), call)
    model = Model(params, Wrapped(function), WrappedConfig(name), preprocessing, name=name)  # type: ignore[arg-type]
    predicted, found = _traced(model)
    kinds = _concept_sites({site: value.shape for site, value in found.items()})
    config = WrappedConfig(name, _program(model), tuple(kinds.items()))
    return model.replace(config=config, labels=_labels(labels, predicted))  # type: ignore[attr-defined]


def output_of(prediction: Any) -> Output:
    """An ``Output`` of what a network of one's own returns."""
    if isinstance(prediction, Output):
        return prediction
    logits = prediction if hasattr(prediction, "shape") else getattr(prediction, "logits", None)
    if logits is None:
        raise InputError(f"the network returns {type(prediction).__name__}; return logits [batch, class], or an Output")
    if logits.ndim != 2:
        raise InputError(f"the network returns an array of shape {list(logits.shape)}, not logits [batch, class]")
    return Output(logits=logits)


def function_of(network: Any, params: Any, sites: dict[str, ModuleSite], call: Call | None) -> tuple[Function, Any]:
    """(function of (params, video, tap), params)."""
    own_call = call or (lambda module, video: module(video))
    if is_nnx(network):
        if params is not None:
            raise InputError("an nnx module has its own parameters: leave out params")
        return NnxCall.of(network, sites, own_call)
    if isinstance(network, nn.Module):
        variables = params if isinstance(params, Mapping) and "params" in params else {"params": params}
        return LinenCall(network, sites, own_call), variables
    if not callable(network):
        raise InputError(f"{type(network).__name__} is no network: give a function (params, video, tap) or a module")
    if sites or call is not None:
        raise InputError("sites and call are for modules; in a function write value = tap(name, value)")
    return network, params


def _traced(model: Model) -> tuple[Output, dict[str, jax.ShapeDtypeStruct]]:
    """What it predicts of a clip, and its sites. Raises InputError where it cannot be traced."""
    try:
        return output_shapes(model), every_site(model)
    except InputError:
        raise
    except Exception as error:  # whatever a user's code raises
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{model.name} fails for a clip of its preprocessing's size: {reason}") from error


def _concept_sites(shapes: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """Keys, queries and values by the names of the library's own networks; else all sites with positions."""
    kinds = {kind: p for kind, p in BLOCK_SITES.items() if any(re.fullmatch(p, site) for site in shapes)}
    everything = "|".join(re.escape(site) for site, shape in shapes.items() if len(shape) in (5, 6))
    return kinds or ({"key": everything} if everything else {})


def _labels(labels: Sequence[str], predicted: Output) -> tuple[str, ...]:
    count = 0 if predicted.logits is None else predicted.logits.shape[-1]
    if labels and len(labels) != count:
        raise InputError(f"{len(labels)} labels for {count} logits; give one per class, in their order")
    return tuple(labels) or tuple(f"class_{i}" for i in range(count))


def _program(model: Model) -> str:
    """SHA-256 (hex) of the traced pass and its constants."""

    def predict(params: Any, video: jax.Array) -> Any:
        return model.module.apply({"params": params}, Inputs(video), Tap({}, ()))

    p = model.preprocessing
    video = jax.ShapeDtypeStruct((1, p.num_frames, p.height, p.width, 3), np.float32)
    traced = jax.make_jaxpr(predict)(model.params, video)
    digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", str(traced)).encode())
    for constant in traced.consts:
        array = np.asarray(constant) if not jax.dtypes.issubdtype(constant.dtype, jax.dtypes.prng_key) else None
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
