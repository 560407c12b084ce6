"""The load that engines tell of themselves in /metrics, and what proxies counted, read from each ready pod."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog
from prometheus_client.parser import text_string_to_metric_families

from ascend_jobs.cluster.clock import Clock
from ascend_jobs.cluster.reach import Reach
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.traffic import parse_traffic
from ascend_jobs.decide.inference.observed import LoadView
from ascend_jobs.decide.plan import ScrapeTarget

log = structlog.get_logger()
EVERY_SECONDS = 10.0
_LONGEST = 5.0
_AT_ONCE = 64
"""Pods that are read at the same time, of all services."""
_MOST_LINES = 1000
"""Lines of one page that are looked at: the metrics of engines have a handful of labels."""
_MOST = 1e9
"""A larger number of requests is none."""


class Scraper:
    """Reads the load of all services in one task."""

    def __init__(self, reach: Reach, wake: Callable[[Key], None], clock: Clock) -> None:
        """Take how pods are reached, whom to tell of news, and the clock."""
        self._reach, self._wake, self._clock = reach, wake, clock
        self._wanted: dict[str, tuple[Key, tuple[ScrapeTarget, ...]]] = {}
        self._views: dict[str, dict[str, LoadView]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def view(self, uid: str) -> Mapping[str, LoadView]:
        """Return what the pods of a service last told, by pod."""
        return dict(self._views.get(uid, {}))

    def want(self, key: Key, uid: str, targets: Sequence[ScrapeTarget]) -> None:
        """Read these pods of a service from now on, and no others."""
        if targets:
            self._wanted[uid] = (key, tuple(targets))
            pods = {target.pod for target in targets}
            self._views[uid] = {pod: view for pod, view in self._views.get(uid, {}).items() if pod in pods}
        else:
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """Read nothing of a service that is gone."""
        self._wanted.pop(uid, None)
        self._views.pop(uid, None)

    async def run(self) -> None:
        """Read all, again and again, for ever."""
        while True:
            started = asyncio.get_running_loop().time()
            wanted = list(self._wanted.items())
            await asyncio.gather(*(self._read(uid, key, targets) for uid, (key, targets) in wanted))
            spent = asyncio.get_running_loop().time() - started
            await asyncio.sleep(max(1.0, EVERY_SECONDS - spent))

    async def _read(self, uid: str, key: Key, targets: Sequence[ScrapeTarget]) -> None:
        """Read one service's pods. What a pod told before counts until it is too old (decide/inference/scaling.py)."""
        found = await asyncio.gather(*(self._load(key.namespace, target) for target in targets))
        if uid not in self._wanted:
            return
        wanted = {target.pod for target in self._wanted[uid][1]}
        old = {pod: view for pod, view in self._views.get(uid, {}).items() if pod in wanted}
        new = {t.pod: view for t, view in zip(targets, found, strict=True) if view is not None and t.pod in wanted}
        before = {pod: _told(view) for pod, view in old.items()}
        self._views[uid] = {**old, **new}
        after = {pod: _told(view) for pod, view in self._views[uid].items()}
        if after != before:
            self._wake(key)

    async def _load(self, namespace: str, target: ScrapeTarget) -> LoadView | None:
        """Return what a pod tells, None when nothing; whatever it sends, the others are read on."""
        try:
            async with self._slots, asyncio.timeout(_LONGEST):
                page = await self._reach.get_pod(namespace, target.pod, target.ip, target.port, target.path)
            if target.proxy:
                return LoadView(self._clock(), traffic=parse_traffic(page))
            return _parse(page, target, self._clock)
        except Exception as error:  # noqa: BLE001 - a page may make a parser raise anything (prometheus_client: IndexError)
            log.debug("load not read", pod=target.pod, error=f"{type(error).__name__}: {error}")
            return None


def _told(view: LoadView) -> tuple[object, ...]:
    return view.running, view.waiting, view.kv_cache, view.traffic


def _parse(page: str, target: ScrapeTarget, clock: Clock) -> LoadView:
    """Return the sums over labels of the three metrics.

    Raises ValueError for a page that has none of them, and for numbers that cannot be; anything for other pages.
    """
    sums: dict[str, float] = {}
    named = (target.running, target.waiting, target.kv_cache)
    wanted = [line for line in page.splitlines() if line.startswith(named)][:_MOST_LINES]
    for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
        for sample in family.samples:
            if sample.name in named:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    if not sums or not all(0 <= value <= _MOST for value in sums.values()):
        raise ValueError(f"no load in it: {sums}")
    running, waiting, kv_cache = (sums.get(name, 0.0) for name in named)
    return LoadView(clock(), running, waiting, kv_cache)
