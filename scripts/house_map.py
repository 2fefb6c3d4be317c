"""Writes the map of the house into CONTRIBUTING.md: the rooms in order, what each is for and what it imports.

    python scripts/house_map.py             writes it
    python scripts/house_map.py --check     exit status 1 where the file's map is not that of the source

What a room is for is the first line of its ``__init__``.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from house import LEVEL, PACKAGE, Module, read_house, room_imports

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- map of the house, written by scripts/house_map.py -->"
END = "<!-- end of the map -->"


def house_map(house: dict[str, Module]) -> str:
    """A drawing and a table in Markdown. Rooms that have no level are left out."""
    imports = {room: {r for r in names if r in LEVEL} for room, names in room_imports(house).items() if room in LEVEL}
    rooms = sorted(imports, key=lambda room: (LEVEL[room], room))
    edges = [f"    {room} --> {other}" for room in reversed(rooms) for other in _nearest(room, imports)]
    rows = [f"| `{r}` | {purpose(house[f'{PACKAGE}.{r}'])} | {_list(imports[r])} |" for r in rooms]
    drawing = ["```mermaid", "flowchart TD", *edges, "```"]
    return "\n".join([*drawing, "", "| room | what it is for | imports |", "|---|---|---|", *rows])


def purpose(init: Module) -> str:
    """The first line of a room's docstring; "" where it has none."""
    return (ast.get_docstring(init.tree) or "").partition("\n")[0].replace("|", "\\|")


def _nearest(room: str, imports: dict[str, set[str]]) -> list[str]:
    """The imported rooms that are not already reached by way of another imported room: the lines of the drawing."""
    direct = imports[room]
    through = {far for near in direct for far in _below(near, imports)}
    return sorted(direct - through, key=lambda other: (-LEVEL[other], other))


def _below(room: str, imports: dict[str, set[str]]) -> set[str]:
    """Every room that ``room`` reaches, also where arrows form a circle."""
    reached: set[str] = set()
    ahead = list(imports.get(room, ()))
    while ahead:
        other = ahead.pop()
        if other not in reached:
            reached.add(other)
            ahead += imports.get(other, ())
    return reached


def _list(rooms: set[str]) -> str:
    return ", ".join(f"`{room}`" for room in sorted(rooms, key=lambda room: (LEVEL[room], room))) or "nothing"


def with_map(text: str, drawn: str) -> str:
    """``text`` with the map between its two markers. Raises ValueError where these are not there, once, in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"needs the lines {BEGIN!r} and {END!r}, each once and in this order")
    return f"{before}{BEGIN}\n\n{drawn}\n\n{END}{after}"


def main(arguments: list[str], root: Path = ROOT) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    file = root / "CONTRIBUTING.md"
    text = file.read_text(encoding="utf-8")
    new = with_map(text, house_map(read_house(root)))
    if arguments == ["--check"]:
        if new != text:
            print(f"{file.name}: the map is not that of the source; run python scripts/house_map.py", file=sys.stderr)
        return int(new != text)
    file.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
