"""The planner of InferenceServices: the only place that combines decisions, and the table of contents of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionType, Reason, is_true
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.decide.inference.decision import Phase, ServiceDecision, stalled
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.profile import engine_of
from ascend_jobs.decide.inference.proxies import suspended_proxy
from ascend_jobs.decide.inference.scaling import decide_scaling
from ascend_jobs.decide.inference.serving import decide_serving, freeze
from ascend_jobs.decide.inference.sources import NoSource, find_source
from ascend_jobs.decide.inference.status import status_of
from ascend_jobs.decide.inference.validate import spec_problems
from ascend_jobs.decide.inference.workloads import workload_actions
from ascend_jobs.decide.plan import Event, Plan
from ascend_jobs.decide.words import cleaned_text
from ascend_jobs.desired.engines.engine import engine_problems
from ascend_jobs.desired.inference.pods import engine_input
from ascend_jobs.desired.inference.source import input_digest
from ascend_jobs.domain.accelerators import allowed_counts, families_of
from ascend_jobs.errors import JobError, SpecInvalid, Waiting

_RETRY_SECONDS = 60.0


def plan(observed: ServiceObserved) -> Plan:
    """Return what this pass does; for a service that is being deleted nothing, its children go with it."""
    if observed.service.metadata.deletion_timestamp is not None:
        return Plan()
    return _planned(observed, _decide(observed))


def problem(observed: ServiceObserved, error: JobError, decided: Plan) -> Plan:
    """Return the plan after `error` was raised while observing or acting: the same, with the status telling it."""
    if isinstance(error, Waiting):
        return replace(decided, requeue_after=error.retry_after)
    decision = stalled(observed.service.status, error.reason, error.message, error.retry_after)
    frozen = replace(freeze(observed, decision), actions=())
    return replace(_planned(observed, frozen), probes=decided.probes, scrapes=decided.scrapes)


def unreadable(
    metadata: Mapping[str, Any], status: Mapping[str, Any], error: SpecInvalid, now: datetime
) -> Mapping[str, Any]:
    """Return the status of a service whose spec cannot be read: Stalled, with the field path."""
    service = InferenceService.without_spec({"metadata": dict(metadata), "status": dict(status)})
    observed = ServiceObserved(service=service, now=now)
    return status_of(observed, stalled(service.status, Reason.SPEC_INVALID, error.message, None)).wire()


def _decide(observed: ServiceObserved) -> ServiceDecision:
    suspended, wrong = _suspended(observed), _stalled(observed)
    return suspended or (freeze(observed, wrong) if wrong is not None else decide_serving(observed))


def _suspended(observed: ServiceObserved) -> ServiceDecision | None:
    if not observed.service.spec.suspend:
        return None
    status = observed.service.status
    left = status.evolve(candidate=None, load=None, scaling=decide_scaling(observed, None)[0].evolve(desired=0))
    wanted = {status.revision.number: 0} if status.revision is not None else {}
    actions = (*workload_actions(observed, left, wanted), *suspended_proxy(observed))
    return ServiceDecision(left, Phase.SUSPENDED, Reason.SUSPENDED, "spec.suspend is true: no pods are kept", actions)


def _stalled(observed: ServiceObserved) -> ServiceDecision | None:
    """Stall before any pod is made; what runs already goes on."""
    service, status = observed.service, observed.service.status
    problems = spec_problems(service, observed.defaults, engine_of(observed)) or _engine_problems(observed)
    if problems:
        message = "; ".join(f"{path}: {text}" for path, text in problems[:5])
        return stalled(status, Reason.SPEC_INVALID, cleaned_text(message), None)
    known = families_of(node.labels for node in observed.nodes)
    allowed, count = allowed_counts(known), service.spec.npus_per_node
    if count not in allowed:
        numbers = ", ".join(str(n) for n in sorted(allowed))
        message = (
            f"spec.npusPerNode: {count} is not allowed on {', '.join(f.name for f in known)}; take one of {numbers}"
        )
        return stalled(status, Reason.NPU_COUNT_NOT_ALLOWED, message, _RETRY_SECONDS)
    if observed.missing_claims and status.revision is None:
        missing = ", ".join(observed.missing_claims)
        message = f"PersistentVolumeClaim {missing} is not in namespace {service.metadata.namespace}; create it"
        return stalled(status, Reason.MISSING_CLAIM, message, _RETRY_SECONDS)
    return None


def _engine_problems(observed: ServiceObserved) -> tuple[tuple[str, str], ...]:
    """Return what the engine does not take; of a version that serves already nothing: an upgrade may know more."""
    source, serving = find_source(observed), observed.service.status.revision
    if isinstance(source, NoSource):
        return ()
    if serving is not None and serving.input_sha256 == input_digest(observed.service, source, names.TRACK_STABLE):
        return ()
    given = engine_input(observed.service, source, engine_of(observed), revision=1, track="stable")
    return engine_problems(given)


def _planned(observed: ServiceObserved, decision: ServiceDecision) -> Plan:
    return Plan(
        actions=decision.actions,
        status=status_of(observed, decision).wire(),
        events=(*decision.events, *_announced(observed, decision)),
        requeue_after=decision.requeue_after,
        probes=decision.probes,
        scrapes=decision.scrapes,
    )


def _announced(observed: ServiceObserved, decision: ServiceDecision) -> tuple[Event, ...]:
    """Return the events of a change that no rule has announced itself."""
    old = observed.service.status
    changed = old.phase != decision.phase
    if decision.phase is Phase.STALLED and (changed or old.message != decision.message[:1024]):
        return (Event(decision.reason, decision.message, warning=True),)
    if not changed:
        return ()
    if decision.phase is Phase.READY:
        return (Event(Reason.ANSWERED, decision.message),)
    if decision.phase is Phase.DEGRADED:
        return (Event(decision.reason, decision.message, warning=True),)
    if decision.phase in (Phase.SUSPENDED, Phase.PENDING, Phase.SCALED_TO_ZERO):
        return (Event(decision.reason, decision.message),)
    was_ready = is_true(old.conditions, ConditionType.READY)
    return (Event(decision.reason, decision.message),) if was_ready or old.phase == Phase.PENDING else ()
