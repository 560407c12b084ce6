"""The API server's verbs over JSON objects: the protocol, and its implementation over HTTP.

Thin on purpose: dictionaries and orjson cost 0.3 ms a created pod, the official client's models 2 ms.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import orjson

from ascend_jobs import names
from ascend_jobs.cluster.connection import Pool
from ascend_jobs.cluster.lines import LineSplitter
from ascend_jobs.cluster.verbs import PODS, Resource
from ascend_jobs.decide.plan import Manifest
from ascend_jobs.errors import ApiError

PAGE = 500
"""Objects per page of a list: 3 MB of pods, decoded in some 30 ms."""
_LONGEST_EVENT = 16 << 20
"""Bytes of the longest watch event; etcd holds objects of at most 1.5 MiB (--max-request-bytes)."""
_IDLE_WATCH = 90.0
"""Seconds without a byte after which a watch is dead; bookmarks come about once a minute."""
_IDLE_LOG = 900.0
"""Seconds without a line after which a log is asked for again; a step of a large model may take minutes."""
_OPENINGS = 16
"""Streams that are opened at the same time: a thousand TLS handshakes at once would time each other out."""
_THROTTLED = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a throttled call (429: not carried out) is repeated, unless the server says when."""


@dataclass(frozen=True)
class Query:
    """What to list, watch or delete: a resource in one namespace (empty: all), by label and field selectors."""

    resource: Resource
    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def selectors(self) -> dict[str, str]:
        """Return the selectors as URL parameters."""
        given = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {key: value for key, value in given.items() if value}


@dataclass(frozen=True)
class Page:
    """A part of a list: its objects, the list's resourceVersion, and the token of the next page (empty: no more)."""

    items: list[Manifest]
    version: str
    token: str = ""


class Api(Protocol):
    """What the operator can ask of an API server. All raise ApiError; status 0 means that no answer came."""

    async def discover(self, prefix: str) -> frozenset[str]:
        """Return the plurals that a group version (`apis/GROUP/VERSION`) serves; empty when it is not there."""
        ...

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """Return an object."""
        ...

    async def page(self, query: Query, token: str = "") -> Page:
        """Return the first page of a list, or the one that `token` names."""
        ...

    def watch(self, query: Query, version: str) -> AsyncGenerator[Manifest]:
        """Yield watch events ({type, object}) that came after a resourceVersion, until the server ends the stream."""
        ...

    async def create(self, resource: Resource, namespace: str, manifest: Manifest) -> Manifest:
        """POST an object; return it as stored."""
        ...

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Manifest, *, status: bool = False
    ) -> Manifest:
        """Apply a JSON merge patch (RFC 7396) to an object or its status; return it as stored."""
        ...

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, *, grace_seconds: int | None = None
    ) -> Manifest:
        """Delete an object that has this uid, its dependents in the background; return the server's answer."""
        ...

    async def delete_collection(self, query: Query) -> None:
        """Delete all objects that match, their dependents in the background."""
        ...

    def read_log(self, namespace: str, pod: str, container: str, *, tail: int) -> AsyncGenerator[bytes]:
        """Yield chunks of a container's log: the last `tail` lines and all that follow, until the container ends."""
        ...


class HttpApi:
    """Api over a pool of connections."""

    def __init__(self, pool: Pool, *, limit: int = 64, timeout: float = 30.0) -> None:
        """Take the most calls in flight (streams not counted) and the longest time a call may take, in seconds."""
        self._server, self._session = pool.endpoint.server, pool.session()
        self._slots = asyncio.Semaphore(limit)
        self._openings = asyncio.Semaphore(_OPENINGS)
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=5)

    async def close(self) -> None:
        """Close the session; the pool stays open."""
        await self._session.close()

    async def discover(self, prefix: str) -> frozenset[str]:
        """Return the plurals of a group version."""
        try:
            found = await self._call("GET", f"/{prefix}")
        except ApiError as error:
            if error.status != 404:
                raise
            return frozenset()
        return frozenset(item["name"] for item in found["resources"])

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """GET an object."""
        return await self._call("GET", _path(resource, namespace, name))

    async def page(self, query: Query, token: str = "") -> Page:
        """GET one page of a list."""
        params = {**query.selectors(), "limit": str(PAGE)} | ({"continue": token} if token else {})
        found = await self._call("GET", _path(query.resource, query.namespace), params=params)
        meta = found["metadata"]
        return Page(found["items"] or [], meta.get("resourceVersion", ""), meta.get("continue", ""))

    async def watch(self, query: Query, version: str) -> AsyncGenerator[Manifest]:
        """GET a watch stream; a cut or unreadable line ends it with ApiError(0)."""
        params = {
            **query.selectors(),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(random.randint(300, 600)),
        }
        splitter = LineSplitter(_LONGEST_EVENT)
        async with self._stream(_path(query.resource, query.namespace), params, _IDLE_WATCH) as content:
            async for chunk in content.iter_any():
                for line in splitter.feed(chunk):
                    yield _decoded(line)
                if splitter.dropped:
                    raise ApiError(0, f"watch event above {_LONGEST_EVENT} bytes")

    async def create(self, resource: Resource, namespace: str, manifest: Manifest) -> Manifest:
        """POST an object."""
        params = {"fieldManager": names.MANAGER}
        return await self._call("POST", _path(resource, namespace), params=params, body=manifest)

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Manifest, *, status: bool = False
    ) -> Manifest:
        """PATCH an object or its status."""
        path = _path(resource, namespace, name) + ("/status" if status else "")
        params = {"fieldManager": names.STATUS_MANAGER if status else names.MANAGER}
        return await self._call("PATCH", path, params=params, body=patch, kind="application/merge-patch+json")

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, *, grace_seconds: int | None = None
    ) -> Manifest:
        """DELETE an object with its uid as precondition."""
        options: Manifest = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return await self._call("DELETE", _path(resource, namespace, name), body=options)

    async def delete_collection(self, query: Query) -> None:
        """DELETE all that match."""
        options = {"propagationPolicy": "Background"}
        path = _path(query.resource, query.namespace)
        await self._call("DELETE", path, params=query.selectors(), body=options)

    async def read_log(self, namespace: str, pod: str, container: str, *, tail: int) -> AsyncGenerator[bytes]:
        """GET a log and follow it."""
        params = {"container": container, "follow": "true", "tailLines": str(tail)}
        async with self._stream(f"{_path(PODS, namespace, pod)}/log", params, _IDLE_LOG) as content:
            async for chunk in content.iter_any():
                yield chunk

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        kind: str = "application/json",
    ) -> Manifest:
        """Send a request, repeat it while the server is too busy to take it, return the decoded answer."""
        data = orjson.dumps(body) if body is not None else None
        async with self._slots:
            for pause in (*_THROTTLED, None):
                status, headers, raw = await self._exchange(method, path, params, data, kind)
                if status != 429 or pause is None:
                    break
                await asyncio.sleep(_retry_after(headers, pause))
        if status >= 400:
            raise _refusal(status, raw)
        return _decoded(raw)

    async def _exchange(
        self, method: str, path: str, params: Mapping[str, str] | None, data: bytes | None, kind: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request once; return status, headers and body of the answer."""
        headers = {"Content-Type": kind, "Accept": "application/json"}
        url = self._server + path
        try:
            async with self._session.request(
                method, url, params=params, data=data, headers=headers, timeout=self._timeout
            ) as answer:
                return answer.status, answer.headers, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, _words(error)) from error

    @asynccontextmanager
    async def _stream(self, path: str, params: Mapping[str, str], idle: float) -> AsyncIterator[aiohttp.StreamReader]:
        """Open a stream that may last; silence of `idle` seconds ends it."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=idle)
        try:
            async with self._openings:
                answer = await self._session.get(self._server + path, params=params, timeout=timeout)
            async with answer:
                if answer.status >= 400:
                    raise _refusal(answer.status, await answer.read())
                yield answer.content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, _words(error)) from error


def _path(resource: Resource, namespace: str, name: str = "") -> str:
    where = f"/namespaces/{namespace}" if namespace and resource.namespaced else ""
    return f"/{resource.prefix}{where}/{resource.plural}" + (f"/{name}" if name else "")


def _decoded(raw: bytes) -> Manifest:
    try:
        value: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(0, f"unreadable answer: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(0, "unreadable answer: no JSON object")
    return value


def _refusal(status: int, raw: bytes) -> ApiError:
    """Return the error of a metav1.Status, or of the page that something between us and the server sent."""
    try:
        told = _decoded(raw)
    except ApiError:
        return ApiError(status, raw[:500].decode(errors="replace"))
    return ApiError(status, str(told.get("message", "")), reason=str(told.get("reason", "")))


def _retry_after(headers: Mapping[str, str], pause: float) -> float:
    """Return the seconds that the server asks for (at most 30), else `pause` with jitter."""
    try:
        return min(30.0, max(0.0, float(headers["Retry-After"])))
    except (KeyError, ValueError):
        return pause * random.uniform(0.5, 1.5)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
