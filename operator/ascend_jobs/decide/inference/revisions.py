"""When a new version is recorded, and when one is given up.

A version is made of the spec, the job's result and what the installation gives at that moment; all its pods come from
the record, also after an upgrade of the operator. A version that was given up is not tried again until its input
changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import Reason
from ascend_jobs.api.inferenceservice_status import FailedRevision, InferenceServiceStatus, RevisionStatus
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.profile import engine_of, server_settings
from ascend_jobs.decide.observed import ChildView
from ascend_jobs.decide.plan import Action, Create, Event, Kind
from ascend_jobs.desired.engines.engine import EngineParts, engine_parts
from ascend_jobs.desired.inference.pods import engine_input, revision_service, server_labels, server_template
from ascend_jobs.desired.inference.source import Source, input_digest
from ascend_jobs.desired.inference.workloads import files_configmap, revision_record


@dataclass(frozen=True)
class Recorded:
    """A new version: the status that tells of it, and the writes that make its record."""

    revision: RevisionStatus
    actions: tuple[Action, ...]
    event: Event


def new_candidate(observed: ServiceObserved, source: Source) -> tuple[InferenceServiceStatus, Recorded | None]:
    """Return the status with the candidate that the input asks for: a new one, the present one, or none."""
    status = observed.service.status
    digest = input_digest(observed.service, source, names.TRACK_STABLE)
    serving = status.revision
    if serving is not None and serving.input_sha256 == digest and record_of(observed, serving) is not None:
        return status.evolve(candidate=None, failed_revision=None), None
    if (
        status.candidate is not None
        and status.candidate.input_sha256 == digest
        and record_of(observed, status.candidate)
    ):
        return status, None
    if status.failed_revision is not None and status.failed_revision.input_sha256 == digest:
        return status.evolve(candidate=None), None
    recorded = record(observed, source, digest, names.TRACK_STABLE)
    number = recorded.revision.number
    return status.evolve(candidate=recorded.revision, last_revision=number, failed_revision=None), recorded


def record(observed: ServiceObserved, source: Source, digest: str, track: str) -> Recorded:
    """Return the record of a new version; one that a killed pass left behind is taken up.

    A version that was served or given up before is not: its model is looked at, and its gate asked, anew.
    """
    service = observed.service
    newest = service.status.last_revision
    left = next((r for r in observed.revisions if _input_of(r) == digest and _number_of(r) > newest), None)
    seen = max((_number_of(r) for r in observed.revisions), default=0)
    number = _number_of(left) if left is not None else max(newest, seen) + 1
    engine, settings = engine_of(observed), server_settings(observed)
    parts = engine_parts(engine_input(service, source, engine, revision=number, track=track))
    labels = server_labels(service, number, track)
    template = server_template(service, source, parts, settings, labels)
    data = {"input": digest, "template": template, "engine": _engine_data(parts)}
    made: list[Action] = [Create(Kind.REVISION, revision_record(service, number, data))] if left is None else []
    if parts.files:
        made.append(Create(Kind.CONFIG_MAP, files_configmap(service, number, dict(parts.files))))
    image = next(c["image"] for c in template["spec"]["containers"] if c["name"] == names.CONTAINER_SERVER)
    revision = RevisionStatus(
        number=number,
        name=revision_service(service, number),
        input_sha256=digest,
        engine=engine.value,
        image=str(image)[:1024],
        port=parts.port,
        model=source.model_uri,
        nodes=service.spec.nodes,
        npus_per_node=service.spec.npus_per_node,
        created_time=observed.now,
    )
    return Recorded(revision, tuple(made), Event(Reason.REVISION_RECORDED, f"revision {number}: {source.model_uri}"))


def give_up(
    observed: ServiceObserved, status: InferenceServiceStatus, reason: str, message: str
) -> tuple[InferenceServiceStatus, Event]:
    """Return the status without its candidate, and the event that says why."""
    candidate = status.candidate
    assert candidate is not None
    failed = FailedRevision(
        number=candidate.number,
        input_sha256=candidate.input_sha256,
        reason=reason,
        message=message[:1024],
        time=observed.now,
    )
    event = Event(Reason.ROLLOUT_FAILED, f"revision {candidate.number} given up: {message}", warning=True)
    return status.evolve(candidate=None, failed_revision=failed), event


def record_of(observed: ServiceObserved, revision: RevisionStatus) -> dict[str, Any] | None:
    """Return what a revision's pods are made of, None when its record is not there (any more)."""
    found = next((r for r in observed.revisions if r.name == revision.name and not r.deleting), None)
    data = found.manifest.get("data") if found is not None else None
    return data if isinstance(data, dict) and isinstance(data.get("template"), dict) else None


def _engine_data(parts: EngineParts) -> dict[str, Any]:
    metrics = parts.metrics
    told = {"port": metrics.port, "path": metrics.path, "running": metrics.running} if metrics else None
    if metrics and told is not None:
        told |= {"waiting": metrics.waiting, "kvCache": metrics.kv_cache}
    return {"port": parts.port, "metrics": told}


def _input_of(child: ChildView) -> str:
    data = child.manifest.get("data")
    return str(data.get("input", "")) if isinstance(data, dict) else ""


def _number_of(child: ChildView) -> int:
    number = child.manifest.get("revision", 0)
    return number if isinstance(number, int) else 0
