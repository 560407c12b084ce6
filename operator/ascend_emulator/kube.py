"""The few calls to the API server that the emulator makes, on one aiohttp session. No decision is taken here."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from ascend_emulator.logs import get_log

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
WATCH_SECONDS = 300
"""Seconds after which the server ends a watch; it is then taken up where it ended."""
BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between tries while the API server fails; the last one stays."""

log = get_log("kube")


class ApiError(Exception):
    """The API server refused (its HTTP status) or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Change:
    """One event of a watch: ADDED, MODIFIED or DELETED with its object, or LISTED with a whole list (key items)."""

    type: str
    object: dict[str, Any]


class Kube:
    """A client of one API server; use it as an async context manager."""

    def __init__(self, url: str, *, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        self.url = url
        self._token_file = token_file
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def in_cluster(cls, environ: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT) -> Self:
        """Return the client of a pod's service account; KeyError outside a cluster."""
        host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
        address = f"[{host}]" if ":" in host else host
        return cls(f"https://{address}:{port}", token_file=folder / "token", ca_file=folder / "ca.crt")

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
        connector = aiohttp.TCPConnector(limit=8, ssl=tls)
        self._session = aiohttp.ClientSession(connector=connector, raise_for_status=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return one object or list."""
        return await self._call("GET", path, params=params)

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object in the collection at path; ApiError 409 when it exists."""
        return await self._call("POST", path, body=body)

    async def merge(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Merge-patch an object; with metadata.uid in the body an object of that name but another uid gives 409."""
        return await self._call("PATCH", path, body=body, content_type="application/merge-patch+json")

    async def follow(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[Change, None]:
        """List, then watch, for ever: a LISTED change first and after each gap, then single changes.

        Outages are logged once and waited out.
        """
        failures = 0
        while True:
            try:
                listed = await self.get(path, params)
                failures = 0
                yield Change("LISTED", listed)
                async with aclosing(self._watch(path, params, listed["metadata"]["resourceVersion"])) as changes:
                    async for change in changes:
                        yield change
            except ApiError as error:
                if failures == 0:
                    log.warning("watch interrupted", path=path, error=str(error))
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1

    async def _watch(self, path: str, params: Mapping[str, str], version: str) -> AsyncGenerator[Change, None]:
        """Yield changes from version on; ApiError 410 when the server has forgotten that version."""
        while True:
            begun = time.monotonic()
            query = {**params, "watch": "true", "allowWatchBookmarks": "true"}
            query |= {"resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
            async with aclosing(self._lines(path, query)) as lines:
                async for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 0), event["object"].get("message", ""))
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield Change(event["type"], event["object"])
            if time.monotonic() - begun < BACKOFF_SECONDS[0]:
                await asyncio.sleep(BACKOFF_SECONDS[0])

    async def _lines(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WATCH_SECONDS + 30)
        try:
            async with self._open.get(
                self.url + path, params=params, headers=self._headers(), timeout=timeout
            ) as response:
                if response.status != 200:
                    raise ApiError(response.status, (await response.text())[:500])
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        headers = self._headers() | ({"Content-Type": content_type} if body is not None else {})
        data = orjson.dumps(body) if body is not None else None
        timeout = aiohttp.ClientTimeout(total=30, sock_connect=10)
        try:
            async with self._open.request(
                method, self.url + path, params=params, data=data, headers=headers, timeout=timeout
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error
        if response.status >= 300:
            raise ApiError(response.status, content[:500].decode(errors="replace"))
        return _document(content)

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside its context")
        return self._session

    def _headers(self) -> dict[str, str]:
        """Return the headers of a call; the token is read each time, since the kubelet renews it."""
        if self._token_file is None:
            return {"Accept": "application/json"}
        return {"Accept": "application/json", "Authorization": f"Bearer {self._token_file.read_text().strip()}"}


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ApiError(0, f"no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ApiError(0, "no JSON object")
    return document
