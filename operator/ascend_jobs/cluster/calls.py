"""What a request to the API server is, in the words of RBAC, and the metrics made of that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
from yarl import URL

from ascend_jobs.metrics import Metrics

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True)
class Call:
    """Verb, API group and resource (`pods/log` for a subresource); resource is empty outside of resources."""

    verb: str
    group: str = ""
    resource: str = ""


def parse_call(method: str, url: URL) -> Call:
    """Return what RBAC makes of a request (Kubernetes docs, Authorization, Determine the request verb)."""
    parts = [part for part in url.path.split("/") if part]
    start = 2 if parts[:1] == ["api"] else 3
    group = parts[1] if start == 3 and len(parts) > 1 else ""
    rest = parts[start:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    if not rest or parts[0] not in ("api", "apis"):
        return Call(method.lower())
    resource = "/".join((rest[0], *rest[2:3]))
    named = len(rest) > 1
    if method == "GET":
        verb = "get" if named else "watch" if url.query.get("watch") in ("1", "true") else "list"
    elif method == "DELETE":
        verb = "delete" if named else "deletecollection"
    else:
        verb = _VERBS.get(method, method.lower())
    return Call(verb, group, resource)


def traced(metrics: Metrics, seen: Callable[[Call], None] = lambda _: None) -> aiohttp.TraceConfig:
    """Return what makes a session count its calls, Kopf's included; `seen` gets each call when it is answered."""
    trace = aiohttp.TraceConfig()

    async def start(_: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
        context.started = asyncio.get_running_loop().time()

    async def end(_: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
        count(context, params.method, params.url, str(params.response.status))

    async def failed(
        _: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        count(context, params.method, params.url, "none")

    def count(context: SimpleNamespace, method: str, url: URL, code: str) -> None:
        call = parse_call(method, url)
        metrics.api_calls.labels(call.verb, call.resource or "none", code).inc()
        metrics.api_seconds.labels(call.verb).observe(asyncio.get_running_loop().time() - context.started)
        seen(call)

    trace.on_request_start.append(start)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(failed)
    return trace
