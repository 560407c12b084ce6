"""An InferenceService as lines for people: what `ascendctl watch aisvc/NAME` shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ascend_jobs.api.conditions import ConditionStatus, ConditionType, Reason, condition
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.api.inferenceservice_status import CanaryStatus, RevisionStatus, VersionTraffic
from ascend_jobs.cli import exits
from ascend_jobs.cli.figures import ago, headline, labelled, speed
from ascend_jobs.cli.screen import clean
from ascend_jobs.errors import SpecInvalid

SOMEBODY_ACTS = frozenset(
    {
        Reason.MISSING_CLAIM,
        Reason.OUTPUT_IN_USE,
        Reason.NPU_COUNT_NOT_ALLOWED,
        Reason.NAME_CONFLICT,
        Reason.QUOTA_EXCEEDED,
        Reason.NAMESPACE_TERMINATING,
    }
)
"""Reasons of Stalled after which it goes on by itself once somebody has provided something; watching goes on too."""
_SHOWN_REPLICAS = 8


class ServiceStory:
    """A service while it is watched."""

    def __init__(self) -> None:
        """Begin without an object."""
        self._service: InferenceService | None = None

    def take(self, body: dict[str, Any]) -> None:
        """Take the object as it is now."""
        try:
            self._service = InferenceService.parse(body)
        except SpecInvalid:
            self._service = InferenceService.without_spec(body)

    def block(self, now: datetime, *, colour: bool = False) -> list[str]:
        """Return the block that is redrawn while the service is watched."""
        service = self._service
        if service is None:
            return []
        age = now - service.metadata.creation_timestamp
        first = headline(service.kind, service.metadata, service.status.phase, age, colour=colour)
        return labelled([("", first), *_rows(service, now)])

    def line(self) -> str:
        """Return the line that is printed where there is no terminal, each time it changes."""
        if self._service is None:
            return ""
        status = self._service.status
        parts = [clean(status.phase), _revisions(self._service)]
        parts += [_ready(self._service)] if status.revision or status.candidate else []
        return "  ".join(part for part in (*parts, clean(status.message)) if part)

    def end(self) -> int | None:
        """Return the exit code: 0 Ready or scaled to zero, 1 given up; None as long as it may still change."""
        service = self._service
        if service is None or service.status.observed_generation < service.metadata.generation:
            return None
        status = service.status
        if status.phase in ("Ready", "ScaledToZero"):
            return exits.FAILED if _given_up(service) else exits.OK
        stalled = condition(status.conditions, ConditionType.STALLED)
        if stalled is None or stalled.status is not ConditionStatus.TRUE or stalled.reason in SOMEBODY_ACTS:
            return None
        return exits.FAILED

    def result(self) -> list[str]:
        """Return what the service came to: where it is asked, or why it is not."""
        service = self._service
        if service is None:
            return []
        status = service.status
        lines = [f"{clean(status.phase)}: {clean(status.message)}".rstrip(": ")]
        if status.url and status.phase == "Ready":
            lines += [f"  address   {clean(status.url)}/v1  model {clean(status.served_name or service.served_name)}"]
            lines += [f'  ask it    ascendctl ask aisvc/{service.metadata.name} "..."']
        if _given_up(service) and "given up" not in status.message:
            lines.append(f"  given up  {_failed(service)}")
        return lines


def _rows(service: InferenceService, now: datetime) -> Iterator[tuple[str, str]]:
    status = service.status
    yield "model", _model(service)
    yield "engine", _engine(service)
    yield "revision", _revisions(service).removeprefix("revision ")
    yield "replicas", _replicas(service)
    for instance in status.instances[:_SHOWN_REPLICAS]:
        if not instance.ready or instance.restarts:
            message = clean(instance.message).removeprefix(clean(instance.name)).lstrip(": ")
            words = message or ("ready" if instance.ready else "not ready")
            again = f" ({instance.restarts} restarts)" if instance.restarts else ""
            yield "", f"    {clean(instance.name)}: {words}{again}"
    yield "rank table", _rank_tables(service)
    yield "rollout", _rollout(service, now)
    yield "probe", _probe(service, now)
    yield "load", _load(service)
    if status.canary is not None:
        yield "canary", _canary(status.canary)
    yield "given up", _failed(service)
    yield "address", f"{clean(status.url)}/v1" if status.url else ""
    yield "", f"  {clean(status.message)}".rstrip()


def _model(service: InferenceService) -> str:
    status, model = service.status, service.spec.model
    where = clean(model.uri or f"result of ftj/{model.from_job}")
    revision = status.revision or status.candidate
    found = revision.inspected if revision is not None else None
    if found is None:
        return where
    return f"{where}  ({clean(found.architecture)}, {found.parameters / 1e9:.2f} billion weights)"


def _engine(service: InferenceService) -> str:
    revision = service.status.revision or service.status.candidate
    if revision is not None:
        return f"{clean(revision.engine)}  {clean(revision.image)}".rstrip()
    engine = service.spec.serving.engine
    return engine.value if engine is not None else ""


def _revisions(service: InferenceService) -> str:
    """Return the version that serves and the one that is to take over."""
    serving, candidate = service.status.revision, service.status.candidate
    if serving is None:
        return f"revision {candidate.number} starts" if candidate is not None else ""
    return f"revision {serving.number}" + (f", {candidate.number} is on its way in" if candidate is not None else "")


def _ready(service: InferenceService) -> str:
    status = service.status
    return f"{status.ready_replicas}/{status.scaling.desired} ready"


def _replicas(service: InferenceService) -> str:
    status, spec = service.status, service.spec
    if not (status.replicas or status.scaling.desired):
        return ""
    npus = f"{spec.npus_per_node} NPU{'s' if spec.npus_per_node > 1 else ''} each"
    each = f"{spec.nodes} pods with {npus}" if spec.nodes > 1 else npus
    why = f" ({clean(status.scaling.reason)})" if status.scaling.reason else ""
    return f"{status.ready_replicas} ready of {status.scaling.desired} wanted{why}, {each}"


def _rank_tables(service: InferenceService) -> str:
    found = condition(service.status.conditions, ConditionType.RANK_TABLE_READY)
    if service.spec.nodes == 1 or found is None or found.reason == Reason.PENDING:
        return ""
    return clean(found.message or found.reason)


def _rollout(service: InferenceService, now: datetime) -> str:
    """Return how far the version is that is to take over: what was done, and since when it goes on."""
    candidate = service.status.candidate
    if candidate is None:
        return ""
    found = condition(service.status.conditions, ConditionType.PROGRESSING)
    stage = clean(found.reason) if found is not None and found.status is ConditionStatus.TRUE else ""
    done = ", ".join(word for word, moment in _milestones(candidate) if moment)
    since = ago(candidate.start_time or candidate.created_time, now)
    return "   ".join(part for part in (stage, done, f"began {since}") if part)


def _milestones(candidate: RevisionStatus) -> tuple[tuple[str, bool], ...]:
    return (
        ("inspected", candidate.inspected is not None),
        ("answered", candidate.answered_time is not None),
        ("passed its gate", candidate.gate_time is not None),
    )


def _probe(service: InferenceService, now: datetime) -> str:
    probe = service.status.probe
    if probe is None:
        return ""
    when = ago(probe.time, now)
    if not probe.answered:
        return f"no answer, {probe.failures} in a row, {when}: {clean(probe.message)}"
    return "   ".join(p for p in (speed(probe.first_token_milliseconds, probe.tokens_per_second), when) if p)


def _load(service: InferenceService) -> str:
    load = service.status.load
    if load is None:
        return ""
    use = f"KV cache {load.kv_cache_usage:.0%}"
    return f"{load.requests_running:g} running, {load.requests_waiting:g} waiting, {use}"


def _canary(canary: CanaryStatus) -> str:
    return f"{canary.weight} %: {_traffic(canary.canary)}   first version: {_traffic(canary.stable)}"


def _traffic(version: VersionTraffic) -> str:
    mean = f", mean {version.average_milliseconds:,.0f} ms" if version.average_milliseconds is not None else ""
    return f"{version.requests:,} requests, {version.errors:,} errors{mean}"


def _given_up(service: InferenceService) -> bool:
    """Say whether what the spec asks for was tried and given up, whatever serves meanwhile."""
    found = condition(service.status.conditions, ConditionType.PROGRESSING)
    return found is not None and found.reason == Reason.ROLLOUT_FAILED


def _failed(service: InferenceService) -> str:
    failed = service.status.failed_revision
    return f"revision {failed.number}, {clean(failed.reason)}: {clean(failed.message)}" if failed else ""
