"""One pass over one job: observe → decide → act → report; and the loop that takes keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from ascend_jobs import names
from ascend_jobs.cluster.act import Actor
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.observe import observe_evaluation, observe_fine_tune, observe_service
from ascend_jobs.cluster.queue import WorkQueue
from ascend_jobs.cluster.report import report
from ascend_jobs.cluster.store import Key
from ascend_jobs.decide import finetune
from ascend_jobs.decide.evaluation import rules as evaluation
from ascend_jobs.decide.inference import rules as inference
from ascend_jobs.decide.plan import Manifest, Plan
from ascend_jobs.errors import ApiError, JobError, Outdated, SpecInvalid

log = structlog.get_logger()


@dataclass(frozen=True)
class Flow:
    """How a kind is observed and decided about; acting and reporting are the same for all."""

    observe: Callable[[Cluster, Manifest, datetime], Awaitable[Any]]
    plan: Callable[[Any], Plan]
    problem: Callable[[Any, JobError, Plan], Plan]
    unreadable: Callable[[Mapping[str, Any], Mapping[str, Any], SpecInvalid, datetime], Mapping[str, Any]]


FLOWS = {
    names.FINE_TUNE_SHORT: Flow(observe_fine_tune, finetune.plan, finetune.problem, finetune.unreadable),
    names.EVALUATION_SHORT: Flow(observe_evaluation, evaluation.plan, evaluation.problem, evaluation.unreadable),
    names.INFERENCE_SHORT: Flow(observe_service, inference.plan, inference.problem, inference.unreadable),
}
"""By short kind."""


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
        cluster.prober.forget(uid)
        cluster.scraper.forget(uid)
        cluster.cache.forget(key, uid)
    body = cluster.cache.job(key)
    if body is None:
        return None
    with bound_contextvars(uid=body["metadata"]["uid"], generation=body["metadata"].get("generation")):
        decided = await _pass(cluster, key, body, cluster.clock())
    uid = body["metadata"]["uid"]
    cluster.followers.follow(key, uid, decided.follow)
    cluster.prober.want(key, uid, decided.probes)
    cluster.scraper.want(key, uid, decided.scrapes)
    return decided.requeue_after


async def _pass(cluster: Cluster, key: Key, body: Manifest, now: datetime) -> Plan:
    flow = FLOWS[key.kind]
    try:
        observed = await flow.observe(cluster, body, now)
    except SpecInvalid as error:
        decided = Plan(status=flow.unreadable(body["metadata"], body.get("status") or {}, error, now))
    else:
        decided = await _acted(cluster, key, body, flow, observed)
    await report(cluster, key, body, decided, now)
    return decided


async def _acted(cluster: Cluster, key: Key, body: Manifest, flow: Flow, observed: Any) -> Plan:  # noqa: ANN401 - one of the kinds' own
    """Decide and act; the status is written also when acting failed, for it speaks of what was seen."""
    decided = flow.plan(observed)
    try:
        await Actor(cluster, key, body["metadata"]["uid"]).act(decided.actions)
    except JobError as error:
        return flow.problem(observed, error, decided)
    except ApiError:
        await report(cluster, key, body, replace(decided, events=()), observed.now)
        raise
    return decided
