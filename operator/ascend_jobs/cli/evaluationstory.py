"""An EvaluationJob as lines for people: what `ascendctl watch evj/NAME` shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ascend_jobs.api.conditions import ConditionStatus, ConditionType, condition
from ascend_jobs.api.evaluationjob import EvaluationJob, Target
from ascend_jobs.api.evaluationjob_status import CriterionResult, Result, Run
from ascend_jobs.cli import exits
from ascend_jobs.cli.figures import ago, bar, duration, headline, labelled
from ascend_jobs.cli.screen import clean
from ascend_jobs.cli.servicestory import SOMEBODY_ACTS
from ascend_jobs.errors import SpecInvalid

_SHOWN_METRICS = 16


class EvaluationStory:
    """An evaluation while it is watched."""

    def __init__(self) -> None:
        """Begin without an object."""
        self._job: EvaluationJob | None = None

    def take(self, body: dict[str, Any]) -> None:
        """Take the object as it is now."""
        try:
            self._job = EvaluationJob.parse(body)
        except SpecInvalid:
            self._job = EvaluationJob.without_spec(body)

    def block(self, now: datetime, *, colour: bool = False) -> list[str]:
        """Return the block that is redrawn while the evaluation goes on."""
        job = self._job
        if job is None:
            return []
        first = headline(job.kind, job.metadata, job.status.phase, _age(job, now), colour=colour)
        return labelled([("", first), *_rows(job, now)])

    def line(self) -> str:
        """Return the line that is printed where there is no terminal, each time it changes."""
        status = self._job.status if self._job else None
        return f"{clean(status.phase)}  {clean(status.message)}".rstrip() if status else ""

    def end(self) -> int | None:
        """Return the exit code: 0 a result that is accepted (or judged by nothing), 1 none; None while it goes on.

        One that runs again and again has ended when a run has; the next one is not waited for.
        """
        job = self._job
        if job is None or job.status.observed_generation < job.metadata.generation:
            return None
        status = job.status
        if status.phase in ("Complete", "Waiting"):
            return exits.OK if _has_result(job) and _result(job).accepted is not False else exits.FAILED
        if status.phase == "Failed":
            return exits.FAILED
        stalled = condition(status.conditions, ConditionType.STALLED)
        is_stalled = stalled is not None and stalled.status is ConditionStatus.TRUE
        return exits.FAILED if stalled and is_stalled and stalled.reason not in SOMEBODY_ACTS else None

    def result(self) -> list[str]:
        """Return what the last run found, or why it found nothing."""
        job = self._job
        if job is None:
            return []
        if not _has_result(job):
            return [f"{clean(job.status.phase)}: {clean(job.status.message)}".rstrip(": ")]
        run = job.status.run
        return [f"{clean(job.status.phase)}: run {run.number}{_took(run)}", *result_lines(job, _result(job))]


def result_lines(job: EvaluationJob, result: Result) -> list[str]:
    """Return metrics, acceptance with what does not hold, verdict, requests, and where the report is."""
    lines = _metric_lines(result)
    lines += _acceptance_lines(result)
    if result.verdict:
        versus = _target(job.spec.baseline) if job.spec.baseline else "the baseline"
        lines.append(f"  verdict   {clean(result.verdict)} against {versus}")
    failed = f", {result.requests.failed:,} failed" if result.requests.failed else ""
    lines.append(f"  requests  {result.requests.total:,}{failed}")
    if job.spec.output is not None and result.report.uri:
        lines.append(f"  report    {clean(result.report.uri)}  (ascendctl report evj/{job.metadata.name})")
    return lines


def _metric_lines(result: Result) -> list[str]:
    """Return the first metrics; those of criteria are shown whatever their place."""
    judged = {criterion.metric for criterion in result.criteria}
    shown = [m for n, m in enumerate(result.metrics) if n < _SHOWN_METRICS or m.name in judged]
    width = max((len(m.name) for m in shown), default=0)
    lines = [f"  {clean(m.name):<{width}}  {m.value:.6g}" for m in shown]
    more = len(result.metrics) - len(shown)
    return lines + ([f"  and {more} more, in the status and in the report"] if more else [])


def _acceptance_lines(result: Result) -> list[str]:
    if result.accepted is None:
        return []
    lacking = [criterion for criterion in result.criteria if not criterion.accepted]
    if result.accepted:
        return [f"  accepted  {len(result.criteria)} of {len(result.criteria)} criteria hold"]
    lines = [f"  not accepted: {len(lacking)} of {len(result.criteria)} criteria do not hold"]
    return lines + [f"    {_criterion(criterion)}" for criterion in lacking]


def _criterion(criterion: CriterionResult) -> str:
    """Return a criterion that does not hold; where its sentence was cut away, its value."""
    value = "not measured" if criterion.value is None else f"is {criterion.value:.6g}"
    return f"{clean(criterion.metric)}: {clean(criterion.message) or value}"


def _rows(job: EvaluationJob, now: datetime) -> Iterator[tuple[str, str]]:
    spec, status = job.spec, job.status
    yield "target", _target(spec.target) + (f"   baseline {_target(spec.baseline)}" if spec.baseline else "")
    yield "asked", _asked(job)
    yield "run", _run(job, now)
    progress = status.progress
    if progress is not None:
        count = f"{progress.done:,}/{progress.total:,}" if progress.total else f"{progress.done:,}"
        yield "progress", f"{bar(progress.done, progress.total)} {clean(progress.suite)} {count}".strip()
    yield "result", _short_result(job, now)
    yield "", f"  {clean(status.message)}".rstrip()


def _target(target: Target) -> str:
    model = f" model {target.model}" if target.model else ""
    return (f"aisvc/{target.service}" if target.service else clean(target.url or "")) + model


def _asked(job: EvaluationJob) -> str:
    """Return the suites and the points of the measurement under load."""
    parts = [s.name if s.kind == s.name else f"{s.name} ({s.kind.value})" for s in job.spec.suites]
    load = job.spec.performance
    if load is not None:
        points = [str(c) for c in load.concurrency] + [f"{r:g}/s" for r in load.requests_per_second]
        parts.append(f"performance at {', '.join(points)}")
    return ", ".join(parts)


def _run(job: EvaluationJob, now: datetime) -> str:
    run = job.status.run
    if not run.number:
        return ""
    tries = f", try {run.try_number + 1} of {job.spec.backoff_limit + 1}" if run.try_number else ""
    begun = f", began {ago(run.start_time, now)}" if run.start_time and run.completion_time is None else ""
    return f"{run.number} ({clean(run.trigger)}){tries}{begun}"


def _short_result(job: EvaluationJob, now: datetime) -> str:
    """Return the last result in a line; while another run is under way it still stands."""
    result = job.status.result
    if result is None:
        return ""
    accepted = {True: "accepted", False: "not accepted", None: ""}[result.accepted]
    when = f"run {result.run}, {ago(result.time, now)}"
    parts = (clean(job.status.headline), accepted, clean(result.verdict or ""), when)
    return "   ".join(part for part in parts if part)


def _has_result(job: EvaluationJob) -> bool:
    """Say whether the last run that was started has found something."""
    return job.status.result is not None and job.status.result.run == job.status.run.number


def _result(job: EvaluationJob) -> Result:
    assert job.status.result is not None
    return job.status.result


def _took(run: Run) -> str:
    if run.start_time is None or run.completion_time is None:
        return ""
    return f" after {duration(run.completion_time - run.start_time)}"


def _age(job: EvaluationJob, now: datetime) -> timedelta:
    return (job.status.completion_time or now) - (job.status.start_time or job.metadata.creation_timestamp)
