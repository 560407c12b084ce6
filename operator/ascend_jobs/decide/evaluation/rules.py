"""The planner of EvaluationJobs: wait for the target, run, tell the result, wait for the next trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ascend_jobs.api.conditions import (
    ConditionType,
    Reason,
    is_true,
)
from ascend_jobs.api.evaluationjob import EvaluationJob, SuiteType
from ascend_jobs.api.inferenceservice import Schedule
from ascend_jobs.decide.decision import LONGEST_MESSAGE
from ascend_jobs.decide.evaluation.decision import Decision, Phase, stalled
from ascend_jobs.decide.evaluation.next import decide_next
from ascend_jobs.decide.evaluation.observed import EvaluationObserved
from ascend_jobs.decide.evaluation.run import decide_run
from ascend_jobs.decide.evaluation.status import status_of
from ascend_jobs.decide.inference.scaling import schedule_problem
from ascend_jobs.decide.plan import Delete, Event, Kind, Plan
from ascend_jobs.decide.template import template_problems
from ascend_jobs.decide.words import cleaned_text
from ascend_jobs.errors import JobError, SpecInvalid, Waiting

_RETRY_SECONDS = 60.0


def plan(observed: EvaluationObserved) -> Plan:
    """Return what this pass does; for a job that is being deleted nothing, its children go with it."""
    if observed.job.metadata.deletion_timestamp is not None:
        return Plan()
    return _planned(observed, _decide(observed))


def problem(observed: EvaluationObserved, error: JobError, decided: Plan) -> Plan:
    """Return the plan after `error` was raised while observing or acting: the same, with the status telling it."""
    if isinstance(error, Waiting):
        return replace(decided, requeue_after=error.retry_after)
    return _planned(observed, stalled(observed.job.status, error.reason, error.message, error.retry_after))


def unreadable(
    metadata: Mapping[str, Any], status: Mapping[str, Any], error: SpecInvalid, now: datetime
) -> Mapping[str, Any]:
    """Return the status of a job whose spec cannot be read: Stalled, with the field path."""
    job = EvaluationJob.without_spec({"metadata": dict(metadata), "status": dict(status)})
    decision = stalled(job.status, Reason.SPEC_INVALID, error.message, None)
    return status_of(EvaluationObserved(job=job, now=now), decision).wire()


def _decide(observed: EvaluationObserved) -> Decision:
    for rule in (_decide_suspend, _decide_validity, decide_run):
        decision = rule(observed)
        if decision is not None:
            return decision
    return decide_next(observed)


def _decide_suspend(observed: EvaluationObserved) -> Decision | None:
    if not observed.job.spec.suspend:
        return None
    status = observed.job.status
    run = status.run
    if run.number and run.completion_time is None and (run.pod_seen or observed.pod_of_run() is not None):
        again = status.evolve(run=run.evolve(try_number=run.try_number + 1, pod_seen=False))
        return Decision(again, Phase.SUSPENDED, Reason.SUSPENDED, "spec.suspend is true", requeue_after=0.0)
    doomed = tuple(Delete(Kind.POD, p.name, p.uid) for p in observed.pods if not p.finished and not p.deleting)
    return Decision(status, Phase.SUSPENDED, Reason.SUSPENDED, "spec.suspend is true", doomed)


def _decide_validity(observed: EvaluationObserved) -> Decision | None:
    """Stall on what only a new spec mends; claims may still come."""
    spec, status = observed.job.spec, observed.job.status
    triggers = spec.triggers
    if triggers.schedule:
        wrong = schedule_problem(Schedule(cron=triggers.schedule, time_zone=triggers.time_zone, min_replicas=0))
        if wrong:
            name, text = wrong.split(": ", 1)
            path = "schedule" if name == "cron" else "timeZone"
            return stalled(status, Reason.SPEC_INVALID, f"spec.triggers.{path}: {text}", None)
    if not (spec.runtime.image or observed.defaults.prepare_image or observed.defaults.image):
        message = "spec.runtime.image: no image is named, and the installation has no default (values images.prepare)"
        return stalled(status, Reason.SPEC_INVALID, message, None)
    for path, text in template_problems(spec.runtime.pod_template):
        return stalled(status, Reason.SPEC_INVALID, cleaned_text(f"{path}: {text}"), None)
    for number, suite in enumerate(spec.suites):
        if suite.kind is SuiteType.COMMAND and not suite.image:
            return stalled(status, Reason.SPEC_INVALID, f"spec.suites[{number}].image: type command needs it", None)
    if observed.missing_claims:
        missing = ", ".join(observed.missing_claims)
        message = f"PersistentVolumeClaim {missing} is not in namespace {observed.job.metadata.namespace}; create it"
        return stalled(status, Reason.MISSING_CLAIM, message, _RETRY_SECONDS)
    return None


def _planned(observed: EvaluationObserved, decision: Decision) -> Plan:
    old = observed.job.status
    events = decision.events
    news = old.phase != decision.phase or old.message != decision.message[:LONGEST_MESSAGE]
    if decision.phase is Phase.STALLED and news:
        events = (*events, Event(decision.reason, decision.message, warning=True))
    waiting = decision.reason == Reason.WAITING_FOR_SERVICE
    if waiting and not is_true(old.conditions, ConditionType.RECONCILING):
        events = (*events, Event(decision.reason, decision.message))
    return Plan(
        actions=decision.actions,
        status=status_of(observed, decision).wire(),
        events=events,
        requeue_after=decision.requeue_after,
        follow=decision.follow,
    )
