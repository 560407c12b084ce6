"""MindIE's server over the CPU engine: business, management and metrics ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from ascend_runtime.serve.core import Core
from ascend_runtime.serve.engine import EngineDied, EngineRefused
from ascend_runtime.serve.mindie_config import MindieSettings
from ascend_runtime.serve.mindie_generation import generation_routes
from ascend_runtime.serve.mindie_metrics import MindieMetrics
from ascend_runtime.serve.openai_routes import MAX_BODY, explain_errors, openai_routes, refuse_when_draining

_PROBE_SECONDS = 10.0
"""How long the one token of a health check may take."""
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_TGI_PATHS = ("/generate", "/generate_stream", "/", "/infer", "/infer_token")


@dataclass(frozen=True)
class Health:
    """What a service says of itself: status of liveness and of readiness."""

    live: int
    ready: int


HEALTHY, BUSY, BROKEN = Health(200, 200), Health(200, 503), Health(500, 500)


def business_app(core: Core) -> web.Application:
    """Return what takes requests: OpenAI's, TGI's, Triton's and MindIE's own."""
    drain = refuse_when_draining(core, lambda path: path != "/v1/models")
    app = web.Application(middlewares=[_tgi_errors, explain_errors, drain], client_max_size=MAX_BODY)
    app.add_routes([*openai_routes(core), *generation_routes(core)])
    return app


def management_app(
    core: Core, settings: MindieSettings, metrics: MindieMetrics, stop: Callable[[], None]
) -> web.Application:
    """Return the management port's application."""

    async def live(_: web.Request) -> web.Response:
        return web.Response(status=(await health(core, settings.usage_threshold)).live)

    async def ready(request: web.Request) -> web.Response:
        name = request.match_info.get("name")
        if name is not None:
            core.adapter_of(name)
        return web.Response(status=(await health(core, settings.usage_threshold)).ready)

    async def timed(request: web.Request) -> web.Response:
        seconds = float(request.match_info["seconds"])
        return web.Response(status=200 if await answers(core, seconds) else 503)

    async def stop_service(_: web.Request) -> web.Response:
        stop()
        return web.json_response({"message": "the service stops when its requests have ended"})

    app = web.Application(middlewares=[explain_errors])
    app.add_routes(
        [
            *(web.get(path, live) for path in ("/v2/health/live", "/health")),
            *(web.get(path, ready) for path in ("/v2/health/ready", "/v2/models/{name}/ready")),
            web.get(r"/health/timed-{seconds:\d+}", timed),
            web.get("/stopService", stop_service),
            *_reports(core, settings, metrics),
        ]
    )
    return app


def _reports(core: Core, settings: MindieSettings, metrics: MindieMetrics) -> list[web.RouteDef]:
    async def config(_: web.Request) -> web.Response:
        model = settings.model
        document = {"modelName": model.names[0], "maxSeqLen": core.length, "maxInputTokenLen": model.max_input}
        document |= {"maxOutputLen": model.max_output, "maxBatchSize": core.engine.sequences}
        return web.json_response(document)

    async def status(_: web.Request) -> web.Response:
        free = core.engine.sequences - core.load.running
        resource = {"availSlotsNum": free, "runningNum": core.load.running, "waitingNum": core.load.waiting}
        return web.json_response({"service": {"roles": "none"}, "resource": resource})

    async def measured(_: web.Request) -> web.Response:
        return web.json_response(metrics.document())

    return [web.get("/v1/config", config), web.get("/v1/status", status), web.get("/metrics-json", measured)]


def metrics_app(metrics: MindieMetrics) -> web.Application:
    """Return the metrics port's application."""

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": _TEXT})

    app = web.Application()
    app.add_routes([web.get("/metrics", measured)])
    return app


def follower_app() -> web.Application:
    """Return the management application of a pod that is not the head: it only says that it lives."""

    async def alive(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.get(path, alive) for path in ("/health", "/v2/health/live", "/v2/health/ready")])
    return app


async def health(core: Core, threshold: int) -> Health:
    """Return how the service is. Without a threshold the engine only has to live; with one it has to answer a token.

    Busy is a service whose places are taken to `threshold` percent: it is not asked then.
    """
    if not core.engine.is_alive:
        return BROKEN
    if core.draining:
        return BUSY
    if threshold == 0:
        return HEALTHY
    if 100 * core.load.running >= threshold * core.engine.sequences:
        return BUSY
    return HEALTHY if await answers(core, _PROBE_SECONDS) else BROKEN


async def answers(core: Core, seconds: float) -> bool:
    """Return whether one token comes in time; not counted among the requests."""
    with contextlib.suppress(TimeoutError, EngineDied, EngineRefused):
        async with asyncio.timeout(seconds):
            return await core.probe()
    return False


@web.middleware
async def _tgi_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Spell errors of TGI's routes as TGI does."""
    answer = await handler(request)
    if answer.status < 400 or request.path not in _TGI_PATHS or not isinstance(answer, web.Response):
        return answer
    told = answer.text or ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(told)["error"]["message"]
    kind = "Input Validation Error" if answer.status == 400 else "Inference Error"
    return web.json_response({"error": told, "error_type": kind}, status=answer.status)
