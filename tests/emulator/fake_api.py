"""A test API server: list, watch, get, create and merge-patch of core/v1 objects over real HTTP, nothing more."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


class FakeApi:
    """Objects by (plural, namespace, name); every write gets the next resourceVersion."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.writes: list[tuple[str, str, Any]] = []
        self.authorizations: set[str] = set()
        self.fail: dict[str, int] = {}
        self.version = 100
        self._log: list[tuple[int, str, str, dict[str, Any]]] = []
        self._oldest = 0
        self._generation = 0
        self._changed = asyncio.Event()
        self._server: TestServer | None = None

    async def start(self, port: int | None = None) -> str:
        """Listen on a port, by default a free one; return the URL."""
        app = web.Application(client_max_size=1 << 22)
        app.router.add_route("*", "/api/v1/{plural:nodes|pods}", self._collection)
        app.router.add_route("*", "/api/v1/{plural:nodes}/{name}", self._object)
        app.router.add_route("*", "/api/v1/namespaces/{namespace}/{plural}", self._collection)
        app.router.add_route("*", "/api/v1/namespaces/{namespace}/{plural}/{name}", self._object)
        self._server = TestServer(app, port=port, shutdown_timeout=0.1)
        await self._server.start_server()
        return str(self._server.make_url("")).rstrip("/")

    async def stop(self) -> None:
        """Close all connections."""
        if self._server:
            await self._server.close()

    def put(self, plural: str, body: dict[str, Any], kind: str = "") -> dict[str, Any]:
        """Store an object as somebody else's write; returns what is stored."""
        metadata = body["metadata"]
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        kind = kind or ("MODIFIED" if key in self.objects else "ADDED")
        self.version += 1
        stored = copy.deepcopy(body)
        stored["metadata"]["resourceVersion"] = str(self.version)
        if kind == "DELETED":
            self.objects.pop(key)
        else:
            self.objects[key] = stored
        self._log.append((self.version, kind, plural, stored))
        self._changed.set()
        self._changed = asyncio.Event()
        return stored

    def get(self, plural: str, name: str, namespace: str = "") -> dict[str, Any]:
        return self.objects[plural, namespace, name]

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        self.put(plural, self.get(plural, name, namespace), "DELETED")

    def annotate(self, plural: str, name: str, namespace: str = "", **annotations: str | None) -> None:
        """Set or (None) remove annotations; `__` in a name stands for `/`, `_` for `-`."""
        body = copy.deepcopy(self.get(plural, name, namespace))
        merge(body, {"metadata": {"annotations": {k.replace("__", "/"): v for k, v in annotations.items()}}})
        self.put(plural, body)

    def forget_history(self) -> None:
        """Answer 410 to watches that want what is past."""
        self._oldest = self.version

    def drop_watches(self) -> None:
        """End all watches as a restarting server does."""
        self._generation += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        self.authorizations.add(request.headers.get("Authorization", ""))
        plural = request.match_info["plural"]
        if self._fails(request):
            return _status(500, "told to fail")
        if request.method == "POST":
            return await self._create(request)
        matches = _selector(request.query.get("fieldSelector", ""))
        if request.query.get("watch") == "true":
            return await self._watch(request, plural, matches)
        items = [body for (found, _, _), body in self.objects.items() if found == plural and matches(body)]
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})

    async def _object(self, request: web.Request) -> web.Response:
        key = (request.match_info["plural"], request.match_info.get("namespace", ""), request.match_info["name"])
        if self._fails(request):
            return _status(500, "told to fail")
        if key not in self.objects:
            return _status(404, f"{key} not found")
        if request.method == "GET":
            return web.json_response(self.objects[key])
        assert request.method == "PATCH"
        assert request.content_type == "application/merge-patch+json"
        patch = await request.json()
        body = copy.deepcopy(self.objects[key])
        for field in ("uid", "resourceVersion"):
            if patch.get("metadata", {}).get(field, body["metadata"].get(field)) != body["metadata"].get(field):
                return _status(409, f"{field} differs")
        self.writes.append(("PATCH", request.path, patch))
        merge(body, patch)
        return web.json_response(self.put(key[0], body))

    async def _create(self, request: web.Request) -> web.Response:
        plural, namespace = request.match_info["plural"], request.match_info["namespace"]
        body = await request.json()
        if (plural, namespace, body["metadata"]["name"]) in self.objects:
            return _status(409, "already exists")
        self.writes.append(("POST", request.path, body))
        return web.json_response(self.put(plural, body), status=201)

    async def _watch(self, request: web.Request, plural: str, matches: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        if seen < self._oldest:
            status = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
            await response.write(json.dumps(status).encode() + b"\n")
            return response
        generation = self._generation
        while generation == self._generation:
            changed = self._changed
            for version, kind, found, body in list(self._log):
                if version <= seen:
                    continue
                seen = version
                if found == plural and matches(body):
                    await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")
            await changed.wait()
        return response

    def _fails(self, request: web.Request) -> bool:
        for part in self.fail:
            if part in f"{request.method} {request.path}" and self.fail[part] > 0:
                self.fail[part] -= 1
                return True
        return False


def merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """Apply a JSON merge patch (RFC 7386)."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(target.get(key), dict):
                target[key] = {}
            merge(target[key], value)
        else:
            target[key] = value


def _selector(text: str) -> Any:
    if not text:
        return lambda body: True
    path, _, value = text.partition("=")

    def matches(body: dict[str, Any]) -> bool:
        found: Any = body
        for part in path.split("."):
            found = found.get(part, {})
        return found == value

    return matches


def _status(code: int, message: str) -> web.Response:
    reason = {404: "NotFound", 409: "Conflict"}.get(code, "InternalError")
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return web.json_response(body, status=code)
