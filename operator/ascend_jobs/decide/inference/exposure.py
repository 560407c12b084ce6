"""The Services of a service, what is asked of them, and whose load is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice_status import InferenceServiceStatus, RevisionStatus
from ascend_jobs.decide.inference.candidate import Stage, probe_name
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.probes import PUBLIC
from ascend_jobs.decide.inference.proxies import front_services, is_proxied, service_address
from ascend_jobs.decide.inference.revisions import record_of
from ascend_jobs.decide.inference.workloads import revision_of
from ascend_jobs.decide.observed import ChildView
from ascend_jobs.decide.plan import Action, Create, Delete, Kind, ProbeTarget, ScrapeTarget, Update
from ascend_jobs.desired.inference.pods import revision_service
from ascend_jobs.desired.inference.workloads import group_service, pod_selector, service_manifest

_EAGER_SECONDS, _EAGER_FAILURES = 3.0, 100
"""Seconds between completions asked of what has not answered yet, and how many of these there are at most."""
_NOBODY = 0
"""Number of no version: a Service that selects it has no pods."""
_MOST_SCRAPED = 2048
"""Pods whose load is read, of one service: all that a spec can ask for, for the sum decides how many there are."""


def service_actions(
    observed: ServiceObserved, status: InferenceServiceStatus, stage: Stage | None
) -> tuple[Action, ...]:
    """Return what brings the public Service and those of the versions to what they are to be.

    The public one selects the version that gets requests; both versions while requests shift; nobody before the first
    version has passed its gate.
    """
    service = observed.service
    known = [r for r in (status.revision, status.candidate, status.canary_revision) if r is not None]
    actions: list[Action] = []
    for revision in known:
        selector = pod_selector(service, revision=revision.number)
        manifest = service_manifest(service, revision_service(service, revision.number), selector, revision.port)
        manifest["metadata"]["labels"][names.REVISION] = str(revision.number)
        actions += _applied(observed, manifest)
        if revision.nodes > 1:
            actions += _applied(observed, group_service(service, revision.number, revision.port))
    serving = status.revision or status.candidate
    if serving is not None:
        both = stage is Stage.SHIFTING and status.revision is not None
        gated = status.revision is None and observed.gate is not None
        number = None if both else _NOBODY if gated else serving.number
        selector = pod_selector(service, revision=number, track=names.TRACK_STABLE)
        for manifest in front_services(observed, selector, serving.port):
            actions += _applied(observed, manifest)
    numbers = {0, *(r.number for r in known)}
    stale = (s for s in observed.services if revision_of(s) not in numbers and not s.deleting)
    return (*actions, *(Delete(Kind.SERVICE, s.name, s.uid) for s in stale))


def opens(actions: Iterable[Action], base: str) -> bool:
    """Say whether these actions change whom the public Service, or the one behind the proxy, selects."""
    front = (base, names.stable_name(base))
    return any(
        isinstance(action, Update) and action.name in front and "selector" in action.patch.get("spec", {})
        for action in actions
        if isinstance(action, Update) and action.kind is Kind.SERVICE
    )


def probe_targets(
    observed: ServiceObserved, status: InferenceServiceStatus, *, public: bool
) -> tuple[ProbeTarget, ...]:
    """Return the completions to ask for: through the public Service, and of a candidate alone."""
    service, spec = observed.service, observed.service.spec.probe
    found: list[ProbeTarget] = []
    wanted = [(PUBLIC, _entrance(observed), status.revision)] if public and status.revision else []
    for revision in (status.candidate, status.canary_revision):
        if revision is not None and any(pod.ready for pod in observed.servers(revision.number)):
            wanted.append((probe_name(revision), revision_service(service, revision.number), revision))
    for name, host, revision in wanted:
        probe = observed.probes.get(name)
        eager = probe is None or (not probe.answered and probe.failures < _EAGER_FAILURES)
        seconds = min(_EAGER_SECONDS, spec.every_seconds) if eager else float(spec.every_seconds)
        target = ProbeTarget(
            name=name,
            service=host,
            address=service_address(observed, host),
            port=revision.port,
            model=service.served_name,
            prompt=spec.prompt,
            max_tokens=spec.max_tokens,
            every_seconds=seconds,
            tls=host == service.base and service.spec.access.tls_secret_ref is not None and is_proxied(observed),
        )
        if target.address:
            found.append(target)
    return tuple(found)


def _entrance(observed: ServiceObserved) -> str:
    """Return the Service that is asked for all: the public one; the one behind a proxy that wants keys."""
    service = observed.service
    needs_key = service.spec.access.api_keys_secret_ref is not None and is_proxied(observed)
    return names.stable_name(service.base) if needs_key else service.base


def scrape_targets(observed: ServiceObserved, revisions: Iterable[RevisionStatus | None]) -> tuple[ScrapeTarget, ...]:
    """Return the ready pods whose engines tell their load."""
    found: list[ScrapeTarget] = []
    for revision in revisions:
        record = record_of(observed, revision) if revision is not None else None
        metrics = ((record or {}).get("engine") or {}).get("metrics")
        if revision is None or not isinstance(metrics, dict):
            continue
        for pod in observed.servers(revision.number):
            if pod.ready and pod.ip and pod.index == 0:
                found.append(_scrape(pod.name, pod.ip, metrics))
    return tuple(found[:_MOST_SCRAPED])


def _scrape(pod: str, ip: str, metrics: dict[str, Any]) -> ScrapeTarget:
    return ScrapeTarget(
        pod=pod,
        ip=ip,
        port=int(metrics["port"]),
        path=str(metrics["path"]),
        running=str(metrics["running"]),
        waiting=str(metrics["waiting"]),
        kv_cache=str(metrics["kvCache"]),
    )


def _applied(observed: ServiceObserved, manifest: dict[str, Any]) -> list[Action]:
    name = manifest["metadata"]["name"]
    found = next((s for s in observed.services if s.name == name), None)
    if found is None:
        return [Create(Kind.SERVICE, manifest)]
    patch = _difference(found, manifest)
    return [Update(Kind.SERVICE, name, found.uid, patch)] if patch and not found.deleting else []


def _difference(found: ChildView, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the merge patch for selector, ports, type and annotations; other annotations are the cloud's own."""
    spec, patch = found.manifest["spec"], {}
    selector, new = spec.get("selector") or {}, wanted["spec"]["selector"]
    if selector != new:
        patch["selector"] = {**{key: None for key in selector if key not in new}, **new}
    ports = [(p.get("port"), p.get("targetPort")) for p in spec.get("ports") or ()]
    if ports != [(p["port"], p["targetPort"]) for p in wanted["spec"]["ports"]]:
        patch["ports"] = wanted["spec"]["ports"]
    if spec.get("type", "ClusterIP") != wanted["spec"].get("type", "ClusterIP"):
        patch["type"] = wanted["spec"].get("type", "ClusterIP")
    has = found.manifest["metadata"].get("annotations") or {}
    notes = {k: v for k, v in (wanted["metadata"].get("annotations") or {}).items() if has.get(k) != v}
    return {**({"spec": patch} if patch else {}), **({"metadata": {"annotations": notes}} if notes else {})}
