"""The families of networks. A new one is a module in ``families`` that offers ``FAMILIES``; nothing lists it."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from vtcd_jax.base.errors import InputError

from .types import BLOCK_SITES, Family, Model


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
    """What the library knows of a network's family; for a network of one's own what its config says of it."""
    known = all_families().get(getattr(model.config, "family", ""))
    if known is not None:
        return known
    title, sites = getattr(model.config, "title", ""), dict(getattr(model.config, "concept_sites", BLOCK_SITES.items()))
    preprocessing = model.preprocessing
    return Family(type(model.config), lambda _: model.module, lambda _: preprocessing, title, concept_sites=sites)


def citations_of(name: str) -> tuple[str, ...]:
    """The papers of a network family, as BibTeX entries; none for a family that is not known."""
    known = all_families().get(name)
    return known.citations if known is not None else ()
