"""All parts of the operator in one group of tasks: when one ends, all end.

Passes start when every kind was listed and the Lease is held. At the end the workers finish what they hold, then the
Lease is given back, so the next replica takes over from a quiet world.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import kopf
import structlog

from ascend_jobs import names
from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.calls import Call, traced
from ascend_jobs.cluster.capacity import Capacity
from ascend_jobs.cluster.client import HttpApi, Query
from ascend_jobs.cluster.clock import utc_now
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.connection import Endpoint, Pool
from ascend_jobs.cluster.events import Recorder
from ascend_jobs.cluster.informer import Informer
from ascend_jobs.cluster.joblist import JobList
from ascend_jobs.cluster.lease import Lease
from ascend_jobs.cluster.prober import Prober
from ascend_jobs.cluster.progress import Followers
from ascend_jobs.cluster.queue import WorkQueue
from ascend_jobs.cluster.reach import DirectReach, ProxyReach, Reach
from ascend_jobs.cluster.scraper import Scraper
from ascend_jobs.cluster.verbs import CHILDREN, JOBS, NODES
from ascend_jobs.decide.observed import Defaults
from ascend_jobs.handlers.jobs import make_registry, make_settings
from ascend_jobs.handlers.probes import Probes
from ascend_jobs.metrics import Metrics
from ascend_jobs.reconcile import work
from ascend_jobs.settings import Settings

log = structlog.get_logger()


class Ended(Exception):
    """A part that runs for ever has come to an end."""


class _Stopped(Exception):
    """The operator was asked to stop, and has."""


class Engine:
    """One operator. Needs a running loop; `run` may be called once."""

    def __init__(self, settings: Settings, endpoint: Endpoint) -> None:
        """Put the parts together; nothing runs yet."""
        self._settings = settings
        self.metrics = Metrics()
        self.calls: set[Call] = set()
        """What was asked of the API server so far, in the words of RBAC."""
        self._pool = Pool(endpoint, traced(self.metrics, self.calls.add))
        self._api, lease_api = HttpApi(self._pool), HttpApi(self._pool, limit=2, timeout=5.0)
        self._clients = (self._api, lease_api)
        self._queue = WorkQueue(self.metrics)
        self.cache = Cache(self._queue.add)
        self.metrics.count_jobs(self.cache.phases)
        self._jobs = JobList(self._api, self.cache, settings.namespaces)
        self._informers = tuple(self._make_informers())
        self._followers = Followers(self._api, self._queue.add, self.metrics)
        self._reach: Reach = ProxyReach(self._pool) if settings.reach == "proxy" else DirectReach()
        self._prober = Prober(self._reach, self._queue.add, utc_now)
        self._scraper = Scraper(self._reach, self._queue.add, utc_now)
        self._cluster = Cluster(
            api=self._api,
            cache=self.cache,
            followers=self._followers,
            prober=self._prober,
            scraper=self._scraper,
            recorder=Recorder(self._api),
            metrics=self.metrics,
            capacity=None if settings.namespaces else Capacity(self._api),
            defaults=_defaults(settings),
        )
        self._lease = Lease(lease_api, settings.own_namespace, settings.lease_name, settings.identity)
        self._probes = Probes(self.metrics, missing=self.missing, waiting_seconds=self._waiting_seconds)
        self._workers: list[asyncio.Task[None]] = []
        self._keeper: asyncio.Task[None] | None = None
        self.port = 0
        """Where the probes answer, once run() has begun."""

    @property
    def leads(self) -> bool:
        """Whether passes are run."""
        return bool(self._workers)

    def missing(self) -> Sequence[str]:
        """Return what stands in the way of readiness, for people."""
        return (*self._jobs.missing, *(f"{i.name} are not listed" for i in self._informers if not i.listed.is_set()))

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then end well; raises an ExceptionGroup when a part ends on its own."""
        self.port = await self._probes.start(self._settings.host, self._settings.port)
        log.info("operator started", namespaces=self._settings.namespaces or "all", port=self.port)
        try:
            async with asyncio.TaskGroup() as tasks:
                for informer in self._informers:
                    tasks.create_task(_forever(informer.run()), name=informer.name)
                tasks.create_task(_forever(self._jobs.run()), name="job list")
                tasks.create_task(_forever(self._measure_lag()), name="loop lag")
                tasks.create_task(_forever(self._scraper.run()), name="scraper")
                leader = tasks.create_task(self._lead(tasks), name="leader")
                tasks.create_task(_forever(self._watch_jobs(stop)), name="kopf")
                tasks.create_task(self._end(stop, leader), name="end")
        except* _Stopped:
            log.info("operator stopped")
        finally:
            await self._close()

    def _make_informers(self) -> Iterator[Informer]:
        labels = names.JOB_UID
        for resource in CHILDREN.values():
            if resource in JOBS.values():
                continue  # Kopf watches these
            for namespace in self._settings.namespaces or ("",):
                query = Query(resource, namespace, labels=labels)
                yield Informer(self._api, query, self.cache.store_of(resource), self.metrics)
        if not self._settings.namespaces:
            yield Informer(self._api, Query(NODES), self.cache.nodes, self.metrics)

    async def _lead(self, tasks: asyncio.TaskGroup) -> None:
        """Wait until the caches are full and the Lease is ours, then let the workers begin."""
        for listed in (self._jobs.listed, *(informer.listed for informer in self._informers)):
            await listed.wait()
        log.info("caches filled", jobs=sum(len(store) for store in self.cache.jobs.values()))
        if self._settings.leader_election:
            await self._lease.acquire()
            self._keeper = tasks.create_task(_forever(self._lease.keep()), name="lease")
        self.metrics.leader.set(1)
        for number in range(self._settings.workers):
            worker = tasks.create_task(work(self._cluster, self._queue), name=f"worker {number}")
            self._workers.append(worker)

    async def _watch_jobs(self, stop: asyncio.Event) -> None:
        """Run Kopf once the custom resources are there.

        Not by kopf.run_tasks, which at its end cancels every task in the loop that it did not find at its start.
        """
        await self._jobs.discovered.wait()
        roots = await kopf.spawn_tasks(
            registry=make_registry(self.cache, self._pool, self._jobs.ask),
            settings=make_settings(),
            clusterwide=not self._settings.namespaces,
            namespaces=list(self._settings.namespaces),
            standalone=True,
        )
        catch_signals(stop)  # Kopf has taken them
        try:
            ended, _ = await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in roots:
                task.cancel()
            await asyncio.wait(roots)
        for task in ended:
            task.result()

    async def _end(self, stop: asyncio.Event, leader: asyncio.Task[None]) -> None:
        """Wait until we are to stop: finish the passes in work, give the Lease back, stop the rest."""
        await stop.wait()
        log.info("operator stops")
        leader.cancel()
        self._queue.close()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=self._settings.drain_seconds)
            for task in late:
                task.cancel()
        await self._followers.close()
        await self._prober.close()
        self.metrics.leader.set(0)
        if self._keeper is not None:
            self._keeper.cancel()
            await self._lease.release()
        await self._probes.stop()
        raise _Stopped

    async def _close(self) -> None:
        await self._followers.close()
        await self._prober.close()
        await self._reach.close()
        await self._probes.stop()
        for client in self._clients:
            await client.close()
        await self._pool.close()

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(1.0)
            self.metrics.loop_lag.set(max(0.0, loop.time() - before - 1.0))
            self.metrics.queue_age.set(self._queue.oldest_age())

    def _waiting_seconds(self) -> float:
        return self._queue.oldest_age() if self.leads else 0.0


def catch_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`; only possible in the main thread, elsewhere nothing is done."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)


def _defaults(settings: Settings) -> Defaults:
    return Defaults(
        image=settings.image,
        prepare_image=settings.prepare_image,
        serve_image=settings.serve_image,
        proxy_image=settings.proxy_image,
        engine=settings.engine,
        pull_policy=settings.pull_policy,
        pull_secrets=settings.pull_secrets,
    )


async def _forever(part: Coroutine[Any, Any, None]) -> None:
    """Run a part that has no end; its end is an error."""
    await part
    task = asyncio.current_task()
    raise Ended(f"{task.get_name() if task else part} ended")
