"""Sentences become the token ids that CLIP was trained with, from vocabulary files of every usual kind."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtcd_jax.models import InputError
from vtcd_jax.models.language.tokenizer import END, START, WORD_END, Tokenizer, clean, from_merges, read_tokenizer

SENTENCES = ("a ball rolls behind a box", "two balls roll apart", "a box falls on a ball")


def learned(sentences: tuple[str, ...], count: int) -> list[tuple[str, str]]:
    """Byte pairs by frequency, as in the paper's listing 1."""
    words = [(*word[:-1], word[-1] + WORD_END) for sentence in sentences for word in sentence.split()]
    merges: list[tuple[str, str]] = []
    for _ in range(count):
        pairs = [pair for word in words for pair in zip(word, word[1:], strict=False)]
        best = max(sorted(set(pairs)), key=pairs.count)
        merges.append(best)
        words = [tuple(" ".join(word).replace(" ".join(best), "".join(best)).split()) for word in words]
    return merges


TOKENIZER = from_merges(learned(SENTENCES, 20))


def pieces(tokenizer: Tokenizer, sentence: str) -> list[str]:
    tokens = {i: token for token, i in tokenizer.vocabulary.items()}
    return [tokens[i] for i in tokenizer.ids(sentence)]


def test_pairs_merge_in_the_order_in_which_they_were_learned():
    tokenizer = from_merges([("l", "o"), ("e", "r</w>"), ("lo", "w</w>"), ("o", "w")])
    assert pieces(tokenizer, "low lower slow") == ["low</w>", "lo", "w", "er</w>", "s", "low</w>"]


def test_a_common_word_is_one_token_and_a_strange_one_falls_apart():
    assert pieces(TOKENIZER, "ball") == ["ball</w>"]
    assert pieces(TOKENIZER, "zz") == ["z", "z</w>"]


def test_words_digits_and_signs_are_cut_apart_before_they_are_merged():
    joined = "".join(pieces(TOKENIZER, "it's box42, box!?")).split(WORD_END)
    assert joined[:-1] == ["it", "'s", "box", "4", "2", ",", "box", "!?"]


@given(st.text(max_size=30))
def test_no_character_is_lost(sentence):
    stands_for = {char: byte for byte, char in _byte_table().items()}
    joined = "".join(pieces(TOKENIZER, sentence)).replace(WORD_END, "")
    assert bytes(stands_for[char] for char in joined).decode() == "".join(clean(sentence).split())


def _byte_table() -> dict[int, str]:
    """Byte -> its character: the first 256 ids, printable bytes first."""
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order += [byte for byte in range(256) if byte not in order]
    characters = {i: token for token, i in TOKENIZER.vocabulary.items() if i < 256}
    return {byte: characters[i] for i, byte in enumerate(order)}


def test_text_is_repaired_unescaped_and_lowered():
    assert clean("  Caf&amp;eacute;\t“Two”   BALLS\n") == 'café "two" balls'


def test_the_name_of_a_special_token_ends_no_sentence():
    assert TOKENIZER.end not in TOKENIZER.ids(f"a ball {END} rolls")


def test_a_row_is_start_ids_end_and_zeros():
    rows = TOKENIZER.encode(["ball", ""], 5)
    start, end = TOKENIZER.vocabulary[START], TOKENIZER.vocabulary[END]
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(rows, [[start, TOKENIZER.vocabulary["ball</w>"], end, 0, 0], [start, end, 0, 0, 0]])


def test_a_sentence_that_is_too_long_is_refused_or_cut_with_its_end_token():
    with pytest.raises(InputError, match="'zzzz' has 4 tokens; the network takes 3"):
        TOKENIZER.encode(["zzzz"], 5)
    row = TOKENIZER.encode(["zzzz"], 5, truncate=True)[0]
    assert row[0] == TOKENIZER.vocabulary[START] and row[-1] == TOKENIZER.end and (row[1:-1] != 0).all()


def test_every_kind_of_file_gives_the_same_tokenizer(tmp_path):
    TOKENIZER.save(tmp_path)
    plain = (tmp_path / "merges.txt").read_text()
    (tmp_path / "bpe.txt").write_text(plain)
    (tmp_path / "bpe.txt.gz").write_bytes(gzip.compress(plain.encode()))
    special = [{"id": TOKENIZER.vocabulary[token], "content": token} for token in (START, END)]
    for name, merges in (("a.json", [list(p) for p in TOKENIZER.merges]), ("b.json", plain.splitlines()[1:])):
        model = {"vocab": dict(TOKENIZER.vocabulary), "merges": merges}
        (tmp_path / name).write_text(json.dumps({"model": model, "added_tokens": special}))
    (tmp_path / "hub").mkdir()
    shutil.copy(tmp_path / "a.json", tmp_path / "hub" / "tokenizer.json")
    for path in (tmp_path, *(tmp_path / n for n in ("bpe.txt", "bpe.txt.gz", "a.json", "b.json", "hub"))):
        assert read_tokenizer(path) == TOKENIZER, path


def _without(folder: Path, token: str) -> None:
    vocabulary = {t: i for i, t in enumerate(t for t in TOKENIZER.vocabulary if t != token)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "merges.txt").unlink(), "merges.txt is missing"),
        (lambda f: (f / "vocab.json").write_text("{"), "holds no vocabulary of CLIP"),
        (lambda f: (f / "vocab.json").write_text('["a"]'), "holds no vocabulary of CLIP"),
        (lambda f: (f / "merges.txt").write_text("#version\na b c\n"), "holds no vocabulary of CLIP"),
        (lambda f: (f / "vocab.json").write_text('{"a": 1, "b": 7}'), "ids are not 0, 1, 2"),
        (lambda f: _without(f, END), r"lacks 1 tokens \('<\|endoftext\|>'"),
        (lambda f: _without(f, "ball</w>"), r"lacks 1 tokens \('ball</w>'"),
        (lambda f: _without(f, "ÿ"), "lacks 1 tokens"),
    ],
)
def test_a_broken_vocabulary_is_named(tmp_path, damage, message):
    TOKENIZER.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read_tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "bpe.txt.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"bpe\.txt\.gz holds no vocabulary"):
        read_tokenizer(tmp_path / "bpe.txt.gz")


def test_clips_own_vocabulary_gives_the_reference_ids(golden):
    """The published vocabulary is not ours to ship: name ``bpe_simple_vocab_16e6.txt.gz`` to run this."""
    if "VTCD_CLIP_VOCABULARY" not in os.environ:
        pytest.skip("needs CLIP's vocabulary in the file that VTCD_CLIP_VOCABULARY names")
    tokenizer = read_tokenizer(os.environ["VTCD_CLIP_VOCABULARY"])
    stored = json.loads((golden / "models" / "clip_bpe_tokens.json").read_text())
    assert (len(tokenizer.vocabulary), tokenizer.end) == (stored["vocab_size"], stored["end_token"])
    assert tokenizer.vocabulary[START] == stored["start_token"]
    for row in stored["rows"]:
        assert tokenizer.ids(row["text"]) == row["ids"], row["text"]
