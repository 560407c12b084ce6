"""API objects → Observed: the job, its children, the nodes and the clock, read once for a pass."""

from __future__ import annotations

import asyncio
from datetime import datetime

from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.cluster.client import Api
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.verbs import CLAIMS
from ascend_jobs.decide.observed import NodeView, Observed
from ascend_jobs.decide.plan import Kind, Manifest
from ascend_jobs.desired.volumes import claims
from ascend_jobs.errors import ApiError


async def observe(cluster: Cluster, body: Manifest, now: datetime) -> Observed:
    """Return everything a pass decides from; raises SpecInvalid if the spec cannot be read, ApiError.

    Claims and free NPUs cost calls: they are looked at only while no attempt has started, the NPUs also while a pod of
    ours finds no place.
    """
    job = FineTuneJob.parse(body)
    uid, cache = job.metadata.uid, cluster.cache
    pods, nodes = cache.pods.owned(uid), tuple(node for _, node in cache.nodes if node.npus)
    unstarted = job.status.attempt.start_time is None and job.status.completion_time is None
    asking = unstarted or any(pod.scheduling_message for pod in pods)
    return Observed(
        job=job,
        now=now,
        pods=pods,
        config_maps=cache.children[Kind.CONFIG_MAP].owned(uid),
        services=cache.children[Kind.SERVICE].owned(uid),
        revisions=cache.children[Kind.REVISION].owned(uid),
        nodes=nodes,
        free_npus=await _free_npus(cluster, nodes) if asking else None,
        missing_claims=await _missing_claims(cluster.api, job) if unstarted else None,
        rivals=cache.rivals(job.metadata.namespace, uid),
        progress=cluster.followers.view(uid, {p.name for p in pods if p.attempt == job.status.attempt.number}),
        defaults=cluster.defaults,
    )


async def _free_npus(cluster: Cluster, nodes: tuple[NodeView, ...]) -> int | None:
    return None if cluster.capacity is None else await cluster.capacity.free(nodes)


async def _missing_claims(api: Api, job: FineTuneJob) -> tuple[str, ...]:
    named = claims(job)
    there = await asyncio.gather(*(_exists(api, job.metadata.namespace, name) for name in named))
    return tuple(name for name, found in zip(named, there, strict=True) if not found)


async def _exists(api: Api, namespace: str, claim: str) -> bool:
    try:
        await api.get(CLAIMS, namespace, claim)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True
