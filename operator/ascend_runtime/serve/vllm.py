"""vLLM's server, its routes and its manners, over the CPU engine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ascend_runtime.serve.body import Body, Malformed
from ascend_runtime.serve.core import Core
from ascend_runtime.serve.openai_requests import chat_tokens, read_tokens
from ascend_runtime.serve.openai_routes import (
    MAX_BODY,
    explain_errors,
    json_answer,
    openai_routes,
    read_json,
    refuse_when_draining,
)
from ascend_runtime.serve.vllm_metrics import VllmMetrics

VERSION = "0.23.0"
"""Of the vLLM whose protocol is spoken (vLLM-Ascend v0.23.0)."""
_WORK = ("/v1/chat/completions", "/v1/completions")
_OPEN_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def vllm_app(core: Core, metrics: VllmMetrics, api_keys: Sequence[str]) -> web.Application:
    """Return the application; with API keys every path below /v1 wants one of them as a bearer token."""
    middlewares: list[Middleware] = [explain_errors, refuse_when_draining(core, _WORK.__contains__)]
    if api_keys:
        middlewares.insert(0, _wants_key(api_keys))
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app.add_routes(openai_routes(core, _fingerprint(core)))
    app.add_routes(_own_routes(core, metrics))
    return app


def _fingerprint(core: Core) -> str:
    """Return what tells this version and these settings from others, in the form of vLLM's."""
    return f"vllm-{VERSION}-{hashlib.sha256(repr(core.settings).encode()).hexdigest()[:8]}"


def follower_app() -> web.Application:
    """Return the application of a pod that is not the head: it only says that it lives."""
    app = web.Application()
    app.add_routes([web.get(path, _empty) for path in ("/health", "/ping")])
    return app


async def _empty(_: web.Request) -> web.Response:
    return web.Response()


def _own_routes(core: Core, metrics: VllmMetrics) -> list[web.RouteDef]:
    async def health(_: web.Request) -> web.Response:
        return web.Response(status=200 if core.engine.is_alive and not core.draining else 503)

    async def version(_: web.Request) -> web.Response:
        return json_answer({"version": VERSION})

    async def load(_: web.Request) -> web.Response:
        return json_answer({"server_load": core.load.running + core.load.waiting})

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": _OPEN_METRICS})

    async def tokenize(request: web.Request) -> web.Response:
        return json_answer(_tokenized(core, Body(await read_json(request))))

    async def detokenize(request: web.Request) -> web.Response:
        body = Body(await read_json(request))
        core.adapter_of(body.text("model"))
        tokens = read_tokens(body.document.get("tokens"))
        known = [token for token in tokens if token < core.prompts.vocabulary]
        return json_answer({"prompt": core.prompts.decode(known)})

    routes = [web.get("/health", health), web.get("/ping", health), web.post("/ping", health)]
    routes += [web.get("/version", version), web.get("/load", load), web.get("/metrics", measured)]
    return [*routes, web.post("/tokenize", tokenize), web.post("/detokenize", detokenize)]


def _tokenized(core: Core, body: Body) -> dict[str, Any]:
    core.adapter_of(body.text("model"))
    if "messages" in body:
        tokens = chat_tokens(core, body)
    else:
        text = body.text("prompt")
        if text is None:
            raise Malformed("a prompt or messages are wanted")
        tokens = core.prompts.encode(text, special=body.flag("add_special_tokens", default=True))
    spelled = core.prompts.spell_pieces(tokens) if body.flag("return_token_strs") else None
    return {"count": len(tokens), "max_model_len": core.length, "tokens": tokens, "token_strs": spelled}


def _wants_key(keys: Sequence[str]) -> Middleware:
    """Return a middleware that lets through what carries a key; compared in constant time."""
    known = [key.encode() for key in keys]

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        fits = [hmac.compare_digest(given.encode(), key) for key in known]
        if (
            request.path.startswith("/v1")
            and request.method != "OPTIONS"
            and not (scheme.lower() == "bearer" and any(fits))
        ):
            return json_answer({"error": "Unauthorized"}, 401)
        return await handler(request)

    return middleware
