"""CLIP's tokenizer: sentences to rows of token ids, by byte-pair encoding.

A sentence is repaired and lower-cased, cut into words, digits and runs of other signs; the bytes of each piece, written
as printable characters with ``</w>`` after the last, are merged pair by pair in the order in which the merges were
learned. The vocabulary is read from files at hand: nothing is fetched.

Sennrich, Haddow & Birch (2016), "Neural Machine Translation of Rare Words with Subword Units", section 3.2; Radford et
al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", section 2.4.
"""

from __future__ import annotations

import functools
import gzip
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base import files
from vtcd_jax.base.errors import InputError

START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY, MERGES = "vocab.json", "merges.txt"
WORD_END = "</w>"
PIECES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# OpenAI's file holds more merges than CLIP was trained with: 49,408 ids, less the bytes, twice, and start and end.
CLIP_MERGES = 49_408 - 2 * 256 - 2
Merges = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tokenizer:
    """vocabulary: token -> id.  merges: pairs of tokens, in the order in which they are applied."""

    vocabulary: Mapping[str, int]
    merges: Merges

    def __post_init__(self) -> None:
        """Raises InputError for a vocabulary that lacks a byte, a merged token, or start and end."""
        needed = [START, END, *_bytes().values(), *(byte + WORD_END for byte in _bytes().values())]
        needed += [left + right for left, right in self.merges]
        missing = [token for token in needed if token not in self.vocabulary]
        if missing:
            shown = ", ".join(map(repr, missing[:3]))
            raise InputError(f"the vocabulary lacks {len(missing)} tokens ({shown}, …); give one made for CLIP")

    @property
    def end(self) -> int:
        """Id of the end token."""
        return self.vocabulary[END]

    @functools.cached_property
    def _pairs(self) -> Any:
        from tokenizers import Regex, models, pre_tokenizers
        from tokenizers import Tokenizer as Pairs

        pairs = Pairs(models.BPE(dict(self.vocabulary), list(self.merges), end_of_word_suffix=WORD_END))
        pieces = pre_tokenizers.Split(Regex(PIECES), "removed", invert=True)
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        pairs.pre_tokenizer = pre_tokenizers.Sequence([pieces, as_bytes])  # type: ignore[assignment]
        return pairs

    def ids(self, sentence: str) -> list[int]:
        """Ids of a sentence, without start and end. The names of special tokens are ordinary characters in it."""
        return self._pairs.encode(clean(sentence), add_special_tokens=False).ids

    def encode(self, sentences: Sequence[str], context_length: int, *, truncate: bool = False) -> np.ndarray:
        """int32 [text, token]: start token, ids, end token, zeros up to ``context_length``.

        truncate: cut sentences off that are too long, as ViCLIP does; else they raise InputError.
        """
        rows = np.zeros((len(sentences), context_length), np.int32)
        for row, sentence in zip(rows, sentences, strict=True):
            ids = self.ids(sentence)
            if len(ids) > context_length - 2 and not truncate:
                raise InputError(
                    f"{sentence[:60]!r} has {len(ids)} tokens; the network takes {context_length - 2}: shorten it"
                )
            ids = [self.vocabulary[START], *ids[: context_length - 2], self.end]
            row[: len(ids)] = ids
        return rows

    def save(self, folder: str | Path) -> None:
        """Writes ``vocab.json`` and ``merges.txt``."""
        files.write_json(Path(folder) / VOCABULARY, dict(self.vocabulary))
        lines = ["#version: 0.2", *(" ".join(pair) for pair in self.merges)]
        files.write_text(Path(folder) / MERGES, "\n".join(lines) + "\n")


def clean(sentence: str) -> str:
    """Broken encodings and curly quotes repaired, HTML signs resolved twice, blanks collapsed, lower case."""
    import ftfy

    unescaped = html.unescape(html.unescape(ftfy.fix_text(sentence)))
    return " ".join(unescaped.split()).lower()


def from_merges(merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """The tokenizer whose ids are, in order: bytes, bytes that end a word, merged pairs, start, end."""
    single = list(_bytes().values())
    merged = ["".join(pair) for pair in merges]
    tokens = [*single, *(byte + WORD_END for byte in single), *merged, START, END]
    return Tokenizer({token: i for i, token in enumerate(tokens)}, tuple(merges))


def read_tokenizer(path: str | Path) -> Tokenizer:
    """From a folder with ``vocab.json`` and ``merges.txt`` or with ``tokenizer.json``, from such a ``tokenizer.json``,
    or from OpenAI's ``bpe_simple_vocab_16e6.txt.gz`` (packed or not). Raises InputError, naming the file.
    """
    path = Path(path)
    try:
        if path.is_dir() and (path / VOCABULARY).exists():
            vocabulary = json.loads((path / VOCABULARY).read_text("utf-8"))
            return _tokenizer(vocabulary, _merges((path / MERGES).read_text("utf-8")))
        if path.is_dir() or path.suffix == ".json":
            path = path / "tokenizer.json" if path.is_dir() else path
            pairs = json.loads(path.read_text("utf-8"))["model"]
            special = {token["content"]: token["id"] for token in json.loads(path.read_text("utf-8"))["added_tokens"]}
            return _tokenizer(pairs["vocab"] | special, [_pair(merge) for merge in pairs["merges"]])
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        return from_merges(_merges(data.decode("utf-8"))[:CLIP_MERGES])
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is missing; give a folder with {VOCABULARY} and {MERGES}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} holds no vocabulary of CLIP ({error}); give {VOCABULARY} and {MERGES}") from None


def _tokenizer(vocabulary: Any, merges: Sequence[tuple[str, str]]) -> Tokenizer:
    ids = sorted(vocabulary.values())
    if any(type(i) is not int for i in ids) or ids != list(range(len(ids))):
        raise ValueError("ids are not 0, 1, 2, …")
    return Tokenizer(vocabulary, tuple(merges))


def _merges(text: str) -> list[tuple[str, str]]:
    """Pairs of a file of merges: a heading, then a pair a line."""
    return [_pair(line) for line in text.split("\n")[1:] if line]


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split() if isinstance(merge, str) else merge
    return left, right


@functools.cache
def _bytes() -> dict[int, str]:
    """Byte -> the character that stands for it: itself where it is printable, else one from 256 on. In CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
