"""A FineTuneJob as lines for people: what `ascendctl watch` shows. Pure: objects and the clock in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.api.finetunejob_status import Artifact
from ascend_jobs.cli import exits
from ascend_jobs.cli.figures import ago, bar, duration, headline, labelled, size, sparks
from ascend_jobs.cli.screen import clean
from ascend_jobs.errors import SpecInvalid

_ENDS = {"Complete": exits.OK, "Failed": exits.FAILED}


@dataclass(frozen=True)
class View:
    """What is shown: the job, the clock, losses seen so far (oldest first), and whether colours may be used."""

    job: FineTuneJob
    now: datetime
    losses: Sequence[float] = ()
    colour: bool = False


class JobStory:
    """A job while it is watched; the losses that were seen make its curve."""

    def __init__(self) -> None:
        """Begin without an object."""
        self._job: FineTuneJob | None = None
        self._losses: list[float] = []
        self._last_step = -1

    def take(self, body: dict[str, Any]) -> None:
        """Take the object as it is now."""
        try:
            self._job = FineTuneJob.parse(body)
        except SpecInvalid:
            self._job = FineTuneJob.without_spec(body)
        progress = self._job.status.progress
        if progress is None or progress.step < self._last_step:
            self._losses.clear()
            self._last_step = -1
        if progress is not None and progress.loss is not None and progress.step > self._last_step:
            self._losses.append(progress.loss)
            self._last_step = progress.step

    def block(self, now: datetime, *, colour: bool = False) -> list[str]:
        """Return the block that is redrawn while the job goes on."""
        return block(View(self._job, now, self._losses, colour)) if self._job else []

    def line(self) -> str:
        """Return the line that is printed where there is no terminal, each time it changes."""
        return one_line(self._job) if self._job else ""

    def end(self) -> int | None:
        """Return the exit code when the job is over, else None."""
        return _ENDS.get(self._job.status.phase) if self._job else None

    def result(self) -> list[str]:
        """Return what the job came to."""
        return result(self._job) if self._job else []


def block(view: View) -> list[str]:
    """Return the block that is redrawn while the job goes on."""
    job = view.job
    first = headline(job.kind, job.metadata, job.status.phase, _age(view), colour=view.colour)
    return labelled([("", first), *_rows(view)])


def one_line(job: FineTuneJob) -> str:
    """Return the line that is printed where there is no terminal, each time it changes."""
    status, progress = job.status, job.status.progress
    parts = [clean(status.phase)]
    if progress is not None and status.phase == "Running":
        parts += [f"step {_of(progress.step, progress.total_steps)}", *_named_numbers(job)]
    parts.append(clean(status.message))
    return "  ".join(part for part in parts if part)


def result(job: FineTuneJob) -> list[str]:
    """Return what the job came to: artifacts, or why there are none."""
    status = job.status
    took = ""
    if status.start_time and status.completion_time:
        took = f" after {duration(status.completion_time - status.start_time)}"
    lines = [f"{clean(status.phase)}{took}: {clean(status.message)}".rstrip(": ")]
    lines += [artifact_line(artifact) for artifact in status.artifacts]
    failure = status.last_failure
    if status.phase == "Failed" and failure is not None:
        where = " ".join(part for part in (failure.pod, f"on {failure.node}" if failure.node else "") if part)
        lines.append(f"  {clean(failure.reason)} {clean(where)}: {clean(failure.message)}")
    return lines


def artifact_line(artifact: Artifact) -> str:
    """Return what was made, where it is, its size and the beginning of its digest."""
    digest = f"  sha256 {clean(artifact.sha256)[:12]}" if artifact.sha256 else ""
    return f"  {clean(artifact.type):<9} {clean(artifact.uri)}  {size(artifact.size_bytes)}{digest}"


def _rows(view: View) -> Iterator[tuple[str, str]]:
    job = view.job
    spec, status = job.spec, job.status
    yield "model", clean(spec.model.uri)
    yield "dataset", clean(spec.dataset.all_sources()[0].uri) + _documents(job)
    yield "pods", _pods(job)
    yield "rank table", _rank_table(job)
    yield from _progress_rows(view)
    yield "checkpoint", _checkpoint(view)
    yield "restarts", _restarts(job)
    yield "", f"  {clean(status.message)}".rstrip()


def _progress_rows(view: View) -> Iterator[tuple[str, str]]:
    progress = view.job.status.progress
    if progress is None:
        return
    yield "step", f"{bar(progress.step, progress.total_steps)} {_of(progress.step, progress.total_steps)}"
    yield "loss", "   ".join([*_named_numbers(view.job), sparks(view.losses)]).removeprefix("loss ").rstrip()
    speed = f"{progress.tokens_per_second:,.0f} tokens/s" if progress.tokens_per_second is not None else ""
    left = progress.estimated_seconds_left
    seconds_ago = (view.now - progress.updated_time).total_seconds() if progress.updated_time else 0
    running = view.job.status.phase == "Running"
    eta = f"ETA {duration(timedelta(seconds=left - seconds_ago))}" if left is not None and running else ""
    yield "speed", "   ".join(part for part in (speed, eta) if part)


def _named_numbers(job: FineTuneJob) -> list[str]:
    progress = job.status.progress
    if progress is None:
        return []
    numbers = (
        ("loss", progress.loss),
        ("validation", progress.validation_loss),
        ("grad norm", progress.grad_norm),
        ("learning rate", progress.learning_rate),
    )
    return [f"{name} {value:.4g}" for name, value in numbers if value is not None]


def _documents(job: FineTuneJob) -> str:
    prepare = job.status.prepare
    if prepare.train_documents is None:
        return ""
    return f"  ({prepare.train_documents:,} to learn from, {prepare.validation_documents or 0:,} held back)"


def _pods(job: FineTuneJob) -> str:
    pods, spec = job.status.pods, job.spec
    shape = f"{spec.nodes} x {spec.npus_per_node} NPU{'s' if spec.npus_per_node > 1 else ''}"
    counts = ((pods.pending, "pending"), (pods.running, "running"), (pods.succeeded, "done"), (pods.failed, "failed"))
    seen = ", ".join(f"{count} {word}" for count, word in counts if count)
    attempt = f" (attempt {job.status.attempt.number})" if job.status.attempt.number else ""
    return f"{shape}: {seen}{attempt}" if seen else shape


def _rank_table(job: FineTuneJob) -> str:
    table = job.status.rank_table
    if not table.version:
        return ""
    ready = "in every container" if table.ready_time else "on its way into the containers"
    return f"version {table.version}, {table.devices} devices, {ready}"


def _checkpoint(view: View) -> str:
    found = view.job.status.last_checkpoint
    return f"step {found.step}, {ago(found.time, view.now)}" if found else ""


def _restarts(job: FineTuneJob) -> str:
    restarts, spec = job.status.restarts, job.spec
    if not (restarts.program or restarts.platform):
        return ""
    limit = spec.fault_policy.platform_backoff_limit
    text = f"program {restarts.program} of {spec.backoff_limit}, platform {restarts.platform} of {limit}"
    failure = job.status.last_failure
    return f"{text}; last: {clean(failure.reason)} {clean(failure.pod)}" if failure else text


def _age(view: View) -> timedelta:
    status = view.job.status
    begin = status.start_time or view.job.metadata.creation_timestamp
    return (status.completion_time or view.now) - begin


def _of(step: int, total: int | None) -> str:
    return f"{step}/{total}" if total else str(step)
