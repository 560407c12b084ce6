"""Watch one resource in one namespace (or in all) and keep a store true: list in pages, watch, list again when lost."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import Any

import structlog

from ascend_jobs.cluster.client import Api, Query
from ascend_jobs.cluster.store import Store, is_newer
from ascend_jobs.errors import ApiError
from ascend_jobs.metrics import Metrics

log = structlog.get_logger()
_BACKOFF = (0.5, 30.0)
"""Seconds before the first and before the hundredth retry; doubled in between."""
_FRUITLESS = 4
"""Watches in a row that failed without an event; then a list is due, for the version may be at fault."""
GONE = 410
"""HTTP status Gone: the resourceVersion is too old (Kubernetes API concepts, 410 Gone responses)."""


async def list_into(api: Api, query: Query, store: Store[Any]) -> str:
    """Make a store true to a fresh list, deletes included; return the list's resourceVersion."""
    mark = store.mark()
    page = await api.page(query)
    version, uids = page.version, set()
    while True:
        for item in page.items:
            store.seen(item)
            uids.add(item["metadata"]["uid"])
        if not page.token:
            break
        page = await api.page(query, page.token)
    store.relisted(query.namespace, version, uids, mark)
    return version


class WentBack(Exception):
    """The API server lists an older state than it has shown before: its data was restored from a backup."""


class Informer:
    """Keeps a store true until it is cancelled."""

    def __init__(self, api: Api, query: Query, store: Store[Any], metrics: Metrics) -> None:
        """Take what to watch and where to put it."""
        self._api, self._query, self._store, self._metrics = api, query, store, metrics
        self._plural = query.resource.plural
        self._version = self._newest = ""
        self._failures = 0
        self.listed = asyncio.Event()
        """Set when the store was made true once."""

    @property
    def name(self) -> str:
        """What is watched, for people."""
        return f"{self._plural} in {self._query.namespace}" if self._query.namespace else self._plural

    async def run(self) -> None:
        """List and watch for ever; failures of the API server are outlived. Raises WentBack."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                await asyncio.sleep(random.uniform(0.0, 0.2))  # a server that ends every stream at once is not hammered
            except ApiError as error:
                await self._recover(error)

    async def _list(self) -> None:
        self._metrics.informer_lists.labels(self._plural).inc()
        self._version = await list_into(self._api, self._query, self._store)
        if is_newer(self._newest, self._version):
            raise WentBack(f"{self.name}: listed at {self._version} after {self._newest}; what is known is void")
        self.listed.set()
        log.debug("listed", resource=self.name, objects=len(self._store))

    async def _watch(self) -> None:
        counted = self._metrics.informer_events
        async with aclosing(self._api.watch(self._query, self._version)) as events:
            async for event in events:
                kind, thing = event["type"], event["object"]
                counted.labels(self._plural, kind).inc()
                if kind == "ERROR":
                    raise ApiError(int(thing.get("code", 0)), str(thing.get("message", "")), reason="WatchError")
                if kind == "DELETED":
                    self._store.gone(thing)
                elif kind != "BOOKMARK":
                    self._store.seen(thing)
                self._version = self._newest = thing["metadata"]["resourceVersion"]
                self._failures = 0

    async def _recover(self, error: ApiError) -> None:
        """Wait, longer each time; forget the version where only a list helps."""
        self._failures += 1
        lost = error.status == GONE or self._failures % _FRUITLESS == 0
        if lost:
            self._version = ""
        if error.status not in (0, GONE):
            log.warning("watch failed", resource=self.name, error=str(error), failures=self._failures)
        if not (lost and self._failures == 1):
            first, last = _BACKOFF
            await asyncio.sleep(min(last, first * 2 ** min(self._failures - 1, 10)) * random.uniform(0.5, 1.0))
