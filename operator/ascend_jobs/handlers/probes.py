"""What the outside may ask the process: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ascend_jobs.metrics import Metrics

STUCK = 600.0
"""Seconds that a key may wait for a worker before the process is taken for stuck and is to be restarted."""


class Probes:
    """Serves /livez, /readyz and /metrics."""

    def __init__(
        self, metrics: Metrics, *, missing: Callable[[], Sequence[str]], waiting_seconds: Callable[[], float]
    ) -> None:
        """Take what is told: what is missing before passes may start, and how long the oldest key has waited."""
        self._metrics, self._missing, self._waiting_seconds = metrics, missing, waiting_seconds
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._export)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is a free one when 0 was asked for."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        waited = self._waiting_seconds()
        if waited > STUCK:
            return web.Response(status=503, text=f"a key has waited {waited:.0f} s for a worker\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        missing = self._missing()
        if missing:
            return web.Response(status=503, text="".join(f"{what}\n" for what in missing))
        return web.Response(text="ok\n")

    async def _export(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
