"""Kopf watches the custom resources and wakes; it decides and writes nothing.

No change-detecting handlers, so what Kopf would store to detect changes is turned off: three quarters of its cost per
event go with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.connection import Pool
from ascend_jobs.cluster.store import Store
from ascend_jobs.cluster.verbs import JOBS
from ascend_jobs.decide.plan import Manifest


class NoDiffBase(kopf.DiffBaseStorage):  # type: ignore[misc] # Kopf's types are not followed
    """Remembers nothing: no handler asks what has changed."""

    def build(self, **_: Any) -> dict[str, Any]:  # noqa: ANN401 - Kopf's signature
        """Return an empty essence."""
        return {}

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        """Return nothing."""

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Store nothing."""


class NoProgress(kopf.ProgressStorage):  # type: ignore[misc]
    """Remembers nothing: no handler is retried."""

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        """Return nothing."""

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Store nothing."""

    def purge(self, **_: Any) -> None:  # noqa: ANN401
        """Store nothing."""

    def touch(self, **_: Any) -> None:  # noqa: ANN401
        """Store nothing."""

    def clear(self, *, essence: Any) -> Any:  # noqa: ANN401
        """Return the essence as it is."""
        return essence


def make_registry(cache: Cache, pool: Pool, relisted: Callable[[], None]) -> kopf.OperatorRegistry:
    """Return the handlers: store what was seen; `relisted` is told when Kopf lists, for it synthesises no deletes."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_login(pool))
    for kind, resource in JOBS.items():
        _, group, version = resource.prefix.split("/")
        kopf.on.event(group, version, resource.plural, registry=registry)(_seen(cache.jobs[kind], relisted))
    return registry


def _login(pool: Pool) -> Callable[..., Any]:
    async def login(**_: Any) -> kopf.AiohttpSession:  # noqa: ANN401
        """Give Kopf a session over our pool, which keeps its token fresh; Kopf may close it, the pool stays open."""
        return kopf.AiohttpSession(server=pool.endpoint.server, aiohttp_session=pool.session())

    return login


def _seen(store: Store[Manifest], relisted: Callable[[], None]) -> Callable[..., Any]:
    async def seen(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401
        """Keep what was seen; the cache wakes whom it concerns."""
        if event["type"] == "DELETED":
            store.gone(event["object"])
        else:
            store.seen(event["object"])
        if event["type"] is None:
            relisted()

    return seen


def make_settings() -> kopf.OperatorSettings:
    """Return Kopf's settings for a host that only watches; figures for 1,000 jobs."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.consistency_timeout = 0
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.queueing.idle_timeout = 1.0
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 5
    settings.watching.reconnect_backoff = 1.0
    settings.networking.request_timeout = 30
    settings.process.ultimate_exiting_timeout = None
    return settings
