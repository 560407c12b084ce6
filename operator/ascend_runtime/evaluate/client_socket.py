"""Sockets that know when bytes came and went, however late the program gets to look at them.

The kernel stamps what arrives (SO_TIMESTAMPNS, socket(7)). With hundreds of streams in one process, the moment at which
its turn comes to read a token may be tens of milliseconds later than the token's arrival; the stamp is not. Where the
kernel gives none, the time of reading stands in.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import aiohttp

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_SO_TIMESTAMPNS = 35
"""Linux, all 64-bit architectures (asm-generic/socket.h); Python has no name for it before 3.14."""
_STAMP = struct.Struct("qq")
"""struct timespec: seconds and nanoseconds of CLOCK_REALTIME."""
_SPACE = socket.CMSG_SPACE(_STAMP.size)
_LONGEST_READ = 1 << 16
_OLDEST = 60.0
"""Seconds; a stamp older than that, or of the future, comes from a clock that was set meanwhile."""


class TimedSocket(socket.socket):
    """A TCP socket that notes times as its transport reads and writes; times are seconds of time.perf_counter()."""

    def __init__(self, family: int, kind: int, protocol: int, fileno: int | None = None) -> None:
        """Open the socket, or take over an open one, and ask the kernel for stamps."""
        super().__init__(family, kind, protocol, fileno)
        self.arrived = 0.0
        """When the bytes read last arrived; the last segment of them, where several were read at once."""
        self.sent = 0.0
        """When the first bytes after the last read were handed to the kernel: in HTTP/1.1, the present request's."""
        self._has_read = True
        with suppress(OSError):  # without stamps the times of reading stand in
            self.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Read, and note when what was read arrived."""
        data, ancillary, _, _ = self.recvmsg(min(size, _LONGEST_READ), _SPACE, flags)
        self._note(ancillary)
        return data

    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> int:
        """Read into a buffer, as TLS does, and note when what was read arrived."""
        number, ancillary, _, _ = self.recvmsg_into([memoryview(buffer)[: size or None]], _SPACE, flags)
        self._note(ancillary)
        return number

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Write, and note when a request began."""
        self._begin()
        return super().send(data, flags)

    def sendmsg(self, buffers: Iterable[ReadableBuffer], /, *arguments: Any) -> int:  # noqa: ANN401 - as the socket has them
        """Write several buffers, and note when a request began."""
        self._begin()
        return super().sendmsg(buffers, *arguments)

    def _begin(self) -> None:
        if self._has_read:
            self.sent = time.perf_counter()
            self._has_read = False

    def _note(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        self._has_read = True
        self.arrived = _arrival(next((data for _, kind, data in ancillary if kind == _SO_TIMESTAMPNS), None))


def _arrival(stamp: bytes | None) -> float:
    """Return a stamp on the clock of time.perf_counter()."""
    now = time.perf_counter()
    if stamp is None or len(stamp) != _STAMP.size:
        return now
    seconds, nanoseconds = _STAMP.unpack(stamp)
    age = (time.time_ns() - seconds * 1_000_000_000 - nanoseconds) / 1e9
    return now - age if 0 <= age < _OLDEST else now


class TimedConnector(aiohttp.TCPConnector):
    """A connector whose sockets are timed."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as aiohttp has them
        """Take aiohttp's options; must be called inside the loop."""
        super().__init__(socket_factory=self._make, **options)
        self._sockets: WeakValueDictionary[int, TimedSocket] = WeakValueDictionary()

    def _make(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        made = TimedSocket(family, kind, protocol)
        self._sockets[made.fileno()] = made
        return made


def timed_socket(session: aiohttp.ClientSession, response: aiohttp.ClientResponse) -> TimedSocket | None:
    """Return the socket that an answer comes from; None when it has come whole, or the session is not timed."""
    connection, connector = response.connection, session.connector
    if connection is None or connection.transport is None or not isinstance(connector, TimedConnector):
        return None
    given = connection.transport.get_extra_info("socket")
    return None if given is None else connector._sockets.get(given.fileno())
