r"""Pairs of token files as Megatron reads them: PREFIX.bin holds the tokens, PREFIX.idx says where each document lies.

Layout of .idx, little endian: 9 bytes `MMIDIDX\0\0`, u64 version 1, u8 type (4 is int32), u64 number of sequences,
u64 number of documents + 1, int32 length of each, int64 byte offset of each, int64 first sequence of each document
(Megatron-LM, core/datasets/indexed_dataset.py). Here each document is one sequence.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = b"MMIDIDX\x00\x00"
_INT32 = 4
_HEADER = struct.Struct("<9sQBQQ")


class IndexedWriter:
    """Writes one pair; the .idx comes last, when the writer is left without an error."""

    def __init__(self, prefix: Path) -> None:
        self._index = prefix.with_name(prefix.name + ".idx")
        self._stream = prefix.with_name(prefix.name + ".bin").open("wb")
        self._lengths: list[int] = []

    def __enter__(self) -> IndexedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if error is None:
            _write_index(self._index, np.asarray(self._lengths, dtype="<i4"))

    def add(self, document: Sequence[int]) -> None:
        """Append one document's tokens."""
        np.asarray(document, dtype="<i4").tofile(self._stream)
        self._lengths.append(len(document))


class IndexedReader:
    """Reads one pair through a memory map; raises ValueError when .idx and .bin do not fit each other."""

    def __init__(self, prefix: Path) -> None:
        self.lengths = _read_lengths(prefix.with_name(prefix.name + ".idx"))
        self._ends = np.cumsum(self.lengths, dtype=np.int64)
        data = prefix.with_name(prefix.name + ".bin")
        if data.stat().st_size != 4 * self.total:
            raise ValueError(f"{data.name} has {data.stat().st_size} bytes, its index says {4 * self.total}")
        self.tokens: NDArray[np.int32] = np.zeros(0, dtype="<i4")
        if self.total:  # an empty file cannot be mapped
            self.tokens = np.memmap(data, dtype="<i4", mode="r")

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def total(self) -> int:
        """Return the number of tokens of all documents."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def document(self, index: int) -> NDArray[np.int32]:
        """Return a document's tokens, a view of the file."""
        end = self._ends[index]
        return self.tokens[end - self.lengths[index] : end]


def _write_index(path: Path, lengths: NDArray[np.int32]) -> None:
    offsets: NDArray[np.int64] = np.zeros(len(lengths), dtype="<i8")
    offsets[1:] = np.cumsum(lengths, dtype=np.int64)[:-1] * 4
    with path.open("wb") as stream:
        stream.write(_HEADER.pack(_MAGIC, 1, _INT32, len(lengths), len(lengths) + 1))
        lengths.tofile(stream)
        offsets.tofile(stream)
        np.arange(len(lengths) + 1, dtype="<i8").tofile(stream)


def _read_lengths(path: Path) -> NDArray[np.int32]:
    raw = path.read_bytes()
    if len(raw) < _HEADER.size:
        raise ValueError(f"{path.name} is cut short")
    magic, version, kind, sequences, _ = _HEADER.unpack_from(raw)
    if (magic, version, kind) != (_MAGIC, 1, _INT32) or len(raw) < _HEADER.size + 4 * sequences:
        raise ValueError(f"{path.name} is no index of int32 documents")
    return np.frombuffer(raw, dtype="<i4", count=sequences, offset=_HEADER.size)
