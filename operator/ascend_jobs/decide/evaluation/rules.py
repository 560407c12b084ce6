"""The planner of EvaluationJobs: wait for the target, run, tell the result, wait for the next trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

from ascend_jobs import names
from ascend_jobs.api.conditions import (
    ConditionStatus,
    ConditionType,
    Reason,
    condition,
    is_true,
)
from ascend_jobs.api.evaluationjob import Change, EvaluationJob, SuiteType, Target
from ascend_jobs.api.evaluationjob_status import EvaluationJobStatus, EvaluationProgress, Run
from ascend_jobs.api.inferenceservice import Schedule
from ascend_jobs.decide.decision import LONGEST_MESSAGE, Verdict, laid
from ascend_jobs.decide.evaluation.observed import EvaluationObserved
from ascend_jobs.decide.evaluation.result import remembered, result_of
from ascend_jobs.decide.failure import Failure, pod_failure
from ascend_jobs.decide.inference.scaling import schedule_problem
from ascend_jobs.decide.observed import PodPhase, PodView
from ascend_jobs.decide.plan import Action, Create, Delete, DeleteJob, Event, Kind, Plan
from ascend_jobs.decide.words import last_words
from ascend_jobs.desired.evaluation import Asked, evaluate_pod, evaluated_digest
from ascend_jobs.desired.pods import PodSettings
from ascend_jobs.errors import JobError, SpecInvalid, Waiting

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_RETRY_SECONDS = 60.0
_FIRST_DELAY, _LONGEST_DELAY = 10.0, 360.0
"""Seconds before another try of a run, doubled each time: as the Job controller does."""


class Phase(StrEnum):
    """One word for people."""

    PENDING = "Pending"
    RUNNING = "Running"
    WAITING = "Waiting"
    SUSPENDED = "Suspended"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True)
class Decision:
    """Where the job stands and what is done about it."""

    status: EvaluationJobStatus
    phase: Phase
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    follow: tuple[str, str] | None = None
    verdicts: Mapping[ConditionType, Verdict] = field(default_factory=dict)


def plan(observed: EvaluationObserved) -> Plan:
    """Return what this pass does; for a job that is being deleted nothing, its children go with it."""
    if observed.job.metadata.deletion_timestamp is not None:
        return Plan()
    return _planned(observed, _decide(observed))


def problem(observed: EvaluationObserved, error: JobError, decided: Plan) -> Plan:
    """Return the plan after `error` was raised while observing or acting: the same, with the status telling it."""
    if isinstance(error, Waiting):
        return replace(decided, requeue_after=error.retry_after)
    return _planned(observed, _stalled(observed.job.status, error.reason, error.message, error.retry_after))


def unreadable(
    metadata: Mapping[str, Any], status: Mapping[str, Any], error: SpecInvalid, now: datetime
) -> Mapping[str, Any]:
    """Return the status of a job whose spec cannot be read: Stalled, with the field path."""
    job = EvaluationJob.without_spec({"metadata": dict(metadata), "status": dict(status)})
    decision = _stalled(job.status, Reason.SPEC_INVALID, error.message, None)
    return status_of(EvaluationObserved(job=job, now=now), decision).wire()


def _decide(observed: EvaluationObserved) -> Decision:
    for rule in (_decide_suspend, _decide_validity, _decide_run):
        decision = rule(observed)
        if decision is not None:
            return decision
    return _decide_next(observed)


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
            return _stalled(status, Reason.SPEC_INVALID, f"spec.triggers.{path}: {text}", None)
    if not (spec.runtime.image or observed.defaults.prepare_image or observed.defaults.image):
        message = "spec.runtime.image: no image is named, and the installation has no default (values images.prepare)"
        return _stalled(status, Reason.SPEC_INVALID, message, None)
    for number, suite in enumerate(spec.suites):
        if suite.kind is SuiteType.COMMAND and not suite.image:
            return _stalled(status, Reason.SPEC_INVALID, f"spec.suites[{number}].image: type command needs it", None)
    if observed.missing_claims:
        missing = ", ".join(observed.missing_claims)
        message = f"PersistentVolumeClaim {missing} is not in namespace {observed.job.metadata.namespace}; create it"
        return _stalled(status, Reason.MISSING_CLAIM, message, _RETRY_SECONDS)
    return None


def _decide_run(observed: EvaluationObserved) -> Decision | None:
    """Bring the run that is under way a step on; None when there is none."""
    status, run = observed.job.status, observed.job.status.run
    if run.number == 0 or run.completion_time is not None:
        return None
    pod = observed.pod_of_run()
    if pod is None:
        if run.pod_seen:
            name = names.evaluate_name(observed.job.base, run.number, run.try_number)
            return _failed(observed, Failure(Reason.POD_LOST, f"{name} is gone", platform=True))
        return _start(observed)
    if pod.phase is PodPhase.SUCCEEDED:
        return _succeeded(observed, pod)
    failure = pod_failure(pod, frozenset(node.name for node in observed.nodes if not node.ready))
    if failure is not None:
        return _failed(observed, failure)
    seen = status.evolve(run=run.evolve(pod_seen=True), progress=_progress(observed))
    follow = (pod.name, names.CONTAINER_EVALUATE) if _runs(pod) else None
    return Decision(seen, Phase.RUNNING, Reason.EVALUATING, _words(seen, pod), follow=follow)


def _start(observed: EvaluationObserved) -> Decision:
    """Make the pod once the target answers and the delay after a failure is over."""
    status = observed.job.status
    target, waits = _asked(observed, observed.job.spec.target, "spec.target")
    baseline, waits_too = None, None
    if observed.job.spec.baseline is not None:
        baseline, waits_too = _asked(observed, observed.job.spec.baseline, "spec.baseline")
    if target is None or waits_too:
        return Decision(status, Phase.PENDING, Reason.WAITING_FOR_SERVICE, waits or waits_too or "")
    left = _delay_left(observed)
    if left > 0:
        return Decision(status, Phase.RUNNING, Reason.EVALUATING, status.message, requeue_after=left)
    made = evaluate_pod(observed.job, target, baseline, status.result, _settings(observed))
    earlier = tuple(Delete(Kind.POD, p.name, p.uid) for p in observed.pods if not p.finished and not p.deleting)
    seen = status.evolve(run=status.run.evolve(target_revision=target.revision), progress=None)
    return Decision(
        seen, Phase.RUNNING, Reason.EVALUATING, "makes the pod that asks", (*earlier, Create(Kind.POD, made))
    )


def _decide_next(observed: EvaluationObserved) -> Decision:
    """Start the next run when there is a reason to; else say how the last one ended and wait."""
    status, job = observed.job.status, observed.job
    trigger = _trigger(observed)
    if trigger is not None:
        _, waits = _asked(observed, job.spec.target, "spec.target")
        if waits:
            return Decision(status, Phase.PENDING, Reason.WAITING_FOR_SERVICE, waits)
        run = Run(
            number=status.run.number + 1,
            trigger=trigger,
            spec_sha256=evaluated_digest(job),
            target_revision=_revision(observed),
            start_time=observed.now,
        )
        event = Event(Reason.EVALUATING, f"run {run.number} starts ({trigger})")
        begun = status.evolve(run=run, completion_time=None)
        return Decision(begun, Phase.RUNNING, Reason.EVALUATING, event.message, events=(event,), requeue_after=0.0)
    return _ended(observed)


def _ended(observed: EvaluationObserved) -> Decision:
    status, job = observed.job.status, observed.job
    failed = status.result is None or status.result.run != status.run.number
    words = (status.run.message or status.message) if failed else _result_words(status)
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
    revision = _revision(observed)
    if Change.TARGET in changes and revision and revision != run.target_revision and _is_settled(observed):
        return "TargetChanged"
    if job.spec.triggers.schedule and run.start_time is not None:
        zone = ZoneInfo(job.spec.triggers.time_zone)
        moment = next(CronSim(job.spec.triggers.schedule, run.start_time.astimezone(zone)), None)
        if moment is not None and moment <= observed.now:
            return "Schedule"
    return None


def _seconds_to_schedule(observed: EvaluationObserved) -> float | None:
    triggers = observed.job.spec.triggers
    if not triggers.schedule:
        return None
    moment = next(CronSim(triggers.schedule, observed.now.astimezone(ZoneInfo(triggers.time_zone))), None)
    return (moment - observed.now).total_seconds() + 1.0 if moment is not None else None


def _succeeded(observed: EvaluationObserved, pod: PodView) -> Decision:
    status = observed.job.status
    words = last_words(pod.container(names.CONTAINER_EVALUATE))
    wanted = [criterion.metric for criterion in observed.job.spec.acceptance]
    result = result_of(words, status.run.number, observed.now, wanted)
    done = remembered(status, result).evolve(
        run=status.run.evolve(completion_time=observed.now), progress=None, completion_time=observed.now
    )
    message = _result_words(done)
    rejected = result.accepted is False
    event = Event(Reason.NOT_ACCEPTED if rejected else Reason.EVALUATED, message, warning=rejected)
    outdated = status.run.spec_sha256 != evaluated_digest(observed.job)
    phase = Phase.WAITING if observed.job.repeats else Phase.PENDING if outdated else Phase.COMPLETE
    return Decision(done, phase, Reason.EVALUATED, message, events=(event,), requeue_after=0.0)


def _failed(observed: EvaluationObserved, failure: Failure) -> Decision:
    status, run = observed.job.status, observed.job.status.run
    if failure.fatal or run.failures >= observed.job.spec.backoff_limit:
        reason = failure.reason if failure.fatal else Reason.BACKOFF_LIMIT_EXCEEDED
        told = {"reason": str(reason)[:128], "message": failure.message[:LONGEST_MESSAGE]}
        ended = run.evolve(completion_time=observed.now, failures=run.failures + 1, **told)
        done = status.evolve(run=ended, progress=None, completion_time=observed.now)
        event = Event(reason, failure.message, warning=True)
        phase = Phase.WAITING if observed.job.repeats else Phase.FAILED
        return Decision(done, phase, reason, failure.message, events=(event,), requeue_after=0.0)
    again = status.evolve(
        run=run.evolve(try_number=run.try_number + 1, failures=run.failures + 1, pod_seen=False),
        progress=None,
        message=failure.message[:LONGEST_MESSAGE],
    )
    event = Event(failure.reason, f"run {run.number}, failure {run.failures + 1}: {failure.message}", warning=True)
    return Decision(again, Phase.RUNNING, Reason.EVALUATING, failure.message, events=(event,), requeue_after=0.0)


def _asked(observed: EvaluationObserved, target: Target, path: str) -> tuple[Asked | None, str | None]:
    """Return whom to ask, or what has to be waited for."""
    if target.url is not None:
        url, model = target.url.rstrip("/"), target.model or ""
        return Asked(name=url, url=url, model=model), None
    service = observed.targets.get(target.service or "")
    if service is None or not service.found:
        return None, f"{path}.service: waits for InferenceService {target.service}, which is not there yet"
    if not service.ready:
        return None, f"{path}.service: waits for InferenceService {target.service}: {service.message}"
    return (
        Asked(
            name=service.name,
            url=service.url,
            model=target.model or service.model,
            engine=service.engine,
            revision=service.revision,
            keys_secret=service.keys_secret,
        ),
        None,
    )


def _revision(observed: EvaluationObserved) -> str:
    service = observed.targets.get(observed.job.spec.target.service or "")
    return service.revision if service is not None else ""


def _is_settled(observed: EvaluationObserved) -> bool:
    service = observed.targets.get(observed.job.spec.target.service or "")
    return service is not None and service.settled and service.ready


def _delay_left(observed: EvaluationObserved) -> float:
    run, pods = observed.job.status.run, observed.pods
    if run.failures == 0:
        return 0.0
    ends = [c.ended for p in pods for c in p.containers if c.ended and p.role == names.ROLE_EVALUATE]
    if not ends:
        return 0.0
    delay = min(_FIRST_DELAY * 2 ** min(run.failures - 1, 10), _LONGEST_DELAY)
    return max(0.0, (max(ends) + timedelta(seconds=delay) - observed.now).total_seconds())


def _old_pods(observed: EvaluationObserved) -> tuple[Action, ...]:
    """Return the removal of pods of earlier runs; the last one stays, for its log."""
    last = observed.pod_of_run()
    return tuple(
        Delete(Kind.POD, p.name, p.uid) for p in observed.pods if not p.deleting and (last is None or p.uid != last.uid)
    )


def _progress(observed: EvaluationObserved) -> EvaluationProgress | None:
    told = observed.progress.progress
    old = observed.job.status.progress
    if told is None or "done" not in told:
        return old
    done, total, suite = told.get("done"), told.get("total"), told.get("suite")
    new = EvaluationProgress(
        suite=str(suite or ""),
        done=done if isinstance(done, int) else 0,
        total=total if isinstance(total, int) else 0,
        updated_time=observed.now,
    )
    same = old is not None and (old.suite, old.done, old.total) == (new.suite, new.done, new.total)
    return old if same else new


def _settings(observed: EvaluationObserved) -> PodSettings:
    defaults = observed.defaults
    return PodSettings(
        image=defaults.image,
        prepare_image=_image(observed),
        pull_policy=defaults.pull_policy,
        pull_secrets=defaults.pull_secrets,
        resource="",
        share={},
    )


def _image(observed: EvaluationObserved) -> str:
    """Return the CPU image; the runtime's where questions are files in it."""
    spec = observed.job.spec
    uris = (*(s.uri or "" for s in spec.suites), spec.performance.uri if spec.performance else "")
    in_image = any(uri.startswith("file://") for uri in uris)
    return observed.defaults.image if in_image and observed.defaults.image else observed.defaults.prepare_image


def _words(status: EvaluationJobStatus, pod: PodView) -> str:
    if status.progress is not None:
        return f"run {status.run.number}: {status.progress.suite} {status.progress.done}/{status.progress.total}"
    for container in pod.containers:
        if container.waiting_reason not in ("", "PodInitializing", "ContainerCreating"):
            return f"{pod.name}: {container.waiting_reason} {container.waiting_message}".strip()
    if not pod.node:
        return f"{pod.name}: {pod.scheduling_message or 'waits for a node'}"
    return f"run {status.run.number} asks" if _runs(pod) else f"{pod.name} starts"


def _result_words(status: EvaluationJobStatus) -> str:
    result = status.result
    if result is None:
        return ""
    parts = [f"{m.name} {m.value:.4g}" for m in result.metrics[:3]]
    parts += [f"not accepted: {c.message or c.metric}" for c in result.criteria if not c.accepted][:2]
    if result.verdict:
        parts.append(f"against the baseline: {result.verdict}")
    if result.requests.failed:
        parts.append(f"{result.requests.failed} of {result.requests.total} requests failed")
    return "; ".join(parts) or f"run {result.run} is complete"


def _runs(pod: PodView) -> bool:
    container = pod.container(names.CONTAINER_EVALUATE)
    return container is not None and container.running


def _failed_reason(status: EvaluationJobStatus) -> str:
    if status.run.reason:
        return status.run.reason
    found = condition(status.conditions, ConditionType.FAILED)
    return found.reason if found is not None and found.status is _TRUE else Reason.BACKOFF_LIMIT_EXCEEDED


def _ttl_left(observed: EvaluationObserved) -> float | None:
    ttl, done = observed.job.spec.ttl_seconds_after_finished, observed.job.status.completion_time
    if ttl is None or done is None:
        return None
    return (done + timedelta(seconds=ttl) - observed.now).total_seconds()


def _is_tracked(job: EvaluationJob) -> bool:
    return any(key in job.metadata.labels or key in job.metadata.annotations for key in names.GITOPS_TRACKING)


def _stalled(status: EvaluationJobStatus, reason: Reason | str, message: str, retry_after: float | None) -> Decision:
    return Decision(status, Phase.STALLED, str(reason), message, requeue_after=retry_after)


def status_of(observed: EvaluationObserved, decision: Decision) -> EvaluationJobStatus:
    """Return the whole status: every condition is there from the first write on, Unknown where unknown."""
    job, conditions = observed.job, decision.status.conditions
    conditions = laid(conditions, _verdicts(decision), job.metadata, observed.now)
    return decision.status.evolve(
        observed_generation=job.metadata.generation,
        phase=decision.phase.value,
        message=decision.message[:LONGEST_MESSAGE],
        conditions=conditions,
        accepted=_accepted(decision.status).status.value,
        start_time=decision.status.start_time or observed.now,
    )


def _verdicts(decision: Decision) -> dict[ConditionType, Verdict]:
    phase, reason, message = decision.phase, decision.reason, decision.message
    here = Verdict(_TRUE, reason, message)
    done, dead, rests = phase is Phase.COMPLETE, phase is Phase.FAILED, phase is Phase.WAITING
    held = phase in (Phase.STALLED, Phase.SUSPENDED)
    return {
        ConditionType.READY: here if done or rests else Verdict(_FALSE, reason, message),
        ConditionType.RECONCILING: Verdict(_FALSE if done or dead or held or rests else _TRUE, reason, message),
        ConditionType.STALLED: here if phase is Phase.STALLED or dead else Verdict(_FALSE, Reason.NOT_STALLED),
        ConditionType.RUNNING: here if phase is Phase.RUNNING else Verdict(_FALSE, reason),
        ConditionType.COMPLETE: here if done else Verdict(_FALSE, reason),
        ConditionType.FAILED: here if dead else Verdict(_FALSE, Reason.NOT_FAILED),
        ConditionType.SUSPENDED: here if phase is Phase.SUSPENDED else Verdict(_FALSE, Reason.NOT_SUSPENDED),
        ConditionType.ACCEPTED: _accepted(decision.status),
        **decision.verdicts,
    }


def _accepted(status: EvaluationJobStatus) -> Verdict:
    """Tell what the last complete run says; while another one runs, that still stands."""
    result = status.result
    if result is None:
        return Verdict(_UNKNOWN, Reason.PENDING)
    if result.accepted is None:
        return Verdict(_UNKNOWN, Reason.NO_CRITERIA, "spec.acceptance is empty")
    lacking = "; ".join(c.message or c.metric for c in result.criteria if not c.accepted)
    if result.accepted:
        return Verdict(_TRUE, Reason.ACCEPTED, f"run {result.run}: every criterion holds")
    return Verdict(_FALSE, Reason.NOT_ACCEPTED, f"run {result.run}: {lacking}")


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
