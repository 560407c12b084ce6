"""The two ends of a job, and what is left to do after them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionType, Reason, condition, is_true
from ascend_jobs.api.finetunejob_status import Artifact, FineTuneJobStatus
from ascend_jobs.decide.decision import Decision, Phase
from ascend_jobs.decide.failure import Failure
from ascend_jobs.decide.observed import Observed
from ascend_jobs.decide.plan import Action, Delete, DeleteJob, Event, Kind
from ascend_jobs.decide.validate import is_within
from ascend_jobs.decide.words import count_of
from ascend_jobs.desired.volumes import workspace_uri

_ARTIFACTS = 16


def complete(observed: Observed, status: FineTuneJobStatus, reason: Reason, message: str) -> Decision:
    """Return the good end."""
    done = status.evolve(completion_time=observed.now)
    return Decision(done, Phase.COMPLETE, reason, message, events=(Event(reason, message),), requeue_after=0.0)


def failed(observed: Observed, failure: Failure, why: Reason) -> Decision:
    """Return the bad end; for wrong input the phase's own reason stands, else the limit that was reached."""
    reason = failure.reason if failure.fatal else str(why)
    done = observed.job.status.evolve(completion_time=observed.now, last_failure=failure.record(observed))
    event = Event(reason, failure.message, warning=True)
    return Decision(done, Phase.FAILED, reason, failure.message, events=(event,), requeue_after=0.0)


def decide_end(observed: Observed) -> Decision | None:
    """Clean up after a job that is Complete or Failed and wait for its TTL; None while it is neither."""
    status = observed.job.status
    done = is_true(status.conditions, ConditionType.COMPLETE)
    if not done and not is_true(status.conditions, ConditionType.FAILED):
        return None
    end = condition(status.conditions, ConditionType.COMPLETE if done else ConditionType.FAILED)
    assert end is not None
    left = _ttl_left(observed)
    expired = left is not None and left <= 0
    actions: tuple[Action, ...] = _leftovers(observed, everything=expired)
    if expired and not _is_tracked(observed):
        actions = (DeleteJob(),)
    requeue_after = left if left is not None and not expired else None
    phase = Phase.COMPLETE if done else Phase.FAILED
    return Decision(status, phase, end.reason, end.message, actions, requeue_after=requeue_after)


def artifacts_of(observed: Observed, words: dict[str, Any]) -> tuple[Artifact, ...]:
    """Return the artifacts that a phase's last words name, of those only what lies in the job's own folders."""
    job = observed.job
    folders = (job.spec.output.uri, workspace_uri(job))
    given = words.get("artifacts")
    found = []
    for item in given[:_ARTIFACTS] if isinstance(given, list) else []:
        uri = item.get("uri") if isinstance(item, dict) else None
        if isinstance(uri, str) and any(is_within(uri, folder) for folder in folders):
            found.append(_artifact(item, uri))
    kind = "model" if job.spec.training.method.value == "full" else "adapter"
    return tuple(found) or (Artifact(type=kind, uri=job.spec.output.uri),)


def _artifact(item: dict[str, Any], uri: str) -> Artifact:
    return Artifact(
        type=str(item.get("type") or "")[:64],
        uri=uri[:2048],
        sha256=str(item.get("sha256") or "")[:64],
        size_bytes=count_of(item, "sizeBytes") or 0,
    )


def _leftovers(observed: Observed, *, everything: bool) -> tuple[Action, ...]:
    """Pods that still hold NPUs, and what only running pods need; finished pods stay for their logs until the TTL."""
    doomed = [p for p in observed.pods if not p.deleting and (everything or not p.finished)]
    pods = [Delete(Kind.POD, p.name, p.uid) for p in doomed]
    rest = [(Kind.SERVICE, c) for c in observed.services] + [(Kind.CONFIG_MAP, c) for c in observed.config_maps]
    return (*pods, *(Delete(kind, child.name, child.uid) for kind, child in rest if not child.deleting))


def _ttl_left(observed: Observed) -> float | None:
    ttl, ended = observed.job.spec.ttl_seconds_after_finished, observed.job.status.completion_time
    if ttl is None or ended is None:
        return None
    return (ended + timedelta(seconds=ttl) - observed.now).total_seconds()


def _is_tracked(observed: Observed) -> bool:
    meta = observed.job.metadata
    return any(key in meta.labels or key in meta.annotations for key in names.GITOPS_TRACKING)
