"""A proxy as its pod runs it, between two small servers that stand for the versions of a service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from aiohttp import web
from ascend_jobs import names
from ascend_jobs.desired.inference.proxyconfig import ProxyConfig, Share, Upstream, haproxy_config

PIECES, PAUSE = 5, 0.2
"""Of a stream."""


@dataclass
class Version:
    """One server: what it is asked, and how it answers by path."""

    name: str
    port: int = 0
    seen: list[aiohttp.typedefs.LooseHeaders] = field(default_factory=list)
    runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    @property
    def upstream(self) -> Upstream:
        return Upstream("127.0.0.1", self.port)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(dict(request.headers))
        if request.path == "/boom":
            return web.Response(status=500)
        if request.path == "/cut":
            assert request.transport is not None
            request.transport.abort()
        if request.path in ("/stream", "/half"):
            return await self._stream(request)
        return web.Response(text=self.name)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number in range(PIECES):
            await answer.write(f"data: {number}\n\n".encode())
            if request.path == "/half":
                assert request.transport is not None
                request.transport.abort()
            await asyncio.sleep(PAUSE)
        return answer


@dataclass
class Front:
    """A proxy under way; `folder` has what its pod would have mounted."""

    folder: Path
    config: ProxyConfig
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"{'https' if self.config.tls else 'http'}://127.0.0.1:{self.config.port}"

    @property
    def words(self) -> dict[str, str]:
        """The container's last words."""
        return json.loads((self.folder / "termination").read_text())

    async def change(self, **fields: object) -> None:
        """Write another configuration and wait until it is taken over."""
        self.config = replace(self.config, **fields)
        lay(self.folder / "config", {names.PROXY_CONFIG_FILE: haproxy_config(self.config)})
        await self.line("reload")

    async def line(self, event: str) -> dict[str, object]:
        """Wait for a line of this event."""
        assert self.process.stdout is not None
        async with asyncio.timeout(40):
            while text := await self.process.stdout.readline():
                if text.startswith(b"{") and (found := json.loads(text))["event"] == event:
                    return found
        raise AssertionError(f"the proxy ended before it said {event}")

    async def up(self) -> None:
        """Wait until it answers."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(20):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self.config.metrics_port}/healthz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    async def page(self, path: str) -> str:
        """Return a page of its metrics port."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.config.metrics_port}{path}") as answer,
        ):
            return await answer.text()


def lay(folder: Path, files: dict[str, str | bytes]) -> None:
    """Mount files as the kubelet does: a folder by date, a link `..data` to it that is swapped, links to the files."""
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("..2*")))
    real = folder / f"..2026_{number}"
    real.mkdir()
    for name, content in files.items():
        (real / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    swap = folder / "..data_tmp"
    swap.symlink_to(real.name)
    swap.replace(folder / "..data")
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for link in folder.iterdir():
        if not link.name.startswith("..") and link.name not in files:
            link.unlink()


@contextlib.asynccontextmanager
async def front(
    folder: Path, stable: Upstream, canary: Share | None = None, *, wait: bool = True, leave: float = 0.0, **more: bool
) -> AsyncIterator[Front]:
    """Start a proxy, and end it at once when the test is over."""
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    port, metrics_port = free_ports(2)
    config = ProxyConfig(stable, canary, files=str(files), port=port, metrics_port=metrics_port, **more)
    lay(folder / "config", {names.PROXY_CONFIG_FILE: haproxy_config(config)})
    command = [sys.executable, "-m", "ascend_runtime", "proxy"]
    options = {"config": folder / "config", "keys": folder / "keys", "tls": folder / "tls", "files": files}
    options |= {"termination-log": folder / "termination", "leave-seconds": leave, "start-seconds": 3 if wait else 1}
    process = await asyncio.create_subprocess_exec(
        *command,
        *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        env=_environ(config),
        stdout=asyncio.subprocess.PIPE,
    )
    found = Front(folder, config, process)
    try:
        if wait:
            await found.up()
        yield found
    finally:
        while process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 1)


def _environ(config: ProxyConfig) -> dict[str, str]:
    source = str(Path(__file__).parents[3] / "operator")
    env = {**os.environ, "PYTHONPATH": source}
    if config.keys:
        env[names.ENV_PROXY_KEYS] = "faq-keys"
    if config.tls:
        env[names.ENV_PROXY_TLS] = "faq-tls"
    return env


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has; two programs that ask at the same moment get different ones."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found
