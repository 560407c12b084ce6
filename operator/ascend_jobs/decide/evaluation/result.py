"""The last words of a run as a result; any program may have written them, so they are checked field by field."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ascend_jobs.api.evaluationjob_status import (
    KEPT_RUNS,
    MOST_METRICS,
    CriterionResult,
    EvaluationJobStatus,
    HistoryEntry,
    Measured,
    Report,
    Requests,
    Result,
)
from ascend_jobs.decide.words import count_of

_UNTOLD = "the run's last words say nothing of it"
_HEADLINE = 128


def result_of(words: dict[str, Any], run: int, now: datetime, wanted: Sequence[str]) -> Result:
    """Return what a run found (docs/contract.md, Evaluation); `wanted` are the metrics of spec.acceptance.

    What has to be accepted is so only when the run says it: a program without such last words has evaluated nothing.
    """
    report, requests = _object(words.get("report")), _object(words.get("requests"))
    accepted, verdict, criteria = words.get("accepted"), words.get("verdict"), _criteria(words.get("criteria"))
    if wanted and not isinstance(accepted, bool):
        accepted = False
        criteria = [CriterionResult(metric=name[:128], accepted=False, message=_UNTOLD) for name in wanted]
    return Result(
        run=run,
        time=now,
        accepted=accepted and all(c.accepted for c in criteria) if isinstance(accepted, bool) and wanted else None,
        verdict=verdict if verdict in ("Better", "Worse", "NoDifference") else None,
        metrics=_metrics(_object(words.get("metrics"))),
        criteria=tuple(criteria),
        requests=Requests(total=count_of(requests, "total") or 0, failed=count_of(requests, "failed") or 0),
        report=Report(uri=_text(report.get("uri"), 2048), sha256=_text(report.get("sha256"), 128)),
    )


def remembered(status: EvaluationJobStatus, result: Result) -> EvaluationJobStatus:
    """Return the status with a result in it, and in the history; a result seen twice counts once."""
    entry = HistoryEntry(
        run=result.run,
        time=result.time,
        trigger=status.run.trigger,
        accepted=result.accepted,
        metrics=result.metrics[:8],
    )
    others = tuple(e for e in status.history if e.run != result.run)
    first = result.metrics[0] if result.metrics else None
    value = f" {first.value:.4g}" if first else ""
    headline = f"{first.name[: _HEADLINE - len(value)]}{value}" if first else ""
    return status.evolve(result=result, headline=headline, history=(entry, *others)[:KEPT_RUNS])


def _metrics(found: dict[str, Any]) -> tuple[Measured, ...]:
    numbers = {k[:128]: v for k, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool) and k}
    return tuple(Measured(name=name, value=value) for name, value in list(numbers.items())[:MOST_METRICS])


def _criteria(found: Any) -> list[CriterionResult]:  # noqa: ANN401 - a JSON value
    items = found if isinstance(found, list) else []
    results = []
    for item in items[:64]:
        if isinstance(item, dict) and isinstance(item.get("metric"), str):
            value = item.get("value")
            number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
            results.append(
                CriterionResult(
                    metric=item["metric"][:128],
                    value=number,
                    accepted=item.get("accepted") is True,
                    message=_text(item.get("message"), 512),
                )
            )
    return results


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON value
    return value if isinstance(value, dict) else {}


def _text(value: Any, longest: int) -> str:  # noqa: ANN401 - a JSON value
    return value[:longest] if isinstance(value, str) else ""


def result_words(status: EvaluationJobStatus) -> str:
    """Return what the last complete run found, one line for people."""
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
