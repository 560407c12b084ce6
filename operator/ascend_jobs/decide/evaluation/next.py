"""Between runs: what starts the next one, how the last one ended, when a finished job goes."""

from __future__ import annotations

from datetime import timedelta

from ascend_jobs import names
from ascend_jobs.api.conditions import (
    ConditionStatus,
    ConditionType,
    Reason,
    condition,
)
from ascend_jobs.api.evaluationjob import Change, EvaluationJob
from ascend_jobs.api.evaluationjob_status import EvaluationJobStatus, Run
from ascend_jobs.decide.cron import next_moment
from ascend_jobs.decide.evaluation.decision import Decision, Phase
from ascend_jobs.decide.evaluation.observed import EvaluationObserved
from ascend_jobs.decide.evaluation.result import result_words
from ascend_jobs.decide.evaluation.target import find_asked, is_settled, revision_of_target
from ascend_jobs.decide.plan import Action, Delete, DeleteJob, Event, Kind
from ascend_jobs.desired.evaluation import evaluated_digest


def decide_next(observed: EvaluationObserved) -> Decision:
    """Start the next run when there is a reason to; else say how the last one ended and wait."""
    status, job = observed.job.status, observed.job
    trigger = _trigger(observed)
    if trigger is not None:
        _, waits = find_asked(observed, job.spec.target, "spec.target")
        if waits:
            return Decision(status, Phase.PENDING, Reason.WAITING_FOR_SERVICE, waits)
        run = Run(
            number=status.run.number + 1,
            trigger=trigger,
            spec_sha256=evaluated_digest(job),
            target_revision=revision_of_target(observed),
            start_time=observed.now,
        )
        event = Event(Reason.EVALUATING, f"run {run.number} starts ({trigger})")
        begun = status.evolve(run=run, completion_time=None)
        return Decision(begun, Phase.RUNNING, Reason.EVALUATING, event.message, events=(event,), requeue_after=0.0)
    return _ended(observed)


def _ended(observed: EvaluationObserved) -> Decision:
    status, job = observed.job.status, observed.job
    failed = status.result is None or status.result.run != status.run.number
    words = (status.run.message or status.message) if failed else result_words(status)
    leftovers = _old_pods(observed)
    if job.repeats:
        reason = Reason.WAITING_FOR_TRIGGER
        return Decision(status, Phase.WAITING, reason, words, leftovers, requeue_after=_seconds_to_schedule(observed))
    phase = Phase.FAILED if failed else Phase.COMPLETE
    reason_word = _failed_reason(status) if failed else Reason.EVALUATED
    left = _ttl_left(observed)
    if left is not None and left <= 0 and not _is_tracked(job):
        return Decision(status, phase, reason_word, words, (DeleteJob(),))
    return Decision(status, phase, reason_word, words, leftovers, requeue_after=left)


def _trigger(observed: EvaluationObserved) -> str | None:
    """Return why another run is due, None when none is."""
    job, run = observed.job, observed.job.status.run
    if run.number == 0:
        return "First"
    changes = job.spec.triggers.on_change
    if run.spec_sha256 != evaluated_digest(job) and (not job.repeats or Change.SUITES in changes):
        return "SpecChanged"
    revision = revision_of_target(observed)
    if Change.TARGET in changes and revision and revision != run.target_revision and is_settled(observed):
        return "TargetChanged"
    if job.spec.triggers.schedule and run.start_time is not None:
        moment = next_moment(job.spec.triggers.schedule, job.spec.triggers.time_zone, run.start_time)
        if moment is not None and moment <= observed.now:
            return "Schedule"
    return None


def _seconds_to_schedule(observed: EvaluationObserved) -> float | None:
    triggers = observed.job.spec.triggers
    if not triggers.schedule:
        return None
    moment = next_moment(triggers.schedule, triggers.time_zone, observed.now)
    return (moment - observed.now).total_seconds() + 1.0 if moment is not None else None


def _old_pods(observed: EvaluationObserved) -> tuple[Action, ...]:
    """Return the removal of pods of earlier runs; the last one stays, for its log."""
    last = observed.pod_of_run()
    return tuple(
        Delete(Kind.POD, p.name, p.uid) for p in observed.pods if not p.deleting and (last is None or p.uid != last.uid)
    )


def _failed_reason(status: EvaluationJobStatus) -> str:
    if status.run.reason:
        return status.run.reason
    found = condition(status.conditions, ConditionType.FAILED)
    return found.reason if found is not None and found.status is ConditionStatus.TRUE else Reason.BACKOFF_LIMIT_EXCEEDED


def _ttl_left(observed: EvaluationObserved) -> float | None:
    ttl, done = observed.job.spec.ttl_seconds_after_finished, observed.job.status.completion_time
    if ttl is None or done is None:
        return None
    return (done + timedelta(seconds=ttl) - observed.now).total_seconds()


def _is_tracked(job: EvaluationJob) -> bool:
    return any(key in job.metadata.labels or key in job.metadata.annotations for key in names.GITOPS_TRACKING)
