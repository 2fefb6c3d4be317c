"""The house stands: every import between rooms goes down, no module waits for itself, nothing outgrows its size.

What counts as an import, and the order of the rooms: ``scripts/house.py``.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import vtcd_jax

FILE_LINES = 300
FOLDER_FILES = 12  # besides __init__.py
FUNCTION_LINES = 60  # without the docstring

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def scripts() -> Iterator[Path]:
    """The folder of the scripts, from which modules can be imported meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield ROOT / "scripts"


@pytest.fixture(scope="module")
def reader(scripts: Path) -> ModuleType:
    return importlib.import_module("house")


@pytest.fixture(scope="module")
def drawing(scripts: Path) -> ModuleType:
    return importlib.import_module("house_map")


@pytest.fixture(scope="module")
def house(reader: ModuleType) -> dict[str, Any]:
    return reader.read_house(ROOT)


def fail_with(lines: list[str], rule: str) -> None:
    if lines:
        pytest.fail("\n".join([f"{rule}; against it:", *lines]), pytrace=False)


# What holds of the library


def against_the_order(reader: ModuleType, house: dict[str, Any]) -> list[str]:
    """One line for each import that does not go down. Of rooms without a level only imports of them count."""
    return [
        f"{module.file}:{found.line} imports {house[found.target].file}: `{module.room}` may not import `{room}`"
        for module in house.values()
        if module.room in reader.LEVEL
        for found in reader.imports_of(module, house)
        if (room := reader.room_of(found.target)) != module.room
        if reader.LEVEL.get(room, len(reader.LEVELS)) >= reader.LEVEL[module.room]
    ]


def test_every_room_has_its_place_in_the_order(reader: ModuleType, house: dict[str, Any]) -> None:
    rooms = {module.room for module in house.values()} - {""} - set(reader.LEVEL)
    fail_with([f"{reader.PACKAGE}/{room}" for room in sorted(rooms)], "every room stands in LEVELS of scripts/house.py")


def test_every_room_says_what_it_is_for(drawing: ModuleType, reader: ModuleType, house: dict[str, Any]) -> None:
    rooms = sorted({module.room for module in house.values()} & set(reader.LEVEL))
    silent = [house[name].file for room in rooms if not drawing.purpose(house[name := f"{reader.PACKAGE}.{room}"])]
    fail_with(silent, "the docstring of a room's __init__ begins with a line that says what the room is for")


def test_every_room_is_an_attribute_of_the_package(reader: ModuleType, house: dict[str, Any]) -> None:
    """In ``__all__``, and among the imports that editors and pyright read."""
    rooms = sorted({module.room for module in house.values()} & set(reader.LEVEL))
    package = house[reader.PACKAGE]
    listed = [alias.name for n in package.tree.body if isinstance(n, ast.If) for i in n.body for alias in names_of(i)]
    assert vtcd_jax.__all__ == rooms == listed
    for room in rooms:
        assert getattr(vtcd_jax, room).__name__ == f"{reader.PACKAGE}.{room}"


def test_every_import_between_rooms_goes_down(reader: ModuleType, house: dict[str, Any]) -> None:
    fail_with(against_the_order(reader, house), "a room imports only rooms of lower levels")


def test_no_module_waits_for_itself(reader: ModuleType, house: dict[str, Any]) -> None:
    """Imports inside functions are left out: they are done when both modules are there."""
    fail_with(circles(reader, house), "no circle of imports between modules")


def test_files_are_short(house: dict[str, Any]) -> None:
    lengths = {module.file: len(module.text.splitlines()) for module in house.values()}
    long = [f"{file}: {lines} lines" for file, lines in sorted(lengths.items()) if lines > FILE_LINES]
    fail_with(long, f"a file has at most {FILE_LINES} lines")


def test_folders_are_small(house: dict[str, Any]) -> None:
    files: dict[str, int] = {}
    for module in house.values():
        files[module.package] = files.get(module.package, 0) + (not module.is_init)
    large = [f"{package}: {count} files" for package, count in sorted(files.items()) if count > FOLDER_FILES]
    fail_with(large, f"a folder has at most {FOLDER_FILES} files besides __init__.py")


def test_functions_are_short(house: dict[str, Any]) -> None:
    long = [
        f"{module.file}:{node.lineno} {node.name}: {lines} lines"
        for module in house.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := body_lines(node)) > FUNCTION_LINES
    ]
    fail_with(long, f"a function has at most {FUNCTION_LINES} lines besides its docstring")


def test_the_map_in_contributing_is_that_of_the_source(drawing: ModuleType, capsys: pytest.CaptureFixture) -> None:
    assert drawing.main(["--check"]) == 0, capsys.readouterr().err


def names_of(statement: ast.stmt) -> list[ast.alias]:
    """What a statement imports from somewhere."""
    return statement.names if isinstance(statement, ast.ImportFrom) else []


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    end = function.end_lineno or function.lineno
    return end - function.lineno + 1 - ((first.end_lineno or 0) - first.lineno + 1 if documented else 0)


def circles(reader: ModuleType, house: dict[str, Any]) -> list[str]:
    """One line for each circle, which begins at the first of its modules by name."""
    arrows = {
        name: sorted({f.target for f in reader.imports_of(module, house) if not f.in_function})
        for name, module in house.items()
    }
    seen: dict[frozenset[str], str] = {}

    def follow(name: str, path: list[str]) -> None:
        if name in path:
            circle = path[path.index(name) :]
            seen.setdefault(frozenset(circle), " -> ".join(house[n].file for n in [*circle, name]))
        elif name not in done:
            for target in arrows[name]:
                follow(target, [*path, name])
            done.add(name)

    done: set[str] = set()
    for name in sorted(house):
        follow(name, [])
    return sorted(seen.values())


# That the checks see what is against the rule: a small house with one fault


def small_house(root: Path, reader: ModuleType, **files: str) -> dict[str, Any]:
    """A checkout with rooms base, models, data and cli; files: room__module="text"."""
    sources = {f"{room}__init": "" for room in ("base", "models", "data", "cli")} | {"base__errors": "class E: ..."}
    (root / "vtcd_jax").mkdir()
    (root / "vtcd_jax" / "__init__.py").write_text("")
    for name, text in (sources | files).items():
        *rooms, module = name.split("__")
        path = (root if rooms[0] == "models" else root / "vtcd_jax").joinpath(*rooms, f"{module}.py")
        path = path.with_stem("__init__") if module == "init" else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return reader.read_house(root)


def test_imports_that_go_down_pass(reader: ModuleType, tmp_path: Path) -> None:
    sources = {
        "models__store": "from vtcd_jax.base.errors import E",
        "models__init": "from .store import E\nfrom vtcd_jax.base.errors import E",
        "data__read": "from vtcd_jax import models\nimport vtcd_jax\nfrom vtcd_jax.models import E\nvtcd_jax.base",
        "cli__main": "from ..data.read import x\nimport os, vtcd_jax.models.store",
    }
    house = small_house(tmp_path, reader, **sources)
    assert against_the_order(reader, house) == [] == circles(reader, house)
    assert reader.room_imports(house)["cli"] == {"data", "models"}


UPWARD = {
    "import": "import vtcd_jax.data.read",
    "import as": "import vtcd_jax.data as d",
    "from": "from vtcd_jax.data.read import x",
    "from the package": "from vtcd_jax import data",
    "relative": "from ..data import read",
    "relative to the package": "from .. import data",
    "in a function": "def f():\n    from vtcd_jax.data import read",
    "for types alone": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vtcd_jax.data import read",
    "by name": "from importlib import import_module\nimport_module('vtcd_jax.data.read')",
    "by relative name": "import importlib\nimportlib.import_module('..data', __package__)",
    "as an attribute": "import vtcd_jax as v\ndef f(): return v.data.read",
    "as an attribute of a longer import": "import vtcd_jax.base.errors\nvtcd_jax.data.read",
}


@pytest.mark.parametrize("statement", UPWARD.values(), ids=UPWARD)
def test_an_import_that_goes_up_is_seen_however_it_is_written(
    statement: str, reader: ModuleType, tmp_path: Path
) -> None:
    house = small_house(tmp_path, reader, models__store=statement, data__read="x = 1")
    faults = against_the_order(reader, house)
    assert faults and all(fault.startswith("models/store.py:") for fault in faults)
    assert any("imports vtcd_jax/data/" in fault and "`models` may not import `data`" in fault for fault in faults)


def test_a_name_handed_on_counts_for_the_room_it_comes_from(reader: ModuleType, tmp_path: Path) -> None:
    """Also where the room that hands it on would be allowed."""
    sources = {"models__init": "from vtcd_jax.cli.main import run as go", "cli__main": "def run(): ..."}
    house = small_house(tmp_path, reader, data__read="from vtcd_jax.models import go", **sources)
    assert any(
        f.startswith("vtcd_jax/data/read.py:1 imports vtcd_jax/cli/main.py") for f in against_the_order(reader, house)
    )


def test_a_folder_inside_a_room_belongs_to_the_room(reader: ModuleType, tmp_path: Path) -> None:
    sources = {"data__deep__init": "", "data__deep__file": "from ...cli import main", "cli__main": ""}
    (fault, *_) = against_the_order(reader, small_house(tmp_path, reader, **sources))
    assert fault.startswith("vtcd_jax/data/deep/file.py:1") and "`data` may not import `cli`" in fault


def test_methods_do_not_import_each_other(reader: ModuleType, tmp_path: Path) -> None:
    sources = {"bias__init": "from vtcd_jax.tcav import x", "tcav__init": "x = 1"}
    assert len(against_the_order(reader, small_house(tmp_path, reader, **sources))) == 1


def test_a_room_without_a_level_may_be_imported_by_none(reader: ModuleType, tmp_path: Path) -> None:
    sources = {"attic__init": "from vtcd_jax.base import errors", "cli__main": "import vtcd_jax.attic"}
    (fault,) = against_the_order(reader, small_house(tmp_path, reader, **sources))
    assert "`cli` may not import `attic`" in fault


def test_circles_are_seen_once_and_not_those_that_wait_for_a_call(reader: ModuleType, tmp_path: Path) -> None:
    sources = {
        "data__a": "from .b import x",
        "data__b": "from . import c",
        "data__c": "from .a import y",
        "data__d": "from .e import x",
        "data__e": "def f():\n    from .d import y",
    }
    (circle,) = circles(reader, small_house(tmp_path, reader, **sources))
    assert circle == " -> ".join(f"vtcd_jax/data/{name}.py" for name in "abca")


def test_the_map_shows_rooms_in_order_and_notices_a_new_import(
    reader: ModuleType, drawing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    sources = {
        "models__init": '"""Networks."""\nfrom vtcd_jax.base import errors',
        "data__init": "import vtcd_jax.models",
    }
    small_house(tmp_path, reader, **sources)
    page = tmp_path / "CONTRIBUTING.md"
    page.write_text(f"before\n{drawing.BEGIN}\nold\n{drawing.END}\nafter\n")
    assert drawing.main(["--check"], tmp_path) == 1
    assert "run python scripts/house_map.py" in capsys.readouterr().err
    assert drawing.main([], tmp_path) == 0 == drawing.main(["--check"], tmp_path)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| `models` | Networks. | `base` |" in text
    assert text.index("| `base` |") < text.index("| `models` |") < text.index("| `data` |")
    (tmp_path / "vtcd_jax" / "data" / "read.py").write_text("def f():\n    import vtcd_jax.base.errors")
    assert drawing.main(["--check"], tmp_path) == 1
