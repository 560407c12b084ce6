from __future__ import annotations

import struct

import pytest
from ascend_runtime.data.indexed import IndexedReader, IndexedWriter


def write(prefix, *documents):
    with IndexedWriter(prefix) as writer:
        for document in documents:
            writer.add(document)
    return prefix


def test_layout_is_megatrons(tmp_path):
    write(tmp_path / "x", [1, 2, 3], [-100, 5])
    assert (tmp_path / "x.bin").read_bytes() == struct.pack("<5i", 1, 2, 3, -100, 5)
    want = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 4, 2, 3)
    want += struct.pack("<2i", 3, 2) + struct.pack("<2q", 0, 12) + struct.pack("<3q", 0, 1, 2)
    assert (tmp_path / "x.idx").read_bytes() == want


def test_documents_come_back(tmp_path):
    reader = IndexedReader(write(tmp_path / "x", [1, 2, 3], [-100, 5]))
    assert (len(reader), reader.total) == (2, 5)
    assert [reader.document(index).tolist() for index in range(2)] == [[1, 2, 3], [-100, 5]]


def test_no_documents(tmp_path):
    reader = IndexedReader(write(tmp_path / "x"))
    assert (len(reader), reader.total) == (0, 0)


@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_a_file_cut_short_is_refused(tmp_path, suffix):
    prefix = write(tmp_path / "x", [1, 2, 3])
    file = prefix.with_suffix(suffix)
    file.write_bytes(file.read_bytes()[: 11 if suffix == ".bin" else 35])
    with pytest.raises(ValueError, match="x"):
        IndexedReader(prefix)


def test_an_error_leaves_no_index(tmp_path):
    with pytest.raises(RuntimeError), IndexedWriter(tmp_path / "x") as writer:
        writer.add([1])
        raise RuntimeError
    assert not (tmp_path / "x.idx").exists()
