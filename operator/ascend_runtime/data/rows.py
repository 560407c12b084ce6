"""Files of a data set → numbered rows: JSON arrays and JSON lines, told apart by content, plain or gzipped."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from ascend_runtime.data.formats import BadRow, Document, parse_row

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_BOM = "\ufeff"


@dataclass(frozen=True)
class Row:
    """One row as it lies in the file: its number from 1 (in JSON lines: of the line), and what it holds."""

    file: Path
    number: int
    document: Document | BadRow


class BadFile(Exception):
    """A file that cannot be read to its end; the message says where and why."""


def find_files(path: Path) -> tuple[Path, ...]:
    """Return a data set's files: the file itself, or those of a folder with a known suffix, by name."""
    if not path.is_dir():
        return (path,) if path.is_file() else ()
    return tuple(sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith(SUFFIXES)))


def read_rows(path: Path, format_name: str) -> Iterator[Row]:
    """Yield every row, the bad ones with their complaint; raises BadFile when the file cannot be read on."""
    try:
        with _open(path) as stream:
            if _starts_array(stream):
                yield from _read_array(path, stream, format_name)
            else:
                yield from _read_lines(path, stream, format_name)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{path.name}: cannot be read: {error}") from error


def _open(path: Path) -> IO[bytes]:
    if path.name.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _starts_array(stream: IO[bytes]) -> bool:
    """Look at the first character that is no space; the stream is back at its start afterwards."""
    head = stream.read(4096)
    stream.seek(0)
    return head.removeprefix(_BOM.encode()).lstrip()[:1] == b"["


def _read_lines(path: Path, stream: IO[bytes], format_name: str) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            yield Row(path, number, _parse_line(line, format_name))


def _parse_line(line: bytes, format_name: str) -> Document | BadRow:
    try:
        return parse_row(json.loads(line.decode("utf-8-sig")), format_name)
    except UnicodeDecodeError as error:
        return BadRow(f"not UTF-8 (byte {error.start + 1} of the line)")
    except (ValueError, RecursionError) as error:
        return BadRow(f"not JSON ({error})")
    except BadRow as error:
        return error


def _read_array(path: Path, stream: IO[bytes], format_name: str) -> Iterator[Row]:
    raw = stream.read()
    try:
        rows = json.load(io.StringIO(raw.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadFile(f"{path.name} line {line}: not UTF-8") from error
    except json.JSONDecodeError as error:
        raise BadFile(f"{path.name} line {error.lineno} column {error.colno}: not JSON ({error.msg})") from error
    except RecursionError as error:
        raise BadFile(f"{path.name}: not JSON (nested too deep)") from error
    for number, row in enumerate(rows, start=1):
        yield Row(path, number, _parse_entry(row, format_name))


def _parse_entry(row: object, format_name: str) -> Document | BadRow:
    try:
        return parse_row(row, format_name)
    except BadRow as error:
        return error
