"""Where the API server is and how to prove who we are: in a pod by its service account, elsewhere by kubeconfig.

One pool of connections serves our own client and Kopf: one TLS context, one place for metrics.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from asyncio import sslproto
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from ascend_jobs import names

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS = 60.0
"""How long a token is used before its file is read again; the kubelet renews it at 80 % of its life (an hour)."""


_TLS_BUFFER = 32 << 10
"""Bytes of a TLS connection's read buffer; a record has at most 16 KiB."""


class Tokens(Protocol):
    """A source of bearer tokens."""

    async def token(self, *, fresh: bool = False) -> str:
        """Return the token, empty when there is none; `fresh` after the server refused the last one."""
        ...


class NoToken:
    """For servers that know us by a client certificate."""

    async def token(self, *, fresh: bool = False) -> str:
        """Return no token."""
        return ""


class FileToken:
    """A token that somebody else renews in a file."""

    def __init__(self, path: Path) -> None:
        """Take the file; it is read at the first use."""
        self._path = path
        self._value = ""
        self._read = float("-inf")

    async def token(self, *, fresh: bool = False) -> str:
        """Return the token, at most a minute old."""
        if fresh or time.monotonic() - self._read > _TOKEN_SECONDS:
            self._value = self._path.read_text().strip()
            self._read = time.monotonic()
        return self._value


class KubeconfigToken:
    """A token of a kubeconfig user: written there, or made by its exec plugin and renewed when it expires."""

    def __init__(self, configuration: Any) -> None:  # noqa: ANN401 - kubernetes.client.Configuration
        """Take a loaded configuration of the official client."""
        self._configuration = configuration
        self._lock = asyncio.Lock()

    async def token(self, *, fresh: bool = False) -> str:
        """Return the token; the plugin runs in a thread."""
        async with self._lock:
            value = await asyncio.to_thread(self._configuration.get_api_key_with_prefix, "BearerToken")
        return str(value or "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Endpoint:
    """A server, how to trust it, and who we are to it."""

    server: str
    """Scheme, host, port; a path is kept."""
    tls: ssl.SSLContext | None = None
    tokens: Tokens = field(default_factory=NoToken)
    proxy: str | None = None


def find_endpoint(kubeconfig: str = "", context: str = "") -> Endpoint:
    """Return where to go: the kubeconfig that was named, else the pod's own cluster, else the default kubeconfig.

    Raises OSError or the official client's ConfigException when nothing usable is there.
    """
    if kubeconfig or context or "KUBERNETES_SERVICE_HOST" not in os.environ:
        return kubeconfig_endpoint(kubeconfig, context)
    return in_cluster_endpoint(os.environ)


def in_cluster_endpoint(environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Endpoint:
    """Return the endpoint that every pod is given (Kubernetes docs, Accessing the API from a Pod)."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    return Endpoint(f"https://{host}:{port}", tls, FileToken(folder / "token"))


def kubeconfig_endpoint(path: str = "", context: str = "") -> Endpoint:
    """Return the endpoint of a kubeconfig context, exec plugins and proxies (its own, or HTTPS_PROXY) included.

    A client certificate that a plugin makes is read once: start again when it has expired.
    """
    from kubernetes import client, config  # here, for it costs 35 MB that a pod does not need
    from kubernetes.client import rest

    loaded = client.Configuration()
    config.load_kube_config(config_file=path or None, context=context or None, client_configuration=loaded)
    tokens: Tokens = KubeconfigToken(loaded) if loaded.api_key else NoToken()
    tls = _context(loaded) if loaded.host.startswith("https") else None
    direct = rest.should_bypass_proxies(loaded.host, loaded.no_proxy or "")
    return Endpoint(loaded.host.rstrip("/"), tls, tokens, None if direct else loaded.proxy or None)


def _context(loaded: Any) -> ssl.SSLContext:  # noqa: ANN401 - kubernetes.client.Configuration
    tls = _Named.make(loaded.tls_server_name) if loaded.tls_server_name else ssl.create_default_context()
    if loaded.ssl_ca_cert:
        tls.load_verify_locations(loaded.ssl_ca_cert)
    if not loaded.verify_ssl:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    if loaded.cert_file:
        tls.load_cert_chain(loaded.cert_file, loaded.key_file or None)
    return tls


class _Named(ssl.SSLContext):
    """A context that expects the server's certificate to carry a name other than the host's (tls-server-name)."""

    expected: str

    @classmethod
    def make(cls, expected: str) -> _Named:
        """Return a client context that checks against `expected` and nothing else."""
        made = cls(ssl.PROTOCOL_TLS_CLIENT)
        made.expected = expected
        made.load_default_certs()
        return made

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:  # noqa: ANN401 - as the base class
        return super().wrap_bio(*args, **{**kwargs, "server_hostname": self.expected})


class Pool:
    """The connections to one API server.

    Short calls are bounded by their client; streams (watches, logs) are as many as there are things to follow, so the
    pool itself has no limit. Every request gets the token of its moment, so sessions may live as long as the process.
    """

    def __init__(self, endpoint: Endpoint, trace: aiohttp.TraceConfig | None = None) -> None:
        """Make an empty pool; needs a running loop."""
        shrink_tls_buffers()
        self.endpoint = endpoint
        self._traces = [trace] if trace else []
        self._connector = aiohttp.TCPConnector(
            limit=0, ssl=endpoint.tls if endpoint.tls is not None else True, keepalive_timeout=60
        )

    def session(self) -> aiohttp.ClientSession:
        """Return a session over the pool; closing it leaves the pool open."""
        return aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            headers={"User-Agent": names.MANAGER},
            proxy=self.endpoint.proxy,
            trace_configs=self._traces,
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(self._authorize,),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._connector.close()

    async def _authorize(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request as who we are, and once more with a fresh token when the server refuses the old one."""
        token = await self.endpoint.tokens.token()
        if not token:
            return await handler(request)
        request.headers["Authorization"] = f"Bearer {token}"
        answer = await handler(request)
        if answer.status != 401:
            return answer
        fresh = await self.endpoint.tokens.token(fresh=True)
        if fresh == token:
            return answer
        answer.release()
        request.headers["Authorization"] = f"Bearer {fresh}"
        return await handler(request)


def shrink_tls_buffers() -> None:
    """Give TLS connections of this process small read buffers.

    asyncio gives each 256 KiB at once (SSLProtocol.max_size, CPython 3.11 to 3.14), which for 1,000 followed logs is
    256 MB. Where that attribute is not there nothing is done.
    """
    if hasattr(sslproto.SSLProtocol, "max_size"):
        sslproto.SSLProtocol.max_size = _TLS_BUFFER
