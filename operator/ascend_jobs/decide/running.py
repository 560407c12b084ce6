"""What is said while pods start and train: reasons, counts, progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionStatus, Reason
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus, LastCheckpoint, PodCounts, Progress
from ascend_jobs.decide.decision import Verdict
from ascend_jobs.decide.observed import Observed, PodPhase, PodView
from ascend_jobs.decide.words import count_of
from ascend_jobs.desired.volumes import workspace_uri

PROGRESS_SECONDS = 10.0
"""Progress is written at most so often for a job."""
_PULL_REASONS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")


def trains(pods: Sequence[PodView], status: FineTuneJobStatus) -> bool:
    """Say whether every trainer runs or has ended; how it ended the pod's phase will tell."""
    return bool(pods) and all(has_started(pod) or pod.index in status.succeeded_ranks for pod in pods)


def has_started(pod: PodView) -> bool:
    """Say whether a pod's trainer runs or has run."""
    trainer = pod.container(names.CONTAINER_TRAINER)
    return trainer is not None and (trainer.running or trainer.exit_code is not None)


def is_running(pod: PodView) -> bool:
    """Say whether a pod's trainer runs."""
    trainer = pod.container(names.CONTAINER_TRAINER)
    return trainer is not None and trainer.running


def pod_counts(desired: int, pods: Sequence[PodView], status: FineTuneJobStatus) -> PodCounts:
    """Count the pods of the present attempt; those that ended well count also when they were collected."""
    running = sum(is_running(pod) for pod in pods)
    failed = sum(pod.phase is PodPhase.FAILED for pod in pods)
    succeeded = len(status.succeeded_ranks)
    pending = sum(not pod.finished and not has_started(pod) for pod in pods)
    return PodCounts(desired=desired, pending=pending, running=running, succeeded=succeeded, failed=failed)


def starting_words(observed: Observed, pods: Sequence[PodView], table: Verdict) -> tuple[Reason, str]:
    """Return why not all trainers run yet: no node, no image, no devices, no table, in this order."""
    homeless = [pod for pod in pods if not pod.node]
    if homeless:
        return _homeless(observed, pods, homeless)
    for pod in pods:
        stuck = next((c for c in pod.containers if c.waiting_reason in _PULL_REASONS), None)
        if stuck is not None:
            return Reason.IMAGE_PULL_FAILED, f"{pod.name}: {stuck.waiting_reason}: {stuck.waiting_message}"
        stuck = next((c for c in pod.containers if c.waiting_reason.endswith("Error")), None)
        if stuck is not None:
            return Reason.CONTAINER_CONFIG_INVALID, f"{pod.name}: {stuck.waiting_reason}: {stuck.waiting_message}"
    if table.status is not ConditionStatus.TRUE:
        return Reason.STARTING, f"rank table: {table.message}"
    return Reason.STARTING, f"{sum(is_running(pod) for pod in pods)} of {len(pods)} trainers run"


def progress_of(observed: Observed, status: FineTuneJobStatus) -> tuple[FineTuneJobStatus, str, float | None]:
    """Return the status with what the log told, a line for people, and seconds until the next write is due.

    Written at most every PROGRESS_SECONDS; until then the status keeps what it says.
    """
    seen = observed.progress
    fresh = _progress(seen.progress, seen.validation, status.progress, observed)
    checkpoint = _checkpoint(seen.checkpoint, observed) or status.last_checkpoint
    changed = fresh != status.progress or checkpoint != status.last_checkpoint
    wait = _seconds_left(status.progress, observed) if changed else 0.0
    if changed and wait <= 0:
        fresh = (fresh or Progress()).evolve(updated_time=observed.now)
        status = status.evolve(progress=fresh, last_checkpoint=checkpoint)
    return status, progress_words(status.progress), wait if wait > 0 else None


def progress_words(progress: Progress | None) -> str:
    """Return one line for people."""
    if progress is None:
        return "the trainers load model and data"
    parts = [f"step {progress.step}" + (f" of {progress.total_steps}" if progress.total_steps else "")]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4g}")
    if progress.tokens_per_second is not None:
        parts.append(f"{progress.tokens_per_second:.0f} tokens/s")
    if progress.estimated_seconds_left is not None:
        parts.append(f"{timedelta(seconds=progress.estimated_seconds_left)} left")
    return ", ".join(parts)


def progress_end(status: FineTuneJobStatus, words: dict[str, Any]) -> FineTuneJobStatus:
    """Return the status with the final figures of rank 0's last words."""
    progress = status.progress or Progress()
    changes: dict[str, Any] = {"estimated_seconds_left": 0}
    steps = count_of(words, "steps")
    if steps is not None:
        changes |= {"step": steps, "total_steps": steps}
    for key, field in (("loss", "loss"), ("validationLoss", "validation_loss")):
        if isinstance(words.get(key), float):
            changes[field] = _rounded(words[key])
    return status.evolve(progress=progress.evolve(**changes))


def _homeless(observed: Observed, pods: Sequence[PodView], homeless: Sequence[PodView]) -> tuple[Reason, str]:
    spec = observed.job.spec
    words = [f"{len(homeless)} of {spec.nodes} pods have no node"]
    told = next((pod.scheduling_message for pod in homeless if pod.scheduling_message), "")
    if told:
        words.append(told)
    if observed.free_npus is not None:
        words.append(f"{observed.free_npus} NPUs are free, {len(homeless) * spec.npus_per_node} are needed")
    return (Reason.UNSCHEDULABLE if told else Reason.SCHEDULING), "; ".join(words)


def _progress(
    line: Mapping[str, Any] | None, validation: Mapping[str, Any] | None, old: Progress | None, observed: Observed
) -> Progress | None:
    """Return what the newest lines say; of the time of writing only what the status has."""
    if line is None:
        return old
    return Progress(
        step=line["step"],
        total_steps=line.get("totalSteps"),
        loss=_rounded(line.get("loss")),
        validation_loss=_rounded((validation or {}).get("loss", old.validation_loss if old else None)),
        grad_norm=_rounded(line.get("gradNorm")),
        learning_rate=_rounded(line.get("learningRate")),
        tokens_per_second=_rounded(line.get("tokensPerSecond")),
        estimated_seconds_left=line.get("estimatedSecondsLeft"),
        updated_time=old.updated_time if old else None,
    )


def _rounded(value: float | None) -> float | None:
    """Return a figure with six significant digits, as much as a column of `kubectl get` takes."""
    return None if value is None else float(f"{value:.6g}")


def _checkpoint(line: Mapping[str, Any] | None, observed: Observed) -> LastCheckpoint | None:
    """Return the checkpoint a line names if it lies in the job's own workspace."""
    if line is None or not str(line["uri"]).startswith(workspace_uri(observed.job) + "/"):
        return None
    return LastCheckpoint(step=line["step"], uri=line["uri"], sha256=line["sha256"], time=line["time"])


def _seconds_left(progress: Progress | None, observed: Observed) -> float:
    if progress is None or progress.updated_time is None:
        return 0.0
    return (progress.updated_time + timedelta(seconds=PROGRESS_SECONDS) - observed.now).total_seconds()
