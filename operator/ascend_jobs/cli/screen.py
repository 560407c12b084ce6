"""One block of lines that is drawn again in place, or plain lines where the output is no terminal."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_END_OF_LINE, _END_OF_SCREEN = "\x1b[K", "\x1b[J"


class Screen:
    """Draws a block over the previous one with a single write, so that nothing flickers."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        """Take the stream to draw on."""
        self._out = out
        self._height = 0

    @property
    def live(self) -> bool:
        """Say whether a block can be drawn again here."""
        return self._out.isatty() and os.environ.get("TERM") != "dumb"

    def draw(self, lines: Sequence[str]) -> None:
        """Put these lines where the last block was; what does not fit the window is cut."""
        size = shutil.get_terminal_size()
        shown = [cut(line, size.columns) for line in lines[: size.lines - 1]]
        up = f"\x1b[{self._height}F" if self._height else ""
        self._out.write(up + "".join(f"{line}{_END_OF_LINE}\n" for line in shown) + _END_OF_SCREEN)
        self._out.flush()
        self._height = len(shown)

    def __enter__(self) -> Self:
        """Hide the cursor."""
        if self.live:
            self._out.write(_HIDE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the cursor again, whatever happened."""
        if self.live:
            self._out.write(_SHOW)
            self._out.flush()


def cut(line: str, columns: int) -> str:
    """Return as much of a line as fits; wide characters count twice, colour codes not at all."""
    used, i = 0, 0
    while i < len(line):
        if line[i] == "\x1b":
            i = line.index("m", i) + 1
            continue
        used += width(line[i])
        if used > columns:
            return line[:i] + ("\x1b[0m" if "\x1b" in line else "")
        i += 1
    return line


def width(character: str) -> int:
    """Return the columns that a character takes: 2 for Chinese, Japanese, Korean and full-width forms."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clean(text: str) -> str:
    """Return text without control characters: what a job reports must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
