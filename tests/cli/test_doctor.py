"""`vtcd doctor`: what to paste into a bug report."""

from __future__ import annotations

import getpass
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

import vtcd_jax
from tests.cli.tiny import vtcd
from vtcd_jax.devices import machine

DOCTOR = "from vtcd_jax.cli import main; raise SystemExit(main(['doctor']))"


def facts(out: str) -> dict[str, str]:
    """what -> value, of lines of two columns."""
    return {line[:20].strip(): line[21:] for line in out.splitlines()}


def test_it_says_what_a_bug_report_needs():
    said = vtcd("doctor")
    assert said.code == 0 and said.err == ""
    shown = facts(said.out)
    assert shown["vtcd_jax"] == vtcd_jax.__version__
    assert (shown["jax"], shown["numpy"]) == (jax.__version__, np.__version__)
    assert shown["devices"].startswith(f"{jax.local_device_count()} x ")
    assert shown["passes compute with"] in ("float32", "bfloat16")
    assert "h264: h264" in shown["decoders"] and "av1: " in shown["decoders"]
    for place in ("free memory", "working folder", "compilation cache"):
        assert "iB" in shown[place] or shown[place] in ("unknown", "switched off")
    assert {"python", "platform", "jaxlib", "flax", "av", "ffmpeg", "pillow", "torch", "matplotlib", "chromium"} <= set(
        shown
    )


def test_it_names_neither_user_nor_host(tmp_path, monkeypatch):
    folder = tmp_path / getpass.getuser() / "work"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    said = vtcd("doctor")
    assert facts(said.out)["working folder"].startswith("~/USER/work (")
    assert str(tmp_path) not in said.out and socket.gethostname() not in said.out


def test_it_names_the_cache_that_jax_was_given(tmp_path):
    folder, before = str(tmp_path / "programs"), jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", folder)
    try:
        assert facts(vtcd("doctor").out)["compilation cache"].startswith(machine.without_names(folder))
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_broken_driver_is_reported_and_is_no_failure(monkeypatch):
    def broken():
        raise RuntimeError("Unable to initialize backend 'cuda':\n  no driver")

    monkeypatch.setattr(machine, "devices", broken)
    said = vtcd("doctor")
    assert said.code == 0
    assert facts(said.out)["devices"] == "none: Unable to initialize backend 'cuda': no driver"


def test_a_machine_without_pyav_or_packages_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "av.codec", None)
    monkeypatch.setattr(machine, "installed", lambda package: None)
    shown = facts(vtcd("doctor").out)
    assert shown["ffmpeg"] == "PyAV cannot be loaded" and shown["torch"] == "not installed"
    assert shown["decoders"] == "h264: none, hevc: none, vp9: none, av1: none"


def test_it_takes_at_most_four_times_as_long_as_jax_alone():
    """In processor time, so that a slow or busy machine does not fail it."""
    resource = pytest.importorskip("resource", reason="needs the processor time of children (not on Windows)")

    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert seconds(DOCTOR) < 4 * seconds("import jax; jax.devices()")
