"""Lists of the custom resources beside Kopf's watch, which tells neither when it has listed all nor what vanished.

One list before the first pass, one whenever Kopf had to list again, and one every ten minutes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import structlog

from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.client import Api, Query
from ascend_jobs.cluster.informer import list_into
from ascend_jobs.cluster.verbs import JOBS, Resource
from ascend_jobs.errors import ApiError

log = structlog.get_logger()
_EVERY = 600.0
"""Seconds between two lists when nothing happens."""
_SETTLE = 5.0
"""Seconds between Kopf's list and ours, so that one of ours answers a thousand events of its."""
_RETRY = 5.0
"""Seconds until an API server that failed, or a resource that is not there yet, is asked again."""


class JobList:
    """Keeps the stores of jobs true where the watch cannot."""

    def __init__(self, api: Api, cache: Cache, namespaces: Sequence[str]) -> None:
        """Take the namespaces that are served; empty: all."""
        self._api, self._cache = api, cache
        self._namespaces = tuple(namespaces) or ("",)
        self._asked = asyncio.Event()
        self.discovered = asyncio.Event()
        """Set when the API server serves the custom resources."""
        self.listed = asyncio.Event()
        """Set when all jobs were listed once."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What stands in the way of the first pass, for people."""
        if self.listed.is_set():
            return ()
        word = "listed" if self.discovered.is_set() else "discovered"
        return tuple(f"{resource.plural} are not {word}" for resource in JOBS.values())

    def ask(self) -> None:
        """Ask for a list soon."""
        self._asked.set()

    async def run(self) -> None:
        """Discover, list, and list again, for ever."""
        for resource in JOBS.values():
            await self._discover(resource)
        self.discovered.set()
        while True:
            try:
                await self._list()
            except ApiError as error:
                log.warning("jobs not listed", error=str(error))
                await asyncio.sleep(_RETRY * random.uniform(0.5, 1.0))
            else:
                self.listed.set()
                await self._wait()

    async def _discover(self, resource: Resource) -> None:
        """Wait until the API server knows the resource."""
        told = False
        while True:
            try:
                if resource.plural in await self._api.discover(resource.prefix):
                    return
                if not told:
                    log.warning("custom resource not found; waits for its definition", resource=resource.plural)
                    told = True
            except ApiError as error:
                log.warning("API server not asked for its resources", error=str(error))
            await asyncio.sleep(_RETRY * random.uniform(0.5, 1.0))

    async def _list(self) -> None:
        for kind, resource in JOBS.items():
            for namespace in self._namespaces:
                await list_into(self._api, Query(resource, namespace), self._cache.jobs[kind])

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_EVERY):
                await self._asked.wait()
            await asyncio.sleep(_SETTLE)
        except TimeoutError:
            pass
        self._asked.clear()
