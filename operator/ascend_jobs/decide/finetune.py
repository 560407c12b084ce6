"""The planner of FineTuneJobs: the only place that combines decisions, and the table of contents of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ascend_jobs.api.conditions import ConditionType, Reason, is_true
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.decide.attempt import decide_attempt_end, decide_attempt_run, decide_attempt_start
from ascend_jobs.decide.decision import Decision, Phase, stalled
from ascend_jobs.decide.end import decide_end
from ascend_jobs.decide.observed import Observed
from ascend_jobs.decide.plan import Event, Plan
from ascend_jobs.decide.prepare import decide_prepare
from ascend_jobs.decide.prerequisites import decide_prerequisites
from ascend_jobs.decide.status import status_of
from ascend_jobs.decide.suspend import decide_suspend
from ascend_jobs.errors import JobError, SpecInvalid, Waiting

RULES = (
    decide_end,  # Complete or Failed: clean up, wait for the TTL
    decide_suspend,  # spec.suspend: pods away
    decide_prerequisites,  # spec, claims, NPU count, output of its own
    decide_prepare,  # check and tokenise
    decide_attempt_end,  # a pod failed or was lost: next attempt, or the end
    decide_attempt_start,  # record what the attempt is made of
)
"""Tried in this order; the first that has something to say decides. decide_attempt_run is what is left."""


def plan(observed: Observed) -> Plan:
    """Return what this pass does; for a job that is being deleted nothing, its children go with it."""
    if observed.job.metadata.deletion_timestamp is not None:
        return Plan()
    return _planned(observed, _decide(observed))


def problem(observed: Observed, error: JobError, decided: Plan) -> Plan:
    """Return the plan after `error` was raised while observing or acting: the same, with the status telling it."""
    status = observed.job.status
    if isinstance(error, Waiting):
        return replace(decided, requeue_after=error.retry_after)
    decision = stalled(status, error.reason, error.message, error.retry_after)
    return _planned(observed, decision)


def unreadable(
    metadata: Mapping[str, Any], status: Mapping[str, Any], error: SpecInvalid, now: datetime
) -> Mapping[str, Any]:
    """Return the status of a job whose spec cannot be read: Stalled, with the field path."""
    job = FineTuneJob.without_spec({"metadata": dict(metadata), "status": dict(status)})
    if any(is_true(job.status.conditions, end) for end in (ConditionType.COMPLETE, ConditionType.FAILED)):
        return status
    observed = Observed(job=job, now=now)
    return status_of(observed, stalled(job.status, Reason.SPEC_INVALID, error.message, None)).wire()


def _decide(observed: Observed) -> Decision:
    for rule in RULES:
        decision = rule(observed)
        if decision is not None:
            return decision
    return decide_attempt_run(observed)


def _planned(observed: Observed, decision: Decision) -> Plan:
    status = status_of(observed, decision)
    return Plan(
        actions=decision.actions,
        status=status.wire(),
        events=(*decision.events, *_announced(observed, decision)),
        requeue_after=decision.requeue_after,
        follow=decision.follow,
    )


def _announced(observed: Observed, decision: Decision) -> tuple[Event, ...]:
    """Return the events of a change that no rule has announced itself."""
    old = observed.job.status
    if decision.phase is Phase.STALLED and (old.phase != Phase.STALLED or old.message != decision.message[:1024]):
        return (Event(decision.reason, decision.message, warning=True),)
    if decision.phase is Phase.RUNNING and not is_true(old.conditions, ConditionType.RUNNING):
        return (Event(Reason.TRAINING, f"all trainers of attempt {old.attempt.number} run"),)
    if decision.phase is Phase.SUSPENDED and old.phase != Phase.SUSPENDED:
        return (Event(Reason.SUSPENDED, decision.message),)
    if old.phase == Phase.SUSPENDED and decision.phase is not Phase.SUSPENDED:
        return (Event(Reason.RESUMED, f"goes on with attempt {decision.status.attempt.number}"),)
    if decision.phase is Phase.PREPARING and old.phase == Phase.PENDING:
        return (Event(Reason.PREPARING, "checks and tokenises the data"),)
    return ()
