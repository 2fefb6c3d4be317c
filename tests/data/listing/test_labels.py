"""Lists of labels as data sets ship them give each clip its class, or one line that says what is wrong."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from vtcd_jax.base.errors import InputError
from vtcd_jax.data.listing import class_indices, read_labels
from vtcd_jax.data.listing.search import Source

CLASSES = ("Rolling something from left to right", "Picking something up", "café")


def labelled(tmp_path: Path, text: str | bytes, names: list[str], suffix: str = ".txt") -> list[int]:
    path = tmp_path / f"list{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    sources = [Source(name, tmp_path / "clips" / name, ("clips",)) for name in names]
    return class_indices(sources, CLASSES, read_labels(path), str(path))


SSV2 = json.dumps(
    [
        {"id": "78687", "label": "rolling a ball", "template": "Rolling [something] from left to right"},
        {"id": 42326, "label": "picking a cup up", "template": "Picking [something] up", "placeholders": ["a cup"]},
    ]
)
KINETICS = "label,youtube_id,time_start,time_end,split\n" \
    'picking something up,abc-12,10,20,train\n"café",_x,3,13,train\npicking something up,_x,30,40,train\n'  # fmt: skip


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_somethings_own_list(tmp_path, mark):
    names = ["78687.mp4", "42326.webm", "1.mp4"]
    assert labelled(tmp_path, mark + SSV2.encode(), names, ".json") == [0, 1, -1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_kinetics_csv(tmp_path, encoding):
    names = ["abc-12_000010_000020.mp4", "abc-12.mp4", "_x_000003_000013.mp4", "a/_x_000030_000040.mp4", "_x.mp4"]
    assert labelled(tmp_path, KINETICS.encode(encoding), names, ".csv") == [1, 1, 2, 1, -1]


def test_kinetics_json(tmp_path):
    entry = {"annotations": {"label": "café", "segment": [4.0, 14.0]}, "subset": "train"}
    text = json.dumps({"abc": entry})
    assert labelled(tmp_path, text, ["abc_000004_000014.mp4", "abc.mkv"], ".json") == [2, 2]
    assert labelled(tmp_path, json.dumps({"database": {"abc": entry}}), ["abc.mkv"], ".json") == [2]


@pytest.mark.parametrize(
    "text",
    [
        "some/x y.mp4 1\nsome/z.mp4 0\n",
        "x y.mp4 Picking something up\nz.mp4 Rolling_something from left to right\n",
        "x y.mp4,1\nz.mp4,0\n",
        "x y;Picking something up\nz;Rolling something from left to right\n",
        "some/x y 250 1\nsome/z 299 0\n",
        "path,label\nx y.mp4,1\nz.mp4,0\n",
        "video\tclass\r\nx y.mp4\t1\r\nz.mp4\t0\r\n",
    ],
)
def test_text_lists(tmp_path, text):
    assert labelled(tmp_path, text, ["some/x y.mp4", "some/z.mp4"]) == [1, 0]


@pytest.mark.parametrize(("written", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_do_not_count(tmp_path, written, on_disk):
    text = json.dumps({unicodedata.normalize(written, "né.mp4"): unicodedata.normalize(written, "café")})
    assert labelled(tmp_path, text, [unicodedata.normalize(on_disk, "né.mp4")], ".json") == [2]


def test_names_that_are_no_utf8_match(tmp_path):
    assert labelled(tmp_path, b"caf\xe9.mp4 1\n", ["caf\\xe9.mp4"]) == [1]


def test_equal_file_names_are_told_apart_by_their_folders(tmp_path):
    text = "/data/train/a/1.mp4 0\n/data/train/b/1.mp4 1\n"
    assert labelled(tmp_path, text, ["a/1.mp4", "b/1.mp4"]) == [0, 1]
    with pytest.raises(InputError, match=r"1\.mp4: two entries fit it.*name the clip by its path"):
        labelled(tmp_path, "x/1.mp4 0\ny/1.mp4 1\n", ["1.mp4"])
    assert labelled(tmp_path, "other/1.mp4 0\nz.mp4 1\n", ["a/1.mp4", "z.mp4"]) == [-1, 1]


@pytest.mark.parametrize(
    ("text", "suffix", "words"),
    [
        ("x.mp4 1 2\n", ".txt", "line 1 gives 'x.mp4' several classes"),
        ("x.mp4 7\n", ".txt", r"x\.mp4: class 7 is outside the model's 3 classes \(0 to 2\)"),
        ("x.mp4 0\nx.mp4 1\n", ".txt", "gives clip 'x.mp4' two classes"),
        ("youtube_id,time_start,time_end,split\nx,1,2,test\n", ".csv", "no column for the class"),
        ("label,youtube_id\ncafé,\n", ".csv", "line 2 lacks the clip or its class"),
        ("what is this\n", ".txt", "line 1 is no clip with a class; expected JSON"),
        ("", ".txt", "an empty list"),
        ('[{"id": "x"}]', ".json", "one JSON object"),
        ("{", ".json", "not a JSON file"),
        ('{"y.mp4": "café"}', ".json", "names none of the 1 clips; the first clip is 'x.mp4'"),
        ('{"x.mp4": "coffee"}', ".json", r"list\.json: x\.mp4: unknown class 'coffee'; nearest: 'café'"),
    ],
)
def test_lists_that_cannot_be_used_say_why(tmp_path, text, suffix, words):
    with pytest.raises(InputError, match=words) as error:
        labelled(tmp_path, text, ["x.mp4"], suffix)
    assert len(str(error.value).splitlines()) == 1 and "list" in str(error.value)
