"""Misspelt words are answered in one line with the nearest ones; the version, plain help, and pipes that end early."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

import vtcd_jax
from vtcd_jax.base.errors import nearest

from .tiny import vtcd


@pytest.mark.parametrize("arguments, words", [
    (("runs",), ("no command 'runs'", "nearest: 'run'")),
    (("run", "x", "--modle", "y", "--out", "z"), ("run has no option --modle", "'--model'")),
    (("run", "x", "--model", "y", "--out=z", "--mask=4"), ("run has no option --mask;", "nearest: '--masks'")),
    (("discover", "x", "--model", "y", "--out", "z", "--nmf.tre", "1"), ("--nmf.tre;", "'--nmf.tree'")),
    (("rank", "x", "--shards", "1/2"), ("rank has no option --shards", "'--shard'")),
])  # fmt: skip
def test_misspelt_commands_and_options_get_one_line_with_the_nearest(arguments, words):
    said = vtcd(*arguments)
    assert said.code == 2 and said.err.count("\n") == 1 and said.out == ""
    assert all(word in said.err for word in (*words, "--help` lists all"))


def test_names_that_begin_so_come_before_those_that_look_like_it():
    classes = ["Two objects colliding", "Rolling something up", "Something rolling", "Rolling down"]
    found = nearest("rolling", classes)
    assert found.split(", ")[:2] in (
        ["'Rolling something up'", "'Rolling down'"],
        ["'Rolling down'", "'Rolling something up'"],
    )
    assert found.endswith("'Something rolling'") and nearest("x", []) == ""


def test_the_version_is_told():
    said = vtcd("--version")
    assert (said.code, said.out) == (0, f"vtcd_jax {vtcd_jax.__version__}\n")


def test_a_hugging_face_folder_is_to_be_converted_first(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "videomae", "architectures": ["VideoMAEForVideoClassification"]}'
    )
    said = vtcd("run", "world:4", "--model", tmp_path, "--out", tmp_path / "out")
    assert said.code == 2 and "is a Hugging Face folder" in said.err and f"vtcd convert {tmp_path}" in said.err


VTCD = [sys.executable, "-c", "import sys; from vtcd_jax.cli import main; sys.exit(main())"]


def test_a_reader_that_has_enough_ends_it_silently():
    program = subprocess.Popen([*VTCD, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    program.stdout.close()
    assert program.stderr.read() == "" and program.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("plain", [True, False])
def test_help_is_coloured_on_a_terminal_unless_no_color_is_set(plain):
    ours, theirs = pty.openpty()
    env = (
        {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        | {"TERM": "xterm"}
        | ({"NO_COLOR": "1"} if plain else {})
    )
    program = subprocess.Popen([*VTCD, "--help"], stdout=theirs, stderr=subprocess.DEVNULL, env=env)
    os.close(theirs)
    said = b""
    while chunk := _read(ours):
        said += chunk
    os.close(ours)
    assert program.wait() == 0 and b"benchmark" in said and (b"\x1b[" in said) != plain


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the program has ended
        return b""
