"""A small HTTP server that answers as an API server might, well or badly, by a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from ascend_jobs import names
from ascend_jobs.cluster.client import HttpApi
from ascend_jobs.cluster.connection import Endpoint, FileToken, NoToken, Pool

Manifest = dict[str, Any]
Step = bytes | float | Callable[[], Awaitable[None]]


def pod(number: int, version: int, **labels: str) -> Manifest:
    """A child pod of job faq."""
    return {
        "metadata": {
            "name": f"pod-{number}",
            "namespace": "team-a",
            "uid": f"uid-{number}",
            "resourceVersion": str(version),
            "labels": {names.JOB_UID: "owner", names.JOB_NAME: "faq", names.JOB_KIND: names.FINE_TUNE_SHORT, **labels},
        },
        "spec": {"containers": []},
        "status": {},
    }


def event(type_: str, thing: Manifest) -> bytes:
    """A line of a watch stream."""
    return json.dumps({"type": type_, "object": thing}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    """The line that tells how far a watch is."""
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(version)}})


def status(code: int, message: str = "", reason: str = "") -> Manifest:
    """A metav1.Status."""
    return {"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason}


@dataclass
class Source:
    """Answers lists with `items`, watches with the next script, everything else with the next of `answers`."""

    items: list[Manifest] = field(default_factory=list)
    version: int = 100
    page_size: int = 500
    lists: list[Manifest] = field(default_factory=list)
    """Failures that lists meet, in turn; then they go well."""
    scripts: list[list[Step] | Manifest] = field(default_factory=list)
    """What watches send: bytes, seconds to wait, things to do; a Status instead refuses. Then watches stay silent."""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    asked: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def watched_from(self) -> list[str]:
        """The versions that watches asked for, in turn."""
        return [r.query["resourceVersion"] for r in self.asked if "watch" in r.query]

    @property
    def listed(self) -> int:
        """How often a list was begun."""
        return sum(r.method == "GET" and "watch" not in r.query and "continue" not in r.query for r in self.asked)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self.asked.append(request)
        self.bodies.append(await request.read())
        if "watch" in request.query:
            return await self._watch(request)
        if self.answers:
            code, headers, body = self.answers.pop(0)
            return web.Response(status=code, headers=headers, body=body)
        if self.lists:
            failure = self.lists.pop(0)
            return web.json_response(failure, status=failure["code"])
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("continue", "0"))
        end = start + self.page_size
        meta = {"resourceVersion": str(self.version)} | ({"continue": str(end)} if end < len(self.items) else {})
        return web.json_response({"kind": "List", "metadata": meta, "items": self.items[start:end]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        script = self.scripts.pop(0) if self.scripts else [3600.0]
        if isinstance(script, dict):
            return web.json_response(script, status=script["code"])
        answer = web.StreamResponse()
        await answer.prepare(request)
        for step in script:
            if isinstance(step, bytes):
                await answer.write(step)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await step()
        return answer


@asynccontextmanager
async def serving(source: Source, token_file: Any = None):
    """Serve a source on the loopback; give a client of it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", source.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    pool = Pool(Endpoint(server, tokens=FileToken(token_file) if token_file else NoToken()))
    api = HttpApi(pool, timeout=5.0)
    try:
        yield api
    finally:
        await api.close()
        await pool.close()
        await runner.cleanup()


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
