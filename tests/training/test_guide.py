"""The guide's example runs as it stands, and the script of the shipped models refuses what it does not know."""

from __future__ import annotations

import subprocess
import sys


def test_the_guides_example_trains_in_seconds(root, tmp_path, monkeypatch, capsys):
    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/training.md", "exec"), {"__name__": "guide"})
    right, *shape = capsys.readouterr().out.split()
    assert float(right) > 0.9 and shape == ["(3,", "2)"]


def test_an_unknown_small_model_is_refused_with_the_names(root):
    command = [sys.executable, "scripts/train_world.py", "world-video"]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert process.returncode == 2
    assert process.stderr.startswith("train_world.py: no small model 'world-video'; there are world-videomae, ")
    assert process.stderr.count("\n") == 1
