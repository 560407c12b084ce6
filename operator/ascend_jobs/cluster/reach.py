"""How the operator reaches Services and pods: straight from inside the cluster, through the API server from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp

from ascend_jobs.cluster.connection import Pool
from ascend_jobs.decide.plan import ProbeTarget

_CONNECTIONS_A_HOST = 8
"""To one address. There is no limit over all: services that hang must not keep others from being asked."""


class Reach(Protocol):
    """Opens requests to what runs in the cluster; raises aiohttp.ClientError, TimeoutError and OSError."""

    def post_service(
        self, namespace: str, target: ProbeTarget, path: str, body: Mapping[str, object]
    ) -> AsyncIterator[bytes]:
        """POST JSON to a Service, yield the lines of the answer; raises RefusedAnswer for a status that is no 2xx."""
        ...

    async def get_pod(self, namespace: str, pod: str, ip: str, port: int, path: str) -> str:
        """GET a page of a pod as text; raises ValueError beyond 4 MiB."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class RefusedAnswer(Exception):
    """An HTTP answer that is no success; the message tells status and the beginning of the body."""

    def __init__(self, status: int, body: str) -> None:
        """Take the HTTP status and the beginning of the body."""
        super().__init__(f"HTTP {status}: {body}")
        self.status = status


_LARGEST_PAGE = 4 << 20


class DirectReach:
    """From inside the cluster: by the addresses of Services and pods."""

    def __init__(self) -> None:
        """Open a session of its own; credentials of the API server never go to pods.

        Each request is a connection of its own: a kept one goes on to where its address led when it was opened, which
        is one pod of many, or, before a new cluster IP has reached the node, somebody else outside of the cluster.
        """
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=_CONNECTIONS_A_HOST, ssl=False, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector)

    async def post_service(
        self, namespace: str, target: ProbeTarget, path: str, body: Mapping[str, object]
    ) -> AsyncIterator[bytes]:
        """POST to the Service's cluster IP; the certificate's name is the users' concern."""
        url = f"{'https' if target.tls else 'http'}://{url_host(target.address)}:{target.port}{path}"
        async with self._session.post(url, json=body) as answer:
            async for line in _lines(answer):
                yield line

    async def get_pod(self, namespace: str, pod: str, ip: str, port: int, path: str) -> str:
        """GET from the pod's address."""
        async with self._session.get(f"http://{url_host(ip)}:{port}{path}") as answer:
            return await _page(answer)

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()


class ProxyReach:
    """From outside, with a person's rights: through the API server's proxy subresources."""

    def __init__(self, pool: Pool) -> None:
        """Take the pool of connections to the API server."""
        self._server, self._session = pool.endpoint.server, pool.session()

    async def post_service(
        self, namespace: str, target: ProbeTarget, path: str, body: Mapping[str, object]
    ) -> AsyncIterator[bytes]:
        """POST through services/NAME:PORT/proxy."""
        name = f"{'https:' if target.tls else ''}{target.service}:{target.port}"
        url = f"{self._server}/api/v1/namespaces/{namespace}/services/{name}/proxy{path}"
        async with self._session.post(url, json=body) as answer:
            async for line in _lines(answer):
                yield line

    async def get_pod(self, namespace: str, pod: str, ip: str, port: int, path: str) -> str:
        """GET through pods/NAME:PORT/proxy."""
        url = f"{self._server}/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"
        async with self._session.get(url) as answer:
            return await _page(answer)

    async def close(self) -> None:
        """Close the session; the pool stays open."""
        await self._session.close()


def url_host(address: str) -> str:
    """Return an IP address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


@asynccontextmanager
async def _checked(answer: aiohttp.ClientResponse) -> AsyncIterator[aiohttp.StreamReader]:
    if answer.status >= 300:
        body = (await answer.content.read(300)).decode(errors="replace").strip()
        raise RefusedAnswer(answer.status, body)
    yield answer.content


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with _checked(answer) as content:
        async for line in content:
            yield line


async def _page(answer: aiohttp.ClientResponse) -> str:
    """Return the whole page: one read gives what has arrived, which is seldom all of it."""
    page = bytearray()
    async with _checked(answer) as content:
        async for piece in content.iter_any():
            page += piece
            if len(page) > _LARGEST_PAGE:
                raise ValueError(f"a page of more than {_LARGEST_PAGE} bytes")
    return page.decode(errors="replace")
