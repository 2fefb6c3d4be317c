"""Importing the package is cheap, works without installation, and the shape checker sees every room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vtcd_jax

HEAVY = {
    "transformers",
    "orbax",
    "matplotlib",
    "torch",
    "av",
    "skimage",
    "scipy",
    "optax",
    "tyro",
    "jinja2",
    "tifffile",
}


def loaded_by(statement: str, folder: Path) -> set[str]:
    """Top-level names in ``sys.modules`` after ``statement`` in a fresh interpreter."""
    code = f"{statement}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(python(code, folder).split())


def python(code: str, folder: Path) -> str:
    """What ``code`` prints in a fresh interpreter that looks for packages in ``folder`` first."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, cwd=folder, text=True)


@pytest.fixture(scope="module")
def jax_alone(root: Path) -> set[str]:
    return loaded_by("import jax", root)


@pytest.mark.parametrize("module", ["vtcd_jax", "vtcd_jax.models", "vtcd_jax.data"])
def test_import_loads_no_heavy_module(module: str, root: Path, jax_alone: set[str]) -> None:
    extra = loaded_by(f"import jax, {module}", root) - jax_alone
    assert not extra & HEAVY


def test_the_measure_sees_heavy_modules(root: Path, jax_alone: set[str]) -> None:
    assert {"tyro", "jinja2"} <= loaded_by("import jax, tyro, jinja2", root) - jax_alone


def test_rooms_are_attributes() -> None:
    assert set(vtcd_jax.__all__) <= set(dir(vtcd_jax))
    assert vtcd_jax.models.load.__module__ == "vtcd_jax.models.store"
    with pytest.raises(AttributeError, match="modles"):
        vtcd_jax.modles  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_shapes_are_checked_in_every_room() -> None:
    """Also in the rooms at the top level, which are reached through the package's search path."""
    for module in (vtcd_jax.models.types, vtcd_jax.data.clips):
        assert type(module.__loader__).__module__.startswith("jaxtyping")


def test_runs_from_a_checkout_without_installation(root: Path, tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    for room in ("vtcd_jax", "models", "converters"):
        shutil.copytree(root / room, tmp_path / room, symlinks=True, ignore=ignore)
    for room in ("models", "converters"):
        (tmp_path / "vtcd_jax" / room).unlink(missing_ok=True)
    shutil.copy(root / "pyproject.toml", tmp_path)
    code = "import vtcd_jax as v; print(v.__file__); print(v.models.__file__); print(v.converters.__file__)"
    expected = [tmp_path / room / "__init__.py" for room in ("vtcd_jax", "models", "converters")]
    found = [Path(line) for line in python(code, tmp_path).split()]
    assert [path.resolve() for path in found] == [path.resolve() for path in expected]
