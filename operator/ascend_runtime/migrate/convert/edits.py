"""Edits by position, and how a text takes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Operation(StrEnum):
    """The upstream tool's words in change_list.csv."""

    INSERT = "INSERT"
    MODIFY = "MODIFY"
    DELETE = "DELETE"


@dataclass(frozen=True, order=True)
class Edit:
    """Replace text[start:end]; `line` and `end_line` count from 1 in the original file."""

    start: int
    end: int
    text: str
    rule: str
    operation: Operation
    message: str
    line: int
    end_line: int


def compatible(edits: Iterable[Edit]) -> list[Edit]:
    """Return the edits in order of position without doubles and without those that overlap an earlier, longer one."""
    kept: list[Edit] = []
    for edit in sorted(set(edits), key=lambda e: (e.start, e.end != e.start, -e.end, e.rule)):
        if kept and (edit.start < kept[-1].end or (edit.start, edit.end, edit.text) == _place(kept[-1])):
            continue
        kept.append(edit)
    return kept


def _place(edit: Edit) -> tuple[int, int, str]:
    return edit.start, edit.end, edit.text


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with compatible edits made."""
    parts: list[str] = []
    position = 0
    for edit in edits:
        parts += [text[position : edit.start], edit.text]
        position = edit.end
    return "".join([*parts, text[position:]])
