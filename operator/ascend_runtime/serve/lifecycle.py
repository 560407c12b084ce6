"""From the first port to the last answer: listen, wait for a signal, let requests end, go.

SIGTERM and SIGINT begin a drain: health answers 503, new requests are refused with 503, running ones have the grace
time to end. Then the process ends with code 0. That is kinder than vLLM 0.23 and 0.32 on CPU, which close their port at
once and cut off what runs (hack/check_vllm.py); pods of both wait in preStop before.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ascend_runtime.report import emit
from ascend_runtime.serve.core import Core
from ascend_runtime.serve.failures import CannotServe, ServeReason, config_invalid
from ascend_runtime.serve.settings import Listen

_LOOK_SECONDS = 0.05
"""How often a drain looks whether the last request has ended."""


@dataclass(frozen=True)
class Port:
    """A bound socket that does not listen yet: a port in use is known before a model is loaded."""

    listen: Listen
    socket: socket.socket
    context: ssl.SSLContext | None


class Stop:
    """Says once that the server is to end; set by signals and by MindIE's /stopService."""

    def __init__(self) -> None:
        """Take SIGTERM and SIGINT."""
        self._event = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})

    def set(self) -> None:
        """Begin the end."""
        self._event.set()

    async def wait(self) -> None:
        """Wait for it."""
        await self._event.wait()


def bind(listen: Listen) -> Port:
    """Take a port; raises CannotServe (PortInUse, ConfigInvalid)."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((listen.host, listen.port))
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotServe(ServeReason.PORT_IN_USE, "port", f"{listen.url}: the port is in use") from error
        raise config_invalid("host", f"{listen.url}: {error.strerror or error}") from error
    return Port(listen, taken, _context(listen))


def _context(listen: Listen) -> ssl.SSLContext | None:
    if listen.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(listen.certificate, listen.key)
    except (OSError, ssl.SSLError) as error:
        sentence = f"{listen.certificate} and {listen.key} are no certificate and key: {error}"
        raise config_invalid("ssl-certfile", sentence) from error
    return context


async def load_or_stop(loading: AbstractAsyncContextManager[Core], stop: Stop) -> Core:
    """Return the loaded core; a signal meanwhile ends the process at once, as nothing runs yet."""
    task = asyncio.ensure_future(loading.__aenter__())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        os._exit(128 + signal.SIGTERM)  # a conversion is written aside, the engine ends with its stdin
    stopped.cancel()
    return task.result()


@contextlib.asynccontextmanager
async def listening(sites: Sequence[tuple[web.Application, Port]]) -> AsyncIterator[None]:
    """Serve applications on their ports. A client that goes away cancels its handler."""
    runners = []
    try:
        for app, port in sites:
            runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            runners.append(runner)
            await web.SockSite(runner, port.socket, ssl_context=port.context, backlog=1024).start()
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


async def serve_until_stopped(core: Core, stop: Stop, grace: float) -> None:
    """Wait for the signal and drain; raises CannotServe when the engine dies before."""
    died = asyncio.ensure_future(core.engine.died())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({died, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if died.done():
        stopped.cancel()
        raise died.result()
    core.draining = True
    emit("draining", running=core.load.running, waiting=core.load.waiting, graceSeconds=grace)
    await _within(grace, _idle(core), died)
    died.cancel()
    emit("stopped", running=core.load.running, waiting=core.load.waiting)


async def _idle(core: Core) -> None:
    while core.load.running or core.load.waiting:  # noqa: ASYNC110 - counts change in many places, a look costs nothing
        await asyncio.sleep(_LOOK_SECONDS)


async def _within(seconds: float, work: Awaitable[None], died: asyncio.Future[Any]) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.wait({task, died}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
