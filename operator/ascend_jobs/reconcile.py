"""One pass over one job: observe → decide → act → report; and the loop that takes keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from time import monotonic

import structlog
from structlog.contextvars import bound_contextvars

from ascend_jobs.cluster.act import Actor
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.observe import observe
from ascend_jobs.cluster.queue import WorkQueue
from ascend_jobs.cluster.report import report
from ascend_jobs.cluster.store import Key
from ascend_jobs.decide import finetune
from ascend_jobs.decide.observed import Observed
from ascend_jobs.decide.plan import Manifest, Plan
from ascend_jobs.errors import ApiError, JobError, Outdated, SpecInvalid

log = structlog.get_logger()


async def work(cluster: Cluster, queue: WorkQueue) -> None:
    """Take keys and run passes until the queue is closed; the only place that catches everything."""
    async for key in queue:
        with bound_contextvars(job_kind=key.kind, namespace=key.namespace, name=key.name):
            started, result = monotonic(), "done"
            try:
                queue.done(key, await reconcile(cluster, key))
            except Outdated as error:
                result = "outdated"
                log.debug("pass discarded", reason=str(error))
                queue.retry(key)
            except ApiError as error:
                result = "refused"
                log.warning("pass failed", error=str(error))
                queue.retry(key)
            except Exception:
                result = "failed"
                log.exception("pass failed")
                queue.retry(key)
            cluster.metrics.passes.labels(key.kind, result).inc()
            cluster.metrics.pass_seconds.observe(monotonic() - started)


async def reconcile(cluster: Cluster, key: Key) -> float | None:
    """Bring one job a step closer to its spec; return seconds until the next look, None to wait for events.

    Raises Outdated when something newer was there (nothing was reported) and ApiError; both want another pass.
    """
    for uid in cluster.cache.ended(key):
        await Actor(cluster, key, uid).sweep()
        cluster.followers.forget(uid)
        cluster.cache.forget(key, uid)
    body = cluster.cache.job(key)
    if body is None:
        return None
    with bound_contextvars(uid=body["metadata"]["uid"], generation=body["metadata"].get("generation")):
        decided = await _pass(cluster, key, body, cluster.clock())
    cluster.followers.follow(key, body["metadata"]["uid"], decided.follow)
    return decided.requeue_after


async def _pass(cluster: Cluster, key: Key, body: Manifest, now: datetime) -> Plan:
    try:
        observed = await observe(cluster, body, now)
    except SpecInvalid as error:
        decided = Plan(status=finetune.unreadable(body["metadata"], body.get("status") or {}, error, now))
    else:
        decided = await _acted(cluster, key, body, observed)
    await report(cluster, key, body, decided, now)
    return decided


async def _acted(cluster: Cluster, key: Key, body: Manifest, observed: Observed) -> Plan:
    """Decide and act; the status is written also when acting failed, for it speaks of what was seen."""
    decided = finetune.plan(observed)
    try:
        await Actor(cluster, key, observed.job.metadata.uid).act(decided.actions)
    except JobError as error:
        return finetune.problem(observed, error, decided)
    except ApiError:
        await report(cluster, key, body, replace(decided, events=()), observed.now)
        raise
    return decided
