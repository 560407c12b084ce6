"""haproxy.cfg of a service's proxy: who is let in, and which version a request goes to.

Measured with HAProxy 2.6.12, the version of Debian 12. Words of the configuration: its configuration.txt.

Every request is a connection of its own (httpclose): nothing is sent into a connection that is about to be closed when
a proxy or an engine's pod goes, and each request is spread anew. Answers are passed on as they come.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from ascend_jobs import names

LONGEST_SECONDS = 3600
"""How long a request may take, and an engine be silent while it does."""
_SHARES = 10_000
"""Parts that a request falls into, by its header's hash or by chance: 0.01 percent each."""
_CONNECTIONS = 4096
"""Of which some are kept for the kubelet and for who reads the counts: a busy proxy is not a dead one."""
_KEPT_CONNECTIONS = 96
_THREADS = 2
"""HAProxy takes a thread a core when it is not told; nodes of NPUs have 192 cores."""


@dataclass(frozen=True)
class Upstream:
    """Where a version is asked: the cluster IP of a Service, and its port."""

    host: str
    port: int


@dataclass(frozen=True)
class Share:
    """The part of the requests that a second version gets: percent, 0 to 100; same header value, same version."""

    upstream: Upstream
    weight: int
    sticky_header: str | None = None


@dataclass(frozen=True)
class ProxyConfig:
    """What a proxy is to do. Files and ports are other ones only in tests."""

    stable: Upstream
    canary: Share | None = None
    keys: bool = False
    tls: bool = False
    files: str = names.PROXY_FILES_DIR
    port: int = names.PROXY_PORT
    metrics_port: int = names.PROXY_METRICS_PORT


def haproxy_config(config: ProxyConfig) -> str:
    """Return the whole file."""
    parts = (_GENERAL, _public(config), _stable(config), *([_canary(config)] if config.canary else []))
    return "\n".join((*parts, _metrics(config)))


def openai_error(message: str, kind: str, code: str) -> str:
    """Return an error's body as OpenAI's clients read it."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}, separators=(",", ":"))


def _http_error(status: int, message: str, code: str) -> str:
    body = openai_error(message, "server_error", code)
    return f"    http-error status {status} content-type application/json string '{body}'\n"


_GENERAL = f"""\
# Made by ascend-jobs; changes here do not last.
global
    log stdout format raw daemon
    maxconn {_CONNECTIONS}
    nbthread {_THREADS}
    hard-stop-after {LONGEST_SECONDS}s
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    option httpclose
    option http-no-delay
    option abortonclose
    option forwardfor
    option redispatch 1
    retries 3
    timeout connect 5s
    timeout check 2s
    timeout http-request 30s
    timeout client {LONGEST_SECONDS}s
    timeout server {LONGEST_SECONDS}s
{_http_error(502, "the engine ended before it answered", "engine_failed")}\
{_http_error(503, "no replica takes requests", "no_replica")}\
{_http_error(504, "the engine did not answer in time", "timeout")}"""


def _public(config: ProxyConfig) -> str:
    lines = [
        "frontend public",
        f'    bind "${{LISTEN}}:{config.port}" v4v6{_certificate(config)}',
        f"    maxconn {_CONNECTIONS - _KEPT_CONNECTIONS}",
        "    log global",
        "    option httplog",
        "    option dontlog-normal",
    ]
    if config.keys:
        body = openai_error("no API key, or one that is not known", "invalid_request_error", "invalid_api_key")
        lines += [
            f"    acl known_key http_auth_bearer,sha2(256),hex -m str -i -f {config.files}/{names.PROXY_KEYS_FILE}",
            f"    http-request return status 401 content-type application/json string '{body}' "
            "hdr WWW-Authenticate Bearer unless { path /health } or known_key",
            "    http-request del-header Authorization",
        ]
    if config.tls:
        lines.append("    http-request set-header X-Forwarded-Proto https")
    if config.canary is not None:
        lines += _choice(config.canary)
    lines.append("    default_backend stable")
    return "\n".join(lines) + "\n"


def _certificate(config: ProxyConfig) -> str:
    return f" ssl crt {config.files}/{names.PROXY_TLS_FILE} alpn http/1.1" if config.tls else ""


def _choice(canary: Share) -> list[str]:
    """Return how a request's version is chosen.

    A larger weight only moves requests to the second version, never back; all proxies choose alike.
    """
    lines = [f"    http-request set-var(txn.share) rand({_SHARES})"]
    if canary.sticky_header is not None:
        value = f"req.fhdr({canary.sticky_header})"
        lines.append(f"    http-request set-var(txn.share) {value},xxh32,mod({_SHARES}) if {{ {value} -m len gt 0 }}")
    below = canary.weight * _SHARES // 100
    lines.append(f"    use_backend canary if {{ srv_is_up(canary/pods) }} {{ var(txn.share) -m int lt {below} }}")
    return lines


def _stable(config: ProxyConfig) -> str:
    return f"""\
backend stable
    http-response set-header {names.VERSION_HEADER} stable
    server pods {_address(config.stable)}
"""


def _canary(config: ProxyConfig) -> str:
    """Return the backend of the second version; requests that cannot reach it go to the first one."""
    assert config.canary is not None
    return f"""\
backend canary
    http-response set-header {names.VERSION_HEADER} canary
    default-server check inter 1s fall 2 rise 2
    server pods {_address(config.canary.upstream)} observe layer4 error-limit 1 on-error mark-down
    server spare {_address(config.stable)} no-check backup
"""


def _metrics(config: ProxyConfig) -> str:
    return f"""\
frontend metrics
    bind "${{LISTEN}}:{config.metrics_port}" v4v6
    monitor-uri /healthz
    stats enable
    stats uri /stats
    stats hide-version
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""


def _address(upstream: Upstream) -> str:
    host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
    return f"{host}:{upstream.port}"
