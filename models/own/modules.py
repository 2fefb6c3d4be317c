"""Linen and nnx modules whose submodules' outputs pass through a tap, without a change to their code.

Linen calls an interceptor around every method of every submodule. An nnx module is put together anew in every pass
(``nnx.merge``), in evaluation mode, and the submodules at the sites get a class of their own, whose call goes through
the tap; the user's module stays as it is. ``flax.nnx`` is imported on first use, because its import is slow.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vtcd_jax.base.errors import InputError, nearest

from ..taps import Tap
from .layout import ModuleSite, tokens_of

Call = Callable[[Any, jax.Array], Any]
"""(module, video [batch, time, height, width, 3]) -> prediction."""
SHOWN = 12  # submodules in a message


@dataclass(frozen=True, eq=False)
class LinenCall:
    """A linen module with named sites. variables: "params" and what else it has, as ``init`` gives them."""

    module: nn.Module
    sites: Mapping[str, ModuleSite]
    call: Call

    def __call__(self, variables: Any, video: jax.Array, tap: Tap) -> Any:
        names, met = _by_path(self.sites), set[str]()

        def intercept(method: Any, args: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
            value, path = method(*args, **keywords), "/".join(context.module.path)
            if context.method_name != "__call__":
                return value
            met.add(path)
            return _tapped(names.get(path, ()), self.sites, value, len(video), tap)

        with nn.intercept_methods(intercept):
            result = nn.apply(self.call, self.module)(variables, video)
        _check_paths(self.sites, met)
        return result


@dataclass(frozen=True, eq=False)
class NnxCall:
    """An nnx module with named sites. parameters: its numeric state, name -> array; the rest stays in ``constants``."""

    graph: Any
    structure: Any
    order: tuple[str, ...]
    constants: Mapping[str, Any]
    sites: Mapping[str, ModuleSite]
    call: Call

    @classmethod
    def of(cls, module: Any, sites: Mapping[str, ModuleSite], call: Call) -> tuple[NnxCall, dict[str, Any]]:
        """(the call, the parameters)."""
        from flax import nnx

        graph, state = nnx.split(module)
        leaves, structure = jax.tree_util.tree_flatten_with_path(state)
        named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
        parameters = {name: leaf for name, leaf in named.items() if jnp.issubdtype(leaf.dtype, jnp.number)}
        constants = {name: leaf for name, leaf in named.items() if name not in parameters}
        return cls(graph, structure, tuple(named), constants, sites, call), parameters

    def __call__(self, parameters: Any, video: jax.Array, tap: Tap) -> Any:
        from flax import nnx

        values = {**parameters, **self.constants}
        module = nnx.merge(self.graph, self.structure.unflatten([values[name] for name in self.order]))
        module.eval()
        found = {
            "/".join(map(str, path)): node for path, node in nnx.iter_graph(module) if isinstance(node, nnx.Module)
        }
        _check_paths(self.sites, set(found))
        for path, names in _by_path(self.sites).items():
            _intercept(found[path], lambda value, names=names: _tapped(names, self.sites, value, len(video), tap))
        return self.call(module, video)


def is_nnx(network: Any) -> bool:
    """Whether it is an nnx module; then ``flax.nnx`` has been imported already."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(network, nnx.Module)


def _intercept(module: Any, through: Callable[[Any], Any]) -> None:
    """Lets what calls of ``module`` give go through a function."""
    own: Any = type(module)

    class Tapped(own):
        def __call__(self, *args: Any, **keywords: Any) -> Any:  # as the module's own
            return through(own.__call__(self, *args, **keywords))

    module.__class__ = Tapped


def _tapped(names: tuple[str, ...], sites: Mapping[str, ModuleSite], value: Any, batch: int, tap: Tap) -> Any:
    """What a submodule gives, with the edits of its sites."""
    if not names:
        return value
    first, rest = (value[0], value[1:]) if isinstance(value, tuple) else (value, None)
    for name in names:
        tokens, restore = tokens_of(name, sites[name], first, batch)
        if name in tap.seen:
            raise InputError(f"site {name!r}: {sites[name].path!r} is called more than once in a pass")
        first = restore(tap(name, tokens))
    return first if rest is None else (first, *rest)


def _by_path(sites: Mapping[str, ModuleSite]) -> dict[str, tuple[str, ...]]:
    """path -> names of its sites."""
    paths = dict.fromkeys(site.path for site in sites.values())
    return {path: tuple(name for name, site in sites.items() if site.path == path) for path in paths}


def _check_paths(sites: Mapping[str, ModuleSite], met: set[str]) -> None:
    """Raises InputError for paths at which no submodule was met."""
    for name, site in sites.items():
        if site.path not in met:
            known = sorted(met - {""})
            shown = ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
            close = nearest(site.path, known)
            raise InputError(f"site {name!r}: no submodule {site.path!r}; nearest: {close}; there are {shown}")
