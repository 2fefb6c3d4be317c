"""The rooms of the library, in order, and who imports whom: read from the source with ``ast``, nothing is imported.

A room is a folder of ``vtcd_jax`` (``models`` and ``converters`` lie beside it). A room imports only rooms of lower
levels; rooms of one level do not import each other. Folders inside a room belong to it.
``tests/test_architecture.py`` holds the library to this, ``house_map.py`` draws it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "vtcd_jax"
OUTSIDE = ("models", "converters")  # rooms at the top level of the checkout, imported as vtcd_jax.models, …
METHODS = ("rosetta", "pruning", "segmentation", "connectome", "bias", "tcav", "sdc")
LEVELS = (
    ("base",),
    ("models",),
    ("converters",),
    ("devices",),
    ("runs",),
    ("data",),
    ("world",),
    ("scores",),
    ("features",),
    ("probes",),
    ("training",),
    ("concepts",),
    ("ablation",),
    ("importance",),
    ("planted",),
    METHODS,
    ("report",),
    ("plot",),
    ("jobs",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}  # 0 is the lowest


@dataclass(frozen=True)
class Module:
    """A source file of the library."""

    name: str
    """As it is imported: vtcd_jax.models.store; a folder's ``__init__`` has the name of the folder."""
    file: str
    """Relative to the checkout."""
    text: str
    tree: ast.Module
    is_init: bool

    @property
    def package(self) -> str:
        """What a relative import of one dot starts from."""
        return self.name if self.is_init else self.name.rpartition(".")[0]

    @property
    def room(self) -> str:
        """ "" for ``vtcd_jax/__init__.py``."""
        return room_of(self.name)


@dataclass(frozen=True)
class Import:
    """One module of the library names another."""

    source: str
    target: str
    line: int
    in_function: bool
    """Done when the function is called, not when the module is loaded."""


def room_of(module: str) -> str:
    """vtcd_jax.models.store -> models; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def read_house(root: Path) -> dict[str, Module]:
    """name -> module, of all of the library's files below ``root``, a checkout."""
    files = [
        path for path in (root / PACKAGE).rglob("*.py") if path.relative_to(root / PACKAGE).parts[0] not in OUTSIDE
    ]
    files += [path for room in OUTSIDE for path in (root / room).rglob("*.py")]
    modules = [_read(root, path) for path in sorted(files)]
    return {module.name: module for module in modules}


def _read(root: Path, path: Path) -> Module:
    relative = path.relative_to(root)
    parts = [*([PACKAGE] if relative.parts[0] in OUTSIDE else []), *relative.with_suffix("").parts]
    is_init = parts[-1] == "__init__"
    text = path.read_text(encoding="utf-8")
    return Module(".".join(parts[:-1] if is_init else parts), relative.as_posix(), text, ast.parse(text), is_init)


def imports_of(module: Module, house: dict[str, Module]) -> list[Import]:
    """Every module of the library that ``module`` names, in order of lines.

    In import statements wherever they stand, in ``import_module("…")``, and as an attribute of the package
    (``vtcd_jax.models``). A name that an ``__init__`` hands on counts for the ``__init__`` and for the module that
    defines it.
    """
    aliases = {
        alias.asname or PACKAGE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == PACKAGE or (alias.asname is None and alias.name.startswith(f"{PACKAGE}."))
    }
    inner = {id(n) for f in ast.walk(module.tree) if isinstance(f, _FUNCTIONS) for n in ast.walk(f)}
    imports = {
        Import(module.name, target, getattr(node, "lineno", 0), id(node) in inner)
        for node in ast.walk(module.tree)
        for name in _names(node, module, aliases)
        for target in _homes(name, house)
        if target != module.name
    }
    return sorted(imports, key=lambda one: (one.line, one.target))


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def _names(node: ast.AST, module: Module, aliases: set[str]) -> Iterator[str]:
    """The dotted names that a node of the syntax tree looks up in the library."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(names=names):
            base = _absolute("." * node.level + (node.module or ""), module)
            yield from (f"{base}.{alias.name}" for alias in names)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in aliases:
            yield f"{PACKAGE}.{attribute}"
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            yield _absolute(name, module)


def _absolute(name: str, module: Module) -> str:
    """A name with leading dots as a full one."""
    bare = name.lstrip(".")
    dots = len(name) - len(bare)
    if not dots:
        return bare
    package = module.package.split(".")
    return ".".join([*package[: len(package) - dots + 1], *([bare] if bare else [])])


def _homes(name: str, house: dict[str, Module], seen: frozenset[str] = frozenset()) -> set[str]:
    """The modules behind a dotted name: itself, or the module that holds it and those it comes from by way of an
    ``__init__``. The package's own file counts for nothing: it only opens the rooms."""
    if name in house:
        return {name} - {PACKAGE}
    holder, _, last = name.rpartition(".")
    if not holder or name in seen:
        return set()
    if holder not in house:
        return _homes(holder, house, seen)
    handed_on = _handed_on(house[holder], last) if house[holder].is_init else []
    return {holder} - {PACKAGE} | {home for other in handed_on for home in _homes(other, house, seen | {name})}


def _handed_on(init: Module, name: str) -> list[str]:
    """The full names under which an ``__init__`` imports what it calls ``name``."""
    return [
        f"{_absolute('.' * node.level + (node.module or ''), init)}.{alias.name}"
        for node in ast.walk(init.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (alias.asname or alias.name) == name
    ]


def room_imports(house: dict[str, Module]) -> dict[str, set[str]]:
    """room -> the other rooms that its modules import."""
    rooms: dict[str, set[str]] = {module.room: set() for module in house.values() if module.room}
    for module in house.values():
        if module.room:
            rooms[module.room] |= {room_of(found.target) for found in imports_of(module, house)} - {module.room}
    return rooms
