"""The termination message of an evaluation, cut so that it always fits (docs/contract.md, Evaluation)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ascend_runtime.evaluate.acceptance import CriterionVerdict
from ascend_runtime.report import MESSAGE_LIMIT

_SENTENCES = (400, 200, 100, 40, 0)
"""Longest sentence of a criterion in characters; the next one is taken while the message is too long."""
_LONGEST_URI = 512


def compose(
    facts: Mapping[str, Any], verdicts: Sequence[CriterionVerdict], metrics: Mapping[str, float], order: Iterable[str]
) -> dict[str, Any]:
    """Return `facts` with as many criteria and metrics as fit into 4096 bytes.

    Criteria that are not met come first when not all fit; metrics are taken in `order`.
    """
    message = {**facts, "report": _short_report(facts["report"]), "criteria": [], "metrics": {}}
    message["criteria"] = _criteria(message, verdicts)
    for name in dict.fromkeys(order):
        if name in metrics and math.isfinite(metrics[name]):
            message["metrics"][name] = _rounded(metrics[name])
            if not _fits(message):
                del message["metrics"][name]
                break
    return message


def _criteria(message: Mapping[str, Any], verdicts: Sequence[CriterionVerdict]) -> list[dict[str, Any]]:
    for longest in _SENTENCES:
        listed = [_entry(verdict, longest) for verdict in verdicts]
        if _fits({**message, "criteria": listed}):
            return listed
    listed = []
    for verdict in sorted(verdicts, key=lambda verdict: verdict.accepted):
        if not _fits({**message, "criteria": [*listed, _entry(verdict, 0)]}):
            break
        listed.append(_entry(verdict, 0))
    return listed


def _entry(verdict: CriterionVerdict, longest: int) -> dict[str, Any]:
    value = None if verdict.value is None or not math.isfinite(verdict.value) else _rounded(verdict.value)
    sentence = verdict.message if len(verdict.message) <= longest else verdict.message[: max(0, longest - 3)] + "..."
    return {
        "metric": verdict.metric,
        "value": value,
        "accepted": verdict.accepted,
        "message": sentence if longest else "",
    }


def _short_report(report: Mapping[str, str]) -> dict[str, str]:
    return {**report, "uri": report["uri"][:_LONGEST_URI]}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _fits(message: Mapping[str, Any]) -> bool:
    return len(json.dumps(message, allow_nan=False)) <= MESSAGE_LIMIT
