"""API objects → what a pass decides from: the object, its children, the nodes and the clock, read once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from ascend_jobs import names
from ascend_jobs.api.conditions import Condition, ConditionStatus, ConditionType, Reason, condition, is_true
from ascend_jobs.api.evaluationjob import EvaluationJob
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.cluster.client import Api
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import CLAIMS
from ascend_jobs.decide.evaluation.observed import EvaluationObserved, ServiceView
from ascend_jobs.decide.inference.observed import GateView, JobView, ServiceObserved
from ascend_jobs.decide.observed import NodeView, Observed
from ascend_jobs.decide.plan import Kind, Manifest
from ascend_jobs.desired.evaluation import read_uris
from ascend_jobs.desired.volumes import claims, location
from ascend_jobs.errors import ApiError, SpecInvalid


async def observe_fine_tune(cluster: Cluster, body: Manifest, now: datetime) -> Observed:
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
        missing_claims=await _missing_claims(cluster.api, job.metadata.namespace, claims(job)) if unstarted else None,
        rivals=cache.rivals(job.metadata.namespace, uid),
        progress=cluster.followers.view(uid, {p.name for p in pods if p.attempt == job.status.attempt.number}),
        defaults=cluster.defaults,
    )


async def observe_service(cluster: Cluster, body: Manifest, now: datetime) -> ServiceObserved:
    """Return everything a pass over a service decides from; raises SpecInvalid if the spec cannot be read, ApiError.

    Claims cost calls: they are looked at only while no version serves.
    """
    service = InferenceService.parse(body)
    uid, cache, namespace = service.metadata.uid, cluster.cache, service.metadata.namespace
    spec = service.spec
    models = (spec.model, *((spec.canary.model,) if spec.canary else ()))
    jobs = {m.from_job: _job_view(cluster, namespace, m.from_job) for m in models if m.from_job}
    uris = (*(m.uri for m in models if m.uri), *(a.uri for a in spec.model.adapters))
    named = tuple(dict.fromkeys(claim for uri in uris if (claim := location(uri).claim) is not None))
    return ServiceObserved(
        service=service,
        now=now,
        pods=cache.pods.owned(uid),
        config_maps=cache.children[Kind.CONFIG_MAP].owned(uid),
        services=cache.children[Kind.SERVICE].owned(uid),
        revisions=cache.children[Kind.REVISION].owned(uid),
        deployments=cache.children[Kind.DEPLOYMENT].owned(uid),
        stateful_sets=cache.children[Kind.STATEFUL_SET].owned(uid),
        nodes=tuple(node for _, node in cache.nodes if node.npus),
        missing_claims=await _missing_claims(cluster.api, namespace, named)
        if service.status.revision is None
        else None,
        jobs=jobs,
        probes=cluster.prober.view(uid),
        loads=cluster.scraper.view(uid),
        gate=_gate_view(cluster, service),
        gates=cache.made(uid),
        defaults=cluster.defaults,
    )


def _gate_view(cluster: Cluster, service: InferenceService) -> GateView | None:
    """Return the gate of a rollout, and its copy for the candidate."""
    gate, candidate, meta = service.spec.rollout.gate, service.status.candidate, service.metadata
    if gate is None:
        return None
    original = cluster.cache.job(Key(names.EVALUATION_SHORT, meta.namespace, gate.evaluation))
    spec = original.get("spec") if original is not None else None
    if candidate is None:
        return GateView(spec)
    name = names.gate_name(meta.name, meta.uid, candidate.number)
    copy = next((view.manifest for view in cluster.cache.made(meta.uid) if view.name == name), None)
    if copy is None:
        return GateView(spec)
    try:
        status = EvaluationJob.parse(copy).status
    except SpecInvalid as error:
        return GateView(spec, started=True, failed=True, message=error.message)
    return GateView(
        spec,
        started=True,
        complete=is_true(status.conditions, ConditionType.COMPLETE),
        failed=is_true(status.conditions, ConditionType.FAILED) or _is_hopeless(status.conditions),
        accepted=status.result.accepted if status.result else None,
        message=status.message,
    )


def _is_hopeless(conditions: tuple[Condition, ...]) -> bool:
    """Say whether only another spec helps; what is not there yet, such as a claim or quota, may still come."""
    stalled = condition(conditions, ConditionType.STALLED)
    hopeless = (Reason.SPEC_INVALID, Reason.POD_REJECTED)
    return stalled is not None and stalled.status is ConditionStatus.TRUE and stalled.reason in hopeless


def _job_view(cluster: Cluster, namespace: str, name: str) -> JobView:
    """Return where a FineTuneJob stands, as last seen."""
    body = cluster.cache.job(Key(names.FINE_TUNE_SHORT, namespace, name))
    if body is None:
        return JobView(name)
    try:
        job = FineTuneJob.parse(body)
    except SpecInvalid as error:
        return JobView(name, found=True, message=error.message)
    made = job.status.artifacts[0] if job.status.artifacts else None
    return JobView(
        name=name,
        found=True,
        complete=is_true(job.status.conditions, ConditionType.COMPLETE),
        failed=is_true(job.status.conditions, ConditionType.FAILED),
        message=job.status.message or job.status.phase,
        artifact_type=made.type if made else "",
        artifact_uri=made.uri if made else "",
        artifact_sha256=made.sha256 if made else "",
        model_uri=job.spec.model.uri,
        image=job.spec.runtime.image,
    )


async def observe_evaluation(cluster: Cluster, body: Manifest, now: datetime) -> EvaluationObserved:
    """Return everything a pass over an evaluation decides from; raises SpecInvalid, ApiError.

    Claims cost calls: they are looked at only while no pod of the present run was seen.
    """
    job = EvaluationJob.parse(body)
    uid, namespace, spec = job.metadata.uid, job.metadata.namespace, job.spec
    targets = (spec.target.service, spec.baseline.service if spec.baseline else None)
    uris = (*read_uris(job), *((spec.output.uri,) if spec.output else ()))
    named = tuple(dict.fromkeys(claim for uri in uris if (claim := location(uri).claim) is not None))
    unstarted = not job.status.run.pod_seen
    pods = cluster.cache.pods.owned(uid)
    return EvaluationObserved(
        job=job,
        now=now,
        pods=pods,
        nodes=tuple(node for _, node in cluster.cache.nodes if node.npus),
        missing_claims=await _missing_claims(cluster.api, namespace, named) if unstarted else None,
        targets={name: _service_view(cluster, namespace, name) for name in targets if name},
        progress=cluster.followers.view(uid, {p.name for p in pods if p.revision == job.status.run.number}),
        defaults=cluster.defaults,
    )


def _service_view(cluster: Cluster, namespace: str, name: str) -> ServiceView:
    """Return where an InferenceService stands, as last seen."""
    body = cluster.cache.job(Key(names.INFERENCE_SHORT, namespace, name))
    if body is None:
        return ServiceView(name)
    try:
        service = InferenceService.parse(body)
    except SpecInvalid as error:
        return ServiceView(name, found=True, message=error.message)
    status, keys = service.status, service.spec.access.api_keys_secret_ref
    return ServiceView(
        name=name,
        found=True,
        ready=is_true(status.conditions, ConditionType.READY),
        settled=status.candidate is None and status.observed_generation == service.metadata.generation,
        message=status.message or status.phase,
        url=status.url or "",
        model=service.served_name,
        engine=status.engine or "",
        revision=status.revision.input_sha256 if status.revision else "",
        keys_secret=keys.name if keys else None,
    )


async def _free_npus(cluster: Cluster, nodes: tuple[NodeView, ...]) -> int | None:
    return None if cluster.capacity is None else await cluster.capacity.free(nodes)


async def _missing_claims(api: Api, namespace: str, named: Sequence[str]) -> tuple[str, ...]:
    there = await asyncio.gather(*(_exists(api, namespace, name) for name in named))
    return tuple(name for name, found in zip(named, there, strict=True) if not found)


async def _exists(api: Api, namespace: str, claim: str) -> bool:
    try:
        await api.get(CLAIMS, namespace, claim)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True
