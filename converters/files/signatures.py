"""What a file is that holds no weights, told by its content whatever its name: for messages that help.

Downloads that went wrong leave a web page, a server's answer or a pointer in the checkpoint's place; other files are
packed, or are weights of another kind. Only the beginning of a file is looked at, and no more than ``HEAD`` bytes of
what is packed in it.
"""

from __future__ import annotations

import bz2
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from vtcd_jax.base.errors import InputError

HEAD = 64 * 2**10
MAX_JSON = 2**20
WEIGHT_ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".tar", ".pyth", ".pkl", ".th")
_LFS = re.compile(rb"version https?://(git-lfs|hawser)\.github\.com/")
_PAGE = re.compile(
    rb"\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body|\?xml|title|script|meta|error)\b", re.I | re.S
)
# First bytes -> what the file is, and what to do.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, TensorFlow or MATLAB); give the PyTorch or safetensors checkpoint"),
    (b"\x93NUMPY", "a NumPy array; give a file that holds a model's state dict"),
    (b"GGUF", "quantised weights in the GGUF format; give the unquantised PyTorch or safetensors checkpoint"),
    (b"ggml", "quantised weights in the GGML format; give the unquantised PyTorch or safetensors checkpoint"),
    (b"%PDF", "a PDF document; give the checkpoint itself"),
    (b"\x89PNG", "an image; give the checkpoint itself"),
    (b"\xff\xd8\xff", "an image; give the checkpoint itself"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it (7z x) and give the checkpoint inside"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it (unrar x) and give the checkpoint inside"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it (unzstd) and give what is inside"),
    (b"\x04\x22\x4d\x18", "compressed with lz4; unpack it (unlz4) and give what is inside"),
)
_PACKED: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "gzip", "gunzip"), (b"BZh", "bzip2", "bunzip2"), (b"\xfd7zXZ\x00", "xz", "unxz"),
)  # fmt: skip


def refuse_other_kinds(path: Path) -> None:
    """Raises InputError naming what the file is, where that can be told and it holds no weights that can be read."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if what := _text_kind(path, head) or _packed_kind(path, head) or _tar_kind(path, head) or _other_kind(head):
        raise InputError(f"{path} is {what}")


# -- texts -----------------------------------------------------------------------------------------------------------
def _text_kind(path: Path, head: bytes) -> str | None:
    if _LFS.match(head):
        return (
            "a git-lfs pointer, not the weights it points to; run `git lfs pull` in its folder, or download the "
            "file itself"
        )
    if b"\0" in head[:256]:
        return None
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _PAGE.match(text):
        title = re.search(rb"<title[^>]*>(.*?)</title>", text, re.I | re.S)
        named = f" ({_shown(title[1])})" if title and title[1].strip() else ""
        return f"a web page{named}, saved in the checkpoint's place; sign in or wait, and download the file itself"
    if text.lstrip()[:1] in (b"{", b"["):
        return _json_kind(path)
    if _is_text(text):
        return f"a text file that begins with {_shown(text)!r}; give a file that holds a model's state dict"
    return None


def _json_kind(path: Path) -> str | None:
    with open(path, "rb") as file:
        data = file.read(MAX_JSON + 1)
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return "a JSON text, not weights; give a file that holds a model's state dict"
    if "weight_map" in value:
        return "the index of a checkpoint in several files; give the folder that holds them all"
    for key in ("error", "message", "detail", "errors", "Message", "code"):
        if key in value:
            said = _shown(json.dumps(value[key]).encode())
            return (
                f"a server's error in JSON ({key}: {said}), not weights; sign in or wait, and download the file itself"
            )
    return "a JSON text, not weights; settings are given with --config, class names with --labels"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:2000].decode("utf-8", "strict" if len(head) < 2000 else "ignore")
    except UnicodeDecodeError:
        return False
    return len(text) >= 4 and all(c.isprintable() or c in "\r\n\t\f" for c in text)


def _shown(raw: bytes) -> str:
    text = " ".join(raw[:400].decode("utf-8", "replace").split())
    return "".join(c for c in text if c.isprintable())[:60]


# -- archives --------------------------------------------------------------------------------------------------------
def _packed_kind(path: Path, head: bytes) -> str | None:
    for magic, name, tool in _PACKED:
        if head.startswith(magic):
            inside = _beginning(name, head)
            if _is_tar(inside):
                return f"a tar archive, compressed with {name}; unpack it (tar -xf) and give the checkpoint inside"
            return f"compressed with {name}; unpack it ({tool}) and give what is inside"
    return None


def _beginning(name: str, head: bytes) -> bytes:
    """The first bytes of what is packed; b"" where they are damaged."""
    unpack: dict[str, Callable[[], bytes]] = {
        "gzip": lambda: zlib.decompressobj(31).decompress(head, HEAD),
        "bzip2": lambda: bz2.BZ2Decompressor().decompress(head, HEAD),
        "xz": lambda: lzma.LZMADecompressor(memlimit=2**27).decompress(head, HEAD),
    }
    try:
        return unpack[name]()
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return b""


def _is_tar(head: bytes) -> bool:
    if head[257:262] == b"ustar":
        return True
    try:  # an older header is known by its sum alone
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _tar_kind(path: Path, head: bytes) -> str | None:
    if not _is_tar(head):
        return None
    name = _shown(head[:100].split(b"\0")[0])
    return f"a tar archive ({name}, …); unpack it (tar -xf) and give the checkpoint inside"


def zip_kind(names: Sequence[str]) -> str:
    """What a zip is that ``torch.save`` did not make, from the names in it."""
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy .npz file; give a file that holds a model's state dict"
    inside = [name for name in names if name.lower().endswith(WEIGHT_ENDINGS)]
    if inside:
        more = f" and {len(inside) - 1} more" if len(inside) > 1 else ""
        return f"a zip with a checkpoint inside ({inside[0][:80]}{more}); unpack it (unzip) and give that"
    shown = ", ".join(name[:40] for name in names[:3])
    return f"a zip, but not one that torch.save makes (it holds {shown or 'nothing'}); give the checkpoint itself"


# -- the rest --------------------------------------------------------------------------------------------------------
def _other_kind(head: bytes) -> str | None:
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    if len(head) >= 16 and not any(head):
        return "a file that begins with zeros only, as an unfinished download does; download it again"
    return None
