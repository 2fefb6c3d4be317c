"""Which folders are packages; everything else stands in pyproject.toml.

The rooms ``models`` and ``converters`` lie at the top level and are installed inside ``vtcd_jax``. Folders are looked
up, so that a new room needs no line here.
"""

from setuptools import find_packages, setup

OUTSIDE = ("models", "converters")  # scripts/dev.py may have linked them into vtcd_jax: found there, they are left out


def packages() -> list[str]:
    """Dotted names of every package of the wheel."""
    inside = find_packages("vtcd_jax", exclude=[pattern for room in OUTSIDE for pattern in (room, f"{room}.*")])
    outside = [name for room in OUTSIDE for name in (room, *(f"{room}.{inner}" for inner in find_packages(room)))]
    return ["vtcd_jax", *(f"vtcd_jax.{name}" for name in sorted([*inside, *outside]))]


setup(packages=packages())
