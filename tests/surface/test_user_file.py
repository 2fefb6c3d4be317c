"""A user's editor knows the types of the library: pyright reads them from the package (``py.typed``)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

USER_FILE = Path(__file__).with_name("user_file.py")


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """A user's project beside the package, with pyright's own settings."""
    settings = {
        "include": ["mine.py"],
        "extraPaths": [str(root)],
        "pythonVersion": "3.11",
        "reportMissingModuleSource": "none",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    return tmp_path


def faults(project: Path, text: str) -> list[str]:
    """What pyright says of a user's file, as "line: message"."""
    (project / "mine.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    report = json.loads(subprocess.run(command, cwd=project, capture_output=True, text=True).stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return [f"{d['range']['start']['line'] + 1}: {d['message']}" for d in report["generalDiagnostics"]]


@pytest.mark.slow
def test_a_users_file_has_no_errors_and_a_wrong_one_has(project: Path) -> None:
    """Both in one test, as starting pyright takes longest. The wrong lines are what an editor underlines."""
    text = USER_FILE.read_text("utf-8")
    assert faults(project, text) == []
    lines = ["vtcd.modles", "vtcd.models.laod", "vtcd.models.load(3)", "vtcd.models.load('x').parms", "shipped + 1"]
    wrong = faults(project, "\n".join([text, *lines]))
    last = len(text.splitlines())
    assert {int(fault.split(":")[0]) for fault in wrong} == {last + 2 + i for i in range(len(lines))}, wrong
