"""What the README shows is what works: its Python example runs, its commands exist; all pages' links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """(line number, code) of each fenced block in this language."""
    found = (match for match in FENCE.finditer(text) if match[1] == language)
    return [(text.count("\n", 0, match.start(2)), match[2]) for match in found]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/howto.md"])
def test_python_examples_run(page: str, root: Path, tmp_path: Path) -> None:
    """All blocks one after the other, as a reader would paste them, in an empty folder and a process of its own: real
    networks want a compiler that optimises, which the tests of tiny ones turn off."""
    found = blocks((root / page).read_text("utf-8"), "python")
    assert found
    script = tmp_path / "page.py"
    script.write_text("".join("\n" * line + code for line, code in found[:1]) + "\n".join(c for _, c in found[1:]))
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    env |= {"PYTHONPATH": str(root), "MPLBACKEND": "Agg"}
    said = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def test_both_commands_stand_in_the_readme(readme: str) -> None:
    shell = "\n".join(code for _, code in blocks(readme, "sh"))
    assert "python3 scripts/dev.py demo" in shell
    assert "python3 scripts/dev.py test" in shell


PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", *(f"docs/{p.name}" for p in DOCS.glob("*.md"))]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_to_files_lead_somewhere(page: str, root: Path) -> None:
    targets = re.findall(r"\]\((?!\w+:|#)([^)#]+)", (root / page).read_text("utf-8"))
    assert [target for target in targets if not (root / page).parent.joinpath(target).exists()] == []


def test_the_readme_links_to_files(readme: str) -> None:
    assert len(re.findall(r"\]\((?!\w+:|#)", readme)) > 5
