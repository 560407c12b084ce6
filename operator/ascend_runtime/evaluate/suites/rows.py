"""Files → numbered rows, with every complaint about them collected before the first request."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.config import SuiteConfig

SHOWN = 5
"""Complaints named in the message; all are counted."""
_LONGEST = 500
"""Characters of one complaint: five of them fit into a termination message."""


class BadRow(Exception):
    """What is wrong with one row, as a sentence that says what to do."""


@dataclass
class Complaints:
    """What is wrong with a suite's files."""

    suite: SuiteConfig
    shown: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, file: Path, row: int, sentence: object) -> None:
        """Note what is wrong with a row; rows count from 1, a header is row 1."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{file.name} row {row}: {sentence}"[:_LONGEST])

    def raise_any(self) -> None:
        """Raise InvalidInput if anything is wrong."""
        if not self.count:
            return
        more = f"; and {self.count - len(self.shown)} more" if self.count > len(self.shown) else ""
        intro = "" if self.count == 1 else f"{self.count} bad rows: "
        raise invalid(self.suite, f"{intro}{'; '.join(self.shown)}{more}")


def invalid(suite: SuiteConfig, sentence: str, *, field: str = "uri", found: bool = True) -> InvalidInput:
    """Return the error for a suite's files or settings."""
    reason = Reason.DATASET_INVALID if found else Reason.DATASET_NOT_FOUND
    return InvalidInput(reason, f"{suite.field}.{field}", sentence)


def read_csv(suite: SuiteConfig, path: Path) -> list[list[str]]:
    """Return all records of a CSV file; raises InvalidInput where it cannot be read or is no CSV."""
    reader = csv.reader(io.StringIO(_text(suite, path), newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        rows.extend(reader)
    except csv.Error as error:
        sentence = f"{path.name} row {len(rows) + 1} (line {reader.line_num}): no CSV ({error}); check its quotes"
        raise invalid(suite, sentence) from error
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    return rows


def read_lines(suite: SuiteConfig, path: Path, complaints: Complaints) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and object of a file of JSON lines; what is none becomes a complaint."""
    for number, line in enumerate(_text(suite, path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            complaints.add(path, number, f"not JSON ({error}); each line is one object")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            complaints.add(path, number, "no JSON object; each line is one object")


def find_lines_files(suite: SuiteConfig, *names: str) -> tuple[Path, ...]:
    """Return the file itself, or of a folder the first of `names` that is there, else all its .jsonl files."""
    path = suite.place.path
    if not path.is_dir():
        return (path,)
    named = [path / name for name in names if (path / name).is_file()]
    files = named[:1] or sorted(file for file in path.glob("*.jsonl") if file.is_file())
    if not files:
        raise invalid(suite, f"{suite.place.uri} is a folder without a .jsonl file", found=False)
    return tuple(files)


def text_of(row: dict[str, Any], key: str) -> str:
    """Return a text field of a row; raises BadRow."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        has = ", ".join(sorted(str(name) for name in row)[:8]) or "nothing"
        raise BadRow(f'no text in field "{key}" (the row has {has}); add it or remove the row')
    return value


def _text(suite: SuiteConfig, path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise invalid(suite, f"{path.name} cannot be read: {error.strerror or error}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise invalid(suite, f"{path.name} line {line}: not UTF-8; save the file as UTF-8") from error
