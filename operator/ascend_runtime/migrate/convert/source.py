"""A Python file as bytes, text and tree, and the way from a node's position to a place in the text.

What is not edited stays as it was, byte by byte: line ends, byte order mark, coding cookie, tabs and a missing
last newline are never normalised. Positions of `ast` are counted in UTF-8 bytes of a line (Python documentation,
ast.AST.col_offset), whatever the file's own encoding is.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass, field
from functools import cached_property

MAX_BYTES = 10 * 1024 * 1024
"""Files larger than 10 MiB are left alone, as the upstream tool does (its README, limits)."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class Unreadable(Exception):
    """The file cannot be converted; the message says why, in a sentence for people."""


@dataclass(frozen=True)
class Source:
    """A parsed file. `text` has no byte order mark; `bom` tells whether the bytes had one."""

    path: str
    text: str
    encoding: str
    bom: bool
    tree: ast.Module
    _starts: list[int] = field(repr=False)

    def offset(self, line: int, column: int) -> int:
        """Return the index in the text of a line (from 1) and a column in UTF-8 bytes (from 0)."""
        start = self._starts[line - 1]
        end = self._starts[line] if line < len(self._starts) else len(self.text)
        content = self.text[start:end]
        if content.isascii():
            return start + column
        return start + len(content.encode()[:column].decode(errors="replace"))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node begins and ends in the text."""
        line, column = node.lineno, node.col_offset  # type: ignore[attr-defined]
        return self.offset(line, column), self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def line_span(self, line: int) -> tuple[int, int]:
        """Return where a line (from 1) begins and ends; the end includes its line end."""
        return self._starts[line - 1], self._starts[line] if line < len(self._starts) else len(self.text)

    @cached_property
    def newline(self) -> str:
        """Return the line end this file uses first."""
        found = _LINE_END.search(self.text)
        return found.group() if found else "\n"

    def segment(self, node: ast.AST) -> str:
        """Return the text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def encoded(self, text: str) -> bytes:
        """Return a changed text in this file's own encoding."""
        return (_BOM if self.bom else b"") + text.encode(self.encoding)


def parse_source(path: str, raw: bytes) -> Source:
    """Return the file parsed; raises Unreadable if it is not Python 3, not in its encoding, or too large."""
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"larger than {MAX_BYTES} bytes")
    bom = raw.startswith(_BOM)
    text, encoding = _decode(raw[3:] if bom else raw, bom=bom)
    try:
        tree = parse_text(text)
    except SyntaxError as err:
        raise Unreadable(f"line {err.lineno or 0}: {err.msg}") from err
    except (ValueError, RecursionError, MemoryError) as err:
        raise Unreadable(f"cannot be parsed: {err or type(err).__name__}") from err
    starts = [0, *(found.end() for found in _LINE_END.finditer(text))]
    return Source(path, text, encoding, bom, tree, starts)


def parse_text(text: str) -> ast.Module:
    """Parse Python without its warnings about old escapes; raises as ast.parse does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _decode(raw: bytes, *, bom: bool) -> tuple[str, str]:
    try:
        encoding = "utf-8" if bom else tokenize.detect_encoding(io.BytesIO(raw).readline)[0]
        text = raw.decode(encoding)
        if text.encode(encoding) != raw:
            raise Unreadable(f"its bytes do not survive the encoding {encoding}")
    except (SyntaxError, UnicodeError, LookupError) as err:
        raise Unreadable(f"wrong encoding: {err}") from err
    return text, encoding
