"""The life of an attempt: recorded, started, watched, ended, followed by the next.

What cannot be undone is written to the status first: an attempt's number, that its template is recorded, that its pods
were all seen. The next pass acts on what the status says, so a crash in between changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionStatus, ConditionType, Reason, condition
from ascend_jobs.api.finetunejob_status import Attempt, FineTuneJobStatus
from ascend_jobs.decide.decision import Decision, Phase, Verdict
from ascend_jobs.decide.end import artifacts_of, complete, failed
from ascend_jobs.decide.failure import (
    Failure,
    cause_is_due,
    delay_left,
    limit_reached,
    pod_failure,
    restarts_after,
    unready_nodes,
    worst,
)
from ascend_jobs.decide.observed import Observed, PodPhase, PodView
from ascend_jobs.decide.plan import Action, Create, Delete, Event, Kind, Update
from ascend_jobs.decide.profile import pod_settings
from ascend_jobs.decide.ranktable import decide_rank_table
from ascend_jobs.decide.running import progress_end, progress_of, starting_words, trains
from ascend_jobs.decide.words import last_words
from ascend_jobs.desired.pods import worker_pod, worker_template
from ascend_jobs.desired.revision import attempt_revision, template_digest
from ascend_jobs.desired.service import master_selector, master_service

_OLD_POD_GRACE = 10
"""Seconds a pod of an ended attempt gets; its checkpoints are atomic, so nothing is lost by less."""
_AFTER_CREATION = 0.05
"""Seconds until the pass that records that all pods were seen."""


def current_pods(observed: Observed) -> tuple[PodView, ...]:
    """Return the pods of the present attempt by rank, each index once, those beyond spec.nodes left out."""
    number, nodes = observed.job.status.attempt.number, observed.job.spec.nodes
    mine = {
        p.index: p for p in observed.pods if p.role == names.ROLE_WORKER and p.attempt == number and p.index < nodes
    }
    return tuple(mine[index] for index in sorted(mine))


def decide_attempt_end(observed: Observed) -> Decision | None:
    """End the attempt when a pod failed or was lost; None while all is well.

    Every rank takes part in every collective, so one lost pod stops the group: the whole gang starts again from the
    last checkpoint.
    """
    if observed.job.status.attempt.start_time is None:
        return None
    unready = unready_nodes(observed)
    found = [pod_failure(pod, unready) for pod in current_pods(observed)]
    failure = worst([f for f in (*found, *_lost(observed)) if f is not None])
    if failure is None:
        return None
    wait = cause_is_due(observed, failure)
    if wait > 0:
        status = observed.job.status
        return Decision(status, Phase.RUNNING, failure.reason, failure.message, requeue_after=wait)
    reason = limit_reached(observed, failure)
    if reason is not None:
        return failed(observed, failure, reason)
    status = observed.job.status.evolve(
        restarts=restarts_after(observed.job.status.restarts, failure), last_failure=failure.record(observed)
    )
    message = f"attempt {status.attempt.number} ended: {failure.message}"
    event = Event(Reason.RESTARTING, message, warning=True)
    return replace(_restarting(next_attempt(status), message, (), 0.0), events=(event,))


def next_attempt(status: FineTuneJobStatus) -> FineTuneJobStatus:
    """Return the status with the following attempt recorded, not started."""
    return status.evolve(attempt=Attempt(number=status.attempt.number + 1), succeeded_ranks=(), artifacts=())


def decide_attempt_start(observed: Observed) -> Decision | None:
    """Record what a new attempt is made of, then that it has started; None once it has."""
    status = observed.job.status
    if status.attempt.start_time is not None:
        return None
    table = decide_rank_table(observed, ())
    actions = (*old_pods(observed), *table.actions)
    wait = delay_left(observed)
    if wait > 0:
        message = f"attempt {status.attempt.number} starts in {wait:.0f} s"
        return _restarting(status, message, actions, wait)
    name = names.revision_name(observed.job.base, status.attempt.number)
    record = next((r for r in observed.revisions if r.name == name and not r.deleting), None)
    if record is None:
        template = worker_template(observed.job, status.attempt.number, pod_settings(observed))
        create = Create(Kind.REVISION, attempt_revision(observed.job, status.attempt.number, template))
        message = f"records what attempt {status.attempt.number} is made of"
        return _restarting(status, message, (*actions, create), 0.0)
    template = record.manifest["data"]
    attempt = status.attempt.evolve(
        revision=name,
        template_sha256=template_digest(template),
        image=_trainer_image(template),
        start_time=observed.now,
    )
    return _restarting(status.evolve(attempt=attempt), f"starts attempt {attempt.number}", actions, 0.0)


def decide_attempt_run(observed: Observed) -> Decision:
    """Make the pods that are missing, publish the rank table, follow the training to its end."""
    pods = current_pods(observed)
    status = _seen(observed, pods)
    record = next((r for r in observed.revisions if r.name == status.attempt.revision), None)
    if record is None:
        failure = Failure(Reason.POD_LOST, f"ControllerRevision {status.attempt.revision} is gone", platform=True)
        again = next_attempt(status).evolve(last_failure=failure.record(observed))
        return _restarting(again, failure.message, (), 0.0)
    if not pods and _template_changed(observed, status):
        return _restarting(next_attempt(status), "takes the changed pod template", (), 0.0)
    table = decide_rank_table(observed, pods)
    status = status.evolve(rank_table=table.status)
    if len(status.succeeded_ranks) == observed.job.spec.nodes:
        end = complete(observed, _with_end(status, pods), Reason.COMPLETE, "the output and its manifest are written")
        return replace(end, rank_table=table.verdict)
    missing = _missing_pods(observed, pods, status, record.manifest["data"])
    actions = (*old_pods(observed), *_service(observed), *missing, *table.actions)
    decision = Decision(status, Phase.STARTING, "", "", actions, table.events, table.requeue_after)
    decision = replace(decision, rank_table=table.verdict)
    if missing:
        event = Event(Reason.PODS_CREATED, f"{len(missing)} pods of attempt {status.attempt.number}")
        decision = replace(decision, events=(event, *table.events), requeue_after=_AFTER_CREATION)
        return _starting(decision, Reason.SCHEDULING, "makes the pods")
    if not trains(pods, status):
        return _starting(decision, *starting_words(observed, pods, table.verdict))
    return _training(observed, decision, pods)


def _starting(decision: Decision, reason: Reason, message: str) -> Decision:
    verdict = Verdict(ConditionStatus.FALSE, reason, message)
    return replace(decision, reason=reason, message=message, running=verdict)


def _training(observed: Observed, decision: Decision, pods: tuple[PodView, ...]) -> Decision:
    status, message, wait = progress_of(observed, decision.status)
    return replace(
        decision,
        status=status,
        phase=Phase.RUNNING,
        reason=Reason.TRAINING,
        message=message,
        requeue_after=_sooner(decision.requeue_after, wait),
        follow=_follow(pods),
        running=Verdict(ConditionStatus.TRUE, Reason.TRAINING, "all trainers run"),
    )


def old_pods(observed: Observed) -> tuple[Action, ...]:
    """Delete what earlier attempts left: pods that have not ended, and all but the last attempt's logs."""
    number = observed.job.status.attempt.number
    doomed = [
        pod
        for pod in observed.pods
        if pod.role == names.ROLE_WORKER
        and pod.attempt != number
        and not pod.deleting
        and not (pod.finished and pod.attempt == number - 1)
    ]
    revisions = [r for r in observed.revisions if r.manifest.get("revision", 0) < number and not r.deleting]
    return (
        *(Delete(Kind.POD, pod.name, pod.uid, _OLD_POD_GRACE) for pod in doomed),
        *(Delete(Kind.REVISION, r.name, r.uid) for r in revisions),
    )


def _lost(observed: Observed) -> Iterator[Failure]:
    """Pods that were all seen once and are not there any more; one that ended well before stays so."""
    status = observed.job.status
    if not status.attempt.all_pods_seen:
        return
    there = {pod.index for pod in current_pods(observed)} | set(status.succeeded_ranks)
    for index in range(observed.job.spec.nodes):
        if index not in there:
            name = names.worker_name(observed.job.base, status.attempt.number, index)
            yield Failure(Reason.POD_LOST, f"{name} is gone", platform=True)


def _seen(observed: Observed, pods: tuple[PodView, ...]) -> FineTuneJobStatus:
    """Record what was seen and must not be forgotten: that all pods were there, and who ended well."""
    status = observed.job.status
    ended = {pod.index for pod in pods if pod.phase is PodPhase.SUCCEEDED}
    succeeded = tuple(sorted({*status.succeeded_ranks, *ended}))
    if len(pods) == observed.job.spec.nodes and not status.attempt.all_pods_seen:
        status = status.evolve(attempt=status.attempt.evolve(all_pods_seen=True))
    first = next((pod for pod in pods if pod.index == 0 and pod.phase is PodPhase.SUCCEEDED), None)
    if first is not None and not status.artifacts:
        words = last_words(first.container(names.CONTAINER_TRAINER))
        status = status.evolve(artifacts=artifacts_of(observed, words))
    return status.evolve(succeeded_ranks=succeeded)


def _with_end(status: FineTuneJobStatus, pods: tuple[PodView, ...]) -> FineTuneJobStatus:
    """Take the final figures from rank 0's last words, if its pod is still there."""
    first = next((pod for pod in pods if pod.index == 0), None)
    words = last_words(first.container(names.CONTAINER_TRAINER)) if first is not None else {}
    return progress_end(status, words)


def _template_changed(observed: Observed, status: FineTuneJobStatus) -> bool:
    """Say whether pods that the API server refused would be made of something else now: a user has mended them.

    In all other cases an attempt keeps what it is made of.
    """
    stalled = condition(status.conditions, ConditionType.STALLED)
    if stalled is None or stalled.reason != Reason.POD_REJECTED:
        return False
    now = worker_template(observed.job, status.attempt.number, pod_settings(observed))
    return template_digest(now) != status.attempt.template_sha256


def _missing_pods(
    observed: Observed, pods: tuple[PodView, ...], status: FineTuneJobStatus, template: dict[str, object]
) -> tuple[Action, ...]:
    there = {pod.index for pod in pods} | set(status.succeeded_ranks)
    job, number = observed.job, status.attempt.number
    return tuple(
        Create(Kind.POD, worker_pod(job, number, index, template))
        for index in range(job.spec.nodes)
        if index not in there
    )


def _service(observed: Observed) -> tuple[Action, ...]:
    """Make the Service, or point it at rank 0 of the present attempt."""
    job, number = observed.job, observed.job.status.attempt.number
    if job.spec.nodes == 1:
        return ()
    found = next((s for s in observed.services if s.name == names.service_name(job.base) and not s.deleting), None)
    if found is None:
        return (Create(Kind.SERVICE, master_service(job, number)),)
    selector = master_selector(job, number)
    if found.manifest["spec"].get("selector") == selector:
        return ()
    return (Update(Kind.SERVICE, found.name, found.uid, {"spec": {"selector": selector}}, found.version),)


def _follow(pods: tuple[PodView, ...]) -> tuple[str, str] | None:
    first = next((pod for pod in pods if pod.index == 0 and not pod.finished), None)
    return (first.name, names.CONTAINER_TRAINER) if first is not None else None


def _restarting(
    status: FineTuneJobStatus, message: str, actions: tuple[Action, ...], requeue_after: float | None
) -> Decision:
    """Return the decision of a pass between attempts; before the first one nothing is restarted, it starts."""
    first = status.attempt.number == 0
    phase, reason = (Phase.STARTING, Reason.STARTING) if first else (Phase.RESTARTING, Reason.RESTARTING)
    return Decision(
        status,
        phase,
        reason,
        message,
        actions,
        requeue_after=requeue_after,
        running=Verdict(ConditionStatus.FALSE, reason, message),
        rank_table=Verdict(ConditionStatus.FALSE, Reason.ALLOCATING, "waits for the attempt's pods"),
    )


def _trainer_image(template: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    containers = template["spec"]["containers"]
    return next((c.get("image", "") for c in containers if c.get("name") == names.CONTAINER_TRAINER), "")


def _sooner(first: float | None, second: float | None) -> float | None:
    given = [moment for moment in (first, second) if moment is not None]
    return min(given) if given else None
