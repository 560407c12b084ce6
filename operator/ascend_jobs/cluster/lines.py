"""Bytes of a stream into lines, with a bound on what one line may hold in memory."""

from __future__ import annotations

from collections.abc import Iterator


class LineSplitter:
    """Cut chunks into lines without their line ends.

    A line above `limit` bytes is skipped without being kept, and counted in `dropped`. What follows the last line end
    is no line yet; at the end of a stream it is the rest of a cut one.
    """

    def __init__(self, limit: int) -> None:
        """Take the longest line that is kept, in bytes."""
        self._limit = limit
        self._tail = b""
        self._skipping = False
        self.dropped = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that end in this chunk."""
        first, *rest = chunk.split(b"\n")
        if not rest:
            self._hold(first)
            return
        if self._skipping:
            self._skipping = False
        else:
            yield from self._checked(self._tail + first)
        self._tail = b""
        for line in rest[:-1]:
            yield from self._checked(line)
        self._hold(rest[-1])

    def _hold(self, part: bytes) -> None:
        """Keep an unfinished line, unless it is already too long."""
        if self._skipping:
            return
        if len(self._tail) + len(part) > self._limit:
            self._tail, self._skipping = b"", True
            self.dropped += 1
        else:
            self._tail += part

    def _checked(self, line: bytes) -> Iterator[bytes]:
        if len(line) <= self._limit:
            yield line
        else:
            self.dropped += 1
