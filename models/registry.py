"""The families of networks. A new one is a module in ``families`` that offers ``FAMILIES``; nothing lists it."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from vtcd_jax.base.errors import InputError

from .types import Family, Model


def all_families() -> dict[str, Family]:
    """Family name -> what the library knows of it: what the modules of ``families`` offer as ``FAMILIES``."""
    package = import_module(".families", __package__)
    return dict(_families(package.__name__, tuple(package.__path__)))


@cache
def _families(package: str, folders: tuple[str, ...]) -> dict[str, Family]:
    modules = [import_module(f"{package}.{m.name}") for m in pkgutil.iter_modules(folders)]
    return {name: found for module in modules for name, found in getattr(module, "FAMILIES", {}).items()}


def family(name: str) -> Family:
    known = all_families()
    if name not in known:
        raise InputError(f"unknown model family {name!r}; known: {', '.join(sorted(known))}")
    return known[name]


def family_of(model: Model) -> Family:
    """What the library knows of a network's family; nothing, with the defaults, for a module of one's own."""
    own = Family(type(model.config), lambda config: model.module, lambda config: model.preprocessing)
    return all_families().get(getattr(model.config, "family", ""), own)


def citations_of(name: str) -> tuple[str, ...]:
    """The papers of a network family, as BibTeX entries; none for a family that is not known."""
    known = all_families().get(name)
    return known.citations if known is not None else ()
