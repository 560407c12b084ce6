"""The run that is under way: its pod, its tries, its end."""

from __future__ import annotations

from datetime import timedelta

from ascend_jobs import names
from ascend_jobs.api.conditions import (
    Reason,
)
from ascend_jobs.api.evaluationjob_status import EvaluationJobStatus, EvaluationProgress, Run
from ascend_jobs.decide.decision import LONGEST_MESSAGE
from ascend_jobs.decide.evaluation.decision import Decision, Phase
from ascend_jobs.decide.evaluation.observed import EvaluationObserved
from ascend_jobs.decide.evaluation.result import remembered, result_of, result_words
from ascend_jobs.decide.evaluation.target import find_asked
from ascend_jobs.decide.failure import Failure, pod_failure
from ascend_jobs.decide.observed import PodPhase, PodView
from ascend_jobs.decide.plan import Create, Delete, Event, Kind
from ascend_jobs.decide.words import last_words
from ascend_jobs.desired.evaluation import evaluate_pod, evaluated_digest
from ascend_jobs.desired.pods import PodSettings

_FIRST_DELAY, _LONGEST_DELAY = 10.0, 360.0
"""Seconds before another try of a run, doubled each time: as the Job controller does."""


def decide_run(observed: EvaluationObserved) -> Decision | None:
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
    target, waits = find_asked(observed, observed.job.spec.target, "spec.target")
    baseline, waits_too = None, None
    if observed.job.spec.baseline is not None:
        baseline, waits_too = find_asked(observed, observed.job.spec.baseline, "spec.baseline")
    if target is None or waits_too:
        return Decision(status, Phase.PENDING, Reason.WAITING_FOR_SERVICE, waits or waits_too or "")
    left = _delay_left(observed)
    if left > 0:
        return Decision(status, Phase.RUNNING, Reason.EVALUATING, status.message, requeue_after=left)
    made = evaluate_pod(observed.job, target, baseline, status.result, _settings(observed))
    earlier = tuple(Delete(Kind.POD, p.name, p.uid) for p in observed.pods if not _is_kept(p, status.run))
    seen = status.evolve(run=status.run.evolve(target_revision=target.revision), progress=None)
    return Decision(
        seen, Phase.RUNNING, Reason.EVALUATING, "makes the pod that asks", (*earlier, Create(Kind.POD, made))
    )


def _is_kept(pod: PodView, run: Run) -> bool:
    """Say whether a pod stays while the next one is made: the last that failed, for its log, and those on their way."""
    last_failed = pod.finished and pod.revision == run.number and pod.attempt >= run.try_number - 1
    return pod.deleting or last_failed


def _succeeded(observed: EvaluationObserved, pod: PodView) -> Decision:
    status = observed.job.status
    words = last_words(pod.container(names.CONTAINER_EVALUATE))
    wanted = [criterion.metric for criterion in observed.job.spec.acceptance]
    result = result_of(words, status.run.number, observed.now, wanted)
    done = remembered(status, result).evolve(
        run=status.run.evolve(completion_time=observed.now), progress=None, completion_time=observed.now
    )
    message = result_words(done)
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


def _delay_left(observed: EvaluationObserved) -> float:
    run, pods = observed.job.status.run, observed.pods
    if run.failures == 0:
        return 0.0
    ends = [c.ended for p in pods for c in p.containers if c.ended and p.role == names.ROLE_EVALUATE]
    if not ends:
        return 0.0
    delay = min(_FIRST_DELAY * 2 ** min(run.failures - 1, 10), _LONGEST_DELAY)
    return max(0.0, (max(ends) + timedelta(seconds=delay) - observed.now).total_seconds())


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


def _runs(pod: PodView) -> bool:
    container = pod.container(names.CONTAINER_EVALUATE)
    return container is not None and container.running
