"""Properties of this machine: versions, devices, memory, disk, decoders, programs. No names of users or hosts."""

from __future__ import annotations

import getpass
import os
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DECODERS = {  # codec -> its software decoders in FFmpeg; the native "av1" needs a graphics card
    "h264": ("h264", "libopenh264"),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libgav1", "libaom-av1"),
}
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
_GROUPS = Path("/sys/fs/cgroup")  # Linux control groups, version 2


@dataclass(frozen=True)
class Device:
    """One device of JAX."""

    kind: str
    """The manufacturer's name: "NVIDIA H200", "cpu"."""
    platform: str
    memory: int | None
    """Bytes that JAX may use; None where unknown (the CPU)."""


def installed(package: str) -> str | None:
    """The version of a package, None where it is not installed. Does not import it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def ffmpeg_version() -> str | None:
    """The version of FFmpeg that PyAV carries, None where PyAV cannot be loaded."""
    try:
        import av
    except ImportError:
        return None
    return av.ffmpeg_version_info


def decoders() -> dict[str, str | None]:
    """codec -> the name of its first decoder that PyAV has, None where it has none."""
    try:
        from av.codec import Codec, codecs_available
    except ImportError:
        return dict.fromkeys(DECODERS)
    readable = {name for names in DECODERS.values() for name in names if name in codecs_available}
    readable = {name for name in readable if _reads(Codec, name)}
    return {codec: next((name for name in names if name in readable), None) for codec, names in DECODERS.items()}


def _reads(codec: type, name: str) -> bool:
    """Whether FFmpeg has a decoder of this name, not only an encoder."""
    try:
        codec(name, "r")
    except ValueError:  # PyAV: an unknown codec
        return False
    return True


def devices() -> list[Device]:
    """The devices of this process. Starts JAX's backend. Raises RuntimeError, with JAX's reason, where it cannot."""
    import jax

    return [
        Device(device.device_kind, device.platform, (device.memory_stats() or {}).get("bytes_limit"))
        for device in jax.local_devices()
    ]


def chromium() -> bool:
    """Whether Chromium is on the PATH."""
    return any(shutil.which(name) for name in _CHROMIUM)


def free_memory() -> int | None:
    """Bytes of main memory that this process may still take; None where unknown.

    On Linux the smaller of the machine's free memory and the limits of the process's control groups (a container, a
    cluster job).
    """
    limits = [_machine_memory(), *(_group_memory(folder) for folder in _groups())]
    return min((size for size in limits if size is not None), default=None)


def _machine_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii", errors="replace").splitlines():
            name, _, size = line.partition(":")
            if name == "MemAvailable":
                return int(size.split()[0]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):  # macOS and Windows
        return None


def _groups() -> list[Path]:
    """The folders of the control groups of this process, from the innermost out."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    inner = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if inner is None:
        return []
    return [folder for folder in (_GROUPS / inner, *(_GROUPS / inner).parents) if folder.is_relative_to(_GROUPS)]


def _group_memory(folder: Path) -> int | None:
    """Free bytes below a group's limit. Cached files (``inactive_file``) count as free."""
    try:
        limit, used = (int((folder / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        stat = dict(line.split(maxsplit=1) for line in (folder / "memory.stat").read_text("ascii").splitlines())
        return max(limit - used + int(stat.get("inactive_file", 0)), 0)
    except (OSError, ValueError):  # no such group, or the limit is "max"
        return None


def free_disk(folder: str | os.PathLike) -> int | None:
    """Bytes that may be written below a folder, which need not exist yet; None where unknown."""
    path = Path(folder).absolute()
    existing = next((p for p in (path, *path.parents) if p.is_dir()), path)
    try:
        return shutil.disk_usage(existing).free
    except OSError:
        return None


def without_names(text: str) -> str:
    """``text`` with the home folder as ~ and, where it is a component of a path, the user's name as USER."""
    for home in sorted({str(Path.home()), os.path.realpath(Path.home())}, key=len, reverse=True):
        if home.strip(os.sep):
            text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    return re.sub(rf"(?<=[/\\]){re.escape(user)}(?![\w.-])", "USER", text) if (user := _user()) else text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process whose user has no entry
        return ""


def amount(size: int | None) -> str:
    """Bytes for people, in binary units: 12.3 GiB; "unknown" for None."""
    if size is None:
        return "unknown"
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(max(size.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{size / 1024**power:.{0 if power == 0 else 1}f} {units[power]}"
