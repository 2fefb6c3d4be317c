"""The set-up script: standard library only, remembers a finished installation and no other."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def dev(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module whose root is a small copy of the project."""
    copy = tmp_path / "checkout"
    for room in ("scripts", "models", "converters", "vtcd_jax"):
        (copy / room).mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "scripts/dev.py"):
        shutil.copy(root / name, copy / name)
    spec = importlib.util.spec_from_file_location("dev", copy / "scripts" / "dev.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert copy == module.ROOT
    return module


@pytest.fixture
def installed(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Calls of the installer, which here only makes the environment's python."""
    calls: list[list[str]] = []

    def install(extras: list[str]) -> None:
        calls.append(extras)
        dev.BIN.mkdir(parents=True, exist_ok=True)
        dev.PYTHON.touch()

    monkeypatch.setattr(dev, "install", install)
    return calls


def test_installs_once(dev: ModuleType, installed: list[list[str]]) -> None:
    dev.ensure(["test"])
    dev.ensure(["test"])
    assert installed == [["test"]]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_installs_again_when_pins_change(dev: ModuleType, installed: list[list[str]], name: str) -> None:
    dev.ensure(["test"])
    with (dev.ROOT / name).open("a") as file:
        file.write("# changed\n")
    dev.ensure(["test"])
    assert len(installed) == 2


def test_another_extra_is_added_and_kept(dev: ModuleType, installed: list[list[str]]) -> None:
    dev.ensure(["test"])
    dev.ensure(["test", "torch"])
    dev.ensure(["test"])
    assert installed == [["test"], ["test", "torch"]]


def test_an_installation_that_failed_is_not_remembered(
    dev: ModuleType, installed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dev.ensure(["test"])
    assert dev.STAMP.exists()

    def fail(extras: list[str]) -> None:
        raise dev.Failure("half way")

    with monkeypatch.context() as patch:
        patch.setattr(dev, "install", fail)
        with pytest.raises(dev.Failure, match="half way"):
            dev.ensure(["test", "torch"])
    assert not dev.STAMP.exists()
    dev.ensure(["test"])
    assert installed == [["test"], ["test"]]


def test_a_broken_stamp_means_install_again(dev: ModuleType, installed: list[list[str]]) -> None:
    dev.ensure(["test"])
    for content in ("", "[]", json.dumps({"key": dev.key()})):
        dev.STAMP.write_text(content)
        dev.ensure(["test"])
    assert len(installed) == 4


def test_a_lost_environment_means_install_again(dev: ModuleType, installed: list[list[str]]) -> None:
    dev.ensure(["test"])
    dev.PYTHON.unlink()
    dev.ensure(["test"])
    assert len(installed) == 2


def test_rooms_are_linked_into_the_package(dev: ModuleType, installed: list[list[str]]) -> None:
    dev.ensure(["test"])
    for room in ("models", "converters"):
        assert (dev.ROOT / "vtcd_jax" / room).readlink() == Path("..") / room


def test_a_folder_that_is_no_environment_is_never_removed(dev: ModuleType) -> None:
    (dev.VENV / "thesis").mkdir(parents=True)
    with pytest.raises(dev.Failure, match="no virtual environment"):
        dev.clear()
    assert (dev.VENV / "thesis").is_dir()


def test_a_failing_install_ends_in_one_line_and_no_stamp(dev: ModuleType) -> None:
    """For real: an environment is made, but the package that pip shall install does not build."""
    (dev.ROOT / "constraints.txt").write_text("setuptools==0.0.0.invalid.version\n")
    script = dev.ROOT / "scripts" / "dev.py"
    environment = {"PATH": "", "PIP_NO_INDEX": "1"}
    command = [sys.executable, str(script), "setup"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("dev.py: ") and "exit status" in last
    assert not dev.STAMP.exists()


@pytest.mark.parametrize(("uv_works", "expected"), [(True, ["uv"]), (False, ["uv", "pip"])])
def test_uv_is_used_where_there_is_one_and_pip_when_it_fails(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, uv_works: bool, expected: list[str]
) -> None:
    used: list[str] = []

    def with_uv(uv: str, targets: list[list[str]]) -> None:
        used.append(uv)
        if not uv_works:
            raise dev.Failure("no")

    monkeypatch.setattr(dev.shutil, "which", lambda name: name)
    monkeypatch.setattr(dev, "install_with_uv", with_uv)
    monkeypatch.setattr(dev, "install_with_pip", lambda targets: used.append("pip"))
    dev.install(["test"])
    assert used == expected


def test_unknown_command_says_what_is_known(dev: ModuleType, installed: list[list[str]]) -> None:
    with pytest.raises(dev.Usage, match=r"unknown command 'tset'; known: .*test"):
        dev.main(["tset"])
    assert installed == []


def test_an_old_python_is_told_so(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev.sys, "version_info", (3, 8, 10))
    with pytest.raises(dev.Failure, match=r"needs Python 3\.11 or newer, this is 3\.8"):
        dev.main(["test"])


def test_an_old_python_can_read_the_script(root: Path) -> None:
    ast.parse((root / "scripts" / "dev.py").read_text("utf-8"), feature_version=(3, 6))


def test_only_the_standard_library_is_imported(root: Path) -> None:
    tree = ast.parse((root / "scripts" / "dev.py").read_text("utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert names and {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_tests_run_in_parallel_by_default(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "cores", lambda: 2)
    assert dev.pytest_arguments(["-k", "slic"])[:2] == ["-n", "2"]
    assert dev.pytest_arguments(["-n0", "-k", "slic"]) == ["-n0", "-k", "slic"]


def test_quick_leaves_out_what_is_slow_or_compiled_long(dev: ModuleType, root: Path) -> None:
    chosen = dev.pytest_arguments(["-n0", "--quick", "tests/data"])
    assert chosen == ["-m", "not slow and not compile", "-n0", "tests/data"]
    markers = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]["markers"]
    assert {"slow", "compile"} <= {marker.split(":")[0] for marker in markers}
    with pytest.raises(dev.Usage, match="--quick and -m"):
        dev.pytest_arguments(["--quick", "-m", "browser"])


def pins(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_constraints_are_plain_pins_without_hosts(root: Path) -> None:
    for name, version in pins(root).items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        assert re.fullmatch(r"[0-9][A-Za-z0-9.]*", version)


def test_every_requirement_is_pinned(root: Path) -> None:
    """Except those of accelerators, whose versions jax itself fixes."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + [r for e in sorted(extras) for r in extras[e]]
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in requirements}
    assert len(names) > 20
    assert names <= {name.lower().replace("_", "-") for name in pins(root)}


def test_floors_and_no_caps(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    assert all(">=" in requirement for requirement in requirements)
    assert [r for r in requirements if "<" in r] == ["transformers>=5,<6"]
