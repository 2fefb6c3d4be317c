"""What is said about a machine is what it has, and names nobody."""

from __future__ import annotations

import jax
import pytest
from av.codec import Codec

from vtcd_jax.devices import machine


def test_an_installed_package_has_its_version_and_a_missing_one_none():
    assert machine.installed("jax") == jax.__version__
    assert machine.installed("no-such-package-as-this") is None


def test_every_device_of_this_process_is_listed():
    assert [device.platform for device in machine.devices()] == [device.platform for device in jax.local_devices()]


def test_a_decoder_is_named_where_ffmpeg_can_decode():
    decoders = machine.decoders()
    assert list(decoders) == ["h264", "hevc", "vp9", "av1"]
    for name in filter(None, decoders.values()):
        assert Codec(name, "r").is_decoder
    assert decoders["h264"] == "h264"


def test_a_codec_without_decoder_is_none(monkeypatch):
    monkeypatch.setattr(machine, "DECODERS", {"odd": ("no_such_codec",), "encoder": ("libx264",)})
    assert machine.decoders() == {"odd": None, "encoder": None}


def test_free_memory_is_at_most_what_the_control_groups_leave(tmp_path, monkeypatch):
    """The limit less what is used; cached files count as free; a group without limit does not count."""
    for name, limit in (("job", "3000"), ("", "max")):
        (folder := tmp_path / name).mkdir(exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("1000\n")
        (folder / "memory.stat").write_text("anon 600\ninactive_file 400\n")
    monkeypatch.setattr(machine, "_groups", lambda: [tmp_path / "job", tmp_path, tmp_path / "none"])
    assert machine.free_memory() == 3000 - 1000 + 400
    monkeypatch.setattr(machine, "_groups", lambda: [tmp_path])
    free = machine.free_memory()
    assert free is None or free > 3000


def test_free_disk_of_a_folder_that_is_not_there_is_that_of_the_next_one_up(tmp_path):
    free = machine.free_disk(tmp_path / "not" / "yet")
    assert free is not None and free > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cache /home/alice/.cache/x (1 GiB free)", "cache ~/.cache/x (1 GiB free)"),
        ("/home/alice", "~"),
        ("/home/alicesprings/x", "/home/alicesprings/x"),
        ("/scratch/alice (1 GiB free)", "/scratch/USER (1 GiB free)"),
        ("cannot open '/scratch/alice/libcuda.so'", "cannot open '/scratch/USER/libcuda.so'"),
        ("alice in a sentence, /alice-data", "alice in a sentence, /alice-data"),
    ],
)
def test_paths_name_no_user(monkeypatch, text, expected):
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setattr(machine.getpass, "getuser", lambda: "alice")
    assert machine.without_names(text) == expected


def test_amounts_are_in_binary_units():
    sizes = (0, 1023, 1024, 1536 * 2**20, None)
    assert [machine.amount(size) for size in sizes] == ["0 B", "1023 B", "1.0 KiB", "1.5 GiB", "unknown"]
