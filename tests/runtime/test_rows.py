from __future__ import annotations

import gzip
import json

import pytest
from ascend_runtime.data.formats import BadRow
from ascend_runtime.data.rows import BadFile, find_files, read_rows
from runtime.builders import write_lines

GOOD = {"instruction": "q", "output": "a"}


def read(path):
    return [(row.number, row.document) for row in read_rows(path, "alpaca")]


def bad(path):
    return [(number, str(document)) for number, document in read(path) if isinstance(document, BadRow)]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"], ids=["json", "jsonl"])
@pytest.mark.parametrize("start", [b"", "\ufeff".encode(), b" \n"], ids=["plain", "bom", "space"])
def test_array_or_lines_is_told_by_content(tmp_path, name, start):
    array, lines = tmp_path / f"a-{name}", tmp_path / f"l-{name}"
    array.write_bytes(start + json.dumps([GOOD, GOOD], indent=1).encode())
    lines.write_bytes(start + b"\n".join([json.dumps(GOOD).encode()] * 2))
    assert len(read(array)) == len(read(lines)) == 2
    assert not bad(array) + bad(lines)


def test_gzip(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode() + b"\n"))
    assert len(read(path)) == 1


def test_rows_of_lines_are_numbered_by_line(tmp_path):
    path = write_lines(
        tmp_path / "rows.jsonl", GOOD, b"", b"{", b'"x"', b'{"instruction": "\xff"}', {"instruction": "q"}
    )
    numbers, sentences = zip(*bad(path), strict=True)
    assert numbers == (3, 4, 5, 6)
    assert "not JSON" in sentences[0]
    assert "is text, not an object" in sentences[1]
    assert sentences[2] == "not UTF-8 (byte 18 of the line)"
    assert "no answer" in sentences[3]


def test_rows_of_an_array_are_numbered_from_one(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([GOOD, 3]))
    assert bad(path) == [(2, "is a number, not an object")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b'[{"a": 1},\n {"a": ]', "rows.json line 2 column 8: not JSON", id="syntax"),
        pytest.param(b'[{"a":\n "\xff"}]', "rows.json line 2: not UTF-8", id="encoding"),
        pytest.param(b"[" * 200_000, "rows.json: not JSON (nested too deep)", id="depth"),
    ],
)
def test_an_array_that_does_not_read(tmp_path, content, sentence):
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"rows\.json") as caught:
        read(path)
    assert sentence in str(caught.value)


def test_a_gzip_file_cut_short(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode() * 500)[:-12])
    with pytest.raises(BadFile, match="cannot be read"):
        read(path)


def test_a_folder_gives_its_files_by_name(tmp_path):
    for name in ("b.jsonl", "a.json", "notes.txt", "c.jsonl.gz"):
        (tmp_path / name).touch()
    assert [file.name for file in find_files(tmp_path)] == ["a.json", "b.jsonl", "c.jsonl.gz"]
    assert find_files(tmp_path / "absent") == ()
