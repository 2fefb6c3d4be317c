"""The wheel holds every tracked file of the package, at the right place, and nothing else."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

PLACES = {"vtcd_jax": "vtcd_jax", "models": "vtcd_jax/models", "converters": "vtcd_jax/converters"}

DISTRIBUTIONS = {"PIL": "pillow", "orbax": "orbax-checkpoint", "skimage": "scikit-image"}  # where the names differ


@pytest.fixture(scope="module")
def tracked(root: Path) -> list[str]:
    """Files of the checkout, with new ones that are not ignored, relative to its root."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs git and a checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode()
    return sorted(name for name in set(output.split("\0")) if name and (root / name).is_file())


@pytest.fixture(scope="module")
def wheel(root: Path, tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of those files, without network."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked:
        if name.split("/")[0] in PLACES or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, source / name)
    for room in ("models", "converters"):  # as in a checkout that scripts/dev.py has set up
        (source / "vtcd_jax" / room).symlink_to(f"../{room}")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_exactly_the_tracked_files(tracked: list[str], wheel: Path) -> None:
    parts = [name.partition("/") for name in tracked]
    expected = {f"{PLACES[room]}/{rest}" for room, _, rest in parts if room in PLACES}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected


def test_wheel_carries_licence_and_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "vtcd = vtcd_jax.cli:main" in archive.read(entry_points).decode()


def test_unpacked_wheel_imports_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import vtcd_jax as v; print(v.models.__file__); print(len(v.__path__))"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    output = subprocess.check_output(command, env=environment, cwd=tmp_path, text=True)
    assert output.split() == [str(tmp_path / "vtcd_jax" / "models" / "__init__.py"), "1"]


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of the packages that a module imports, wherever in it."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names}


def test_the_library_depends_on_what_it_imports_and_on_nothing_else(root: Path) -> None:
    """Not by way of what another package happens to need; matplotlib and pandas are extras.

    chex and transformers are there for users: for their tests, and for Hugging Face folders."""
    files = [path for place in PLACES for path in (root / place).rglob("*.py")]
    names = {name for path in files for name in imported(ast.parse(path.read_text("utf-8")))}
    foreign = {DISTRIBUTIONS.get(name, name) for name in names - {*sys.stdlib_module_names, "vtcd_jax"}}
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split("[<>=[]", line)[0] for line in project["dependencies"]}
    assert foreign - {"matplotlib", "pandas"} == needed - {"chex", "transformers"}


def test_checks_also_run_on_the_oldest_jax_that_is_allowed(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    (floor,) = (line.removeprefix("jax>=") for line in project["dependencies"] if line.startswith("jax>="))
    assert f'jax: "jax=={floor}.*"' in (root / ".github" / "workflows" / "ci.yml").read_text("utf-8")
