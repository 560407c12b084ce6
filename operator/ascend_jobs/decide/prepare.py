"""The phase that checks inputs and tokenises, one pod without NPUs."""

from __future__ import annotations

from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import Reason
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus, Prepare
from ascend_jobs.decide.decision import Decision, Phase
from ascend_jobs.decide.end import artifacts_of, complete, failed
from ascend_jobs.decide.failure import (
    Failure,
    delay_left,
    limit_reached,
    pod_failure,
    restarts_after,
    unready_nodes,
)
from ascend_jobs.decide.observed import Observed, PodPhase, PodView
from ascend_jobs.decide.plan import Action, Create, Delete, Event, Kind
from ascend_jobs.decide.profile import pod_settings
from ascend_jobs.decide.words import count_of, last_words
from ascend_jobs.desired.pods import prepare_pod


def decide_prepare(observed: Observed) -> Decision | None:
    """Bring the prepare phase a step on; None when it is done."""
    status = observed.job.status
    if status.prepare.documents is not None:
        return None
    pod = prepare_pod_of(observed)
    if pod is None:
        return _no_pod(observed)
    if pod.phase is PodPhase.SUCCEEDED:
        return _succeeded(observed, pod)
    failure = pod_failure(pod, unready_nodes(observed))
    if failure is not None:
        return _failed(observed, failure)
    seen = status.evolve(prepare=status.prepare.evolve(pod_seen=True))
    return _preparing(seen, _where(pod))


def prepare_pod_of(observed: Observed) -> PodView | None:
    """Return the pod of the present try."""
    number = observed.job.status.prepare.number
    return next((p for p in observed.pods if p.role == names.ROLE_PREPARE and p.attempt == number), None)


def _no_pod(observed: Observed) -> Decision:
    job, status = observed.job, observed.job.status
    if status.prepare.pod_seen:
        name = names.prepare_name(job.base, status.prepare.number)
        return _failed(observed, Failure(Reason.POD_LOST, f"{name} is gone", platform=True))
    wait = delay_left(observed)
    if wait > 0:
        message = f"next try in {wait:.0f} s: {status.last_failure.message if status.last_failure else ''}"
        return _preparing(status, message, requeue_after=wait)
    create = Create(Kind.POD, prepare_pod(job, status.prepare.number, pod_settings(observed)))
    earlier = [
        Delete(Kind.POD, p.name, p.uid)
        for p in observed.pods
        if p.role == names.ROLE_PREPARE and not p.finished and not p.deleting
    ]
    return _preparing(status, "makes the pod that checks and tokenises the data", *earlier, create)


def _succeeded(observed: Observed, pod: PodView) -> Decision:
    words = last_words(pod.container(names.CONTAINER_PREPARE))
    prepare = _counts(observed.job.status.prepare, words)
    status = observed.job.status.evolve(prepare=prepare)
    if words.get("alreadyComplete") is True:
        status = status.evolve(artifacts=artifacts_of(observed, words))
        return complete(observed, status, Reason.ALREADY_COMPLETE, "the output already holds this spec's result")
    message = f"{prepare.documents} documents, {prepare.tokens} tokens"
    event = Event(Reason.PREPARED, message)
    return Decision(status, Phase.PREPARING, Reason.PREPARED, message, events=(event,), requeue_after=0.0)


def _failed(observed: Observed, failure: Failure) -> Decision:
    reason = limit_reached(observed, failure)
    if reason is not None:
        return failed(observed, failure, reason)
    status = observed.job.status
    again = status.evolve(
        prepare=Prepare(number=status.prepare.number + 1),
        restarts=restarts_after(status.restarts, failure),
        last_failure=failure.record(observed),
    )
    event = Event("PrepareRetried", failure.message, warning=True)
    return Decision(again, Phase.PREPARING, Reason.PREPARING, failure.message, events=(event,), requeue_after=0.0)


def _preparing(
    status: FineTuneJobStatus, message: str, *actions: Action, requeue_after: float | None = None
) -> Decision:
    return Decision(status, Phase.PREPARING, Reason.PREPARING, message, actions, requeue_after=requeue_after)


def _where(pod: PodView) -> str:
    container = pod.container(names.CONTAINER_PREPARE)
    if container is not None and container.running:
        return "checks and tokenises the data"
    if container is not None and container.waiting_reason:
        return f"{pod.name}: {container.waiting_reason} {container.waiting_message}".strip()
    return f"{pod.name}: {pod.scheduling_message or 'waits for a node'}"


def _counts(prepare: Prepare, words: dict[str, Any]) -> Prepare:
    """Take the counts out of the last words; `documents` is always set, for it says that the phase is done."""
    digest = words.get("dataset")
    return prepare.evolve(
        documents=count_of(words, "documents") or 0,
        train_documents=count_of(words, "trainDocuments"),
        validation_documents=count_of(words, "validationDocuments"),
        tokens=count_of(words, "tokens"),
        dataset=digest[:128] if isinstance(digest, str) else None,
    )
