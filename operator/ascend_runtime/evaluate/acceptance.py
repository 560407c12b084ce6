"""Criteria → verdicts: whether what was measured is good enough."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ascend_runtime.evaluate.config import Criterion, Previous

_NEAR = 5


@dataclass(frozen=True)
class CriterionVerdict:
    """One criterion, judged."""

    metric: str
    value: float | None
    accepted: bool
    message: str
    """A sentence with the numbers."""
    reference: float | None = None
    """What a drop was measured from, where one was asked about."""
    near: tuple[str, ...] = ()
    """Names like that of a metric that was not measured."""


@dataclass(frozen=True)
class Reference:
    """What a drop is measured from."""

    title: str
    metrics: Mapping[str, float]


def references(baseline: Mapping[str, float] | None, previous: Previous | None) -> tuple[Reference, ...]:
    """Return what drops are measured from: the baseline first, else the run before."""
    found = (Reference("the baseline", baseline),) if baseline is not None else ()
    return (*found, Reference(f"run {previous.run}", previous.metrics)) if previous is not None else found


def judge(
    criteria: Sequence[Criterion], metrics: Mapping[str, float], known: Sequence[Reference]
) -> tuple[CriterionVerdict, ...]:
    """Judge each criterion; a metric that was not measured is not accepted, whatever the criterion asks."""
    return tuple(_judge(criterion, metrics, known) for criterion in criteria)


def is_accepted(verdicts: Sequence[CriterionVerdict]) -> bool | None:
    """Return whether all criteria are met; None when there are none."""
    return all(verdict.accepted for verdict in verdicts) if verdicts else None


def _judge(criterion: Criterion, metrics: Mapping[str, float], known: Sequence[Reference]) -> CriterionVerdict:
    value = metrics.get(criterion.metric)
    if value is None:
        near = _near(criterion.metric, metrics)
        words = f"near names are {', '.join(near)}" if near else "no metric was"
        return CriterionVerdict(criterion.metric, None, accepted=False, message=f"not measured; {words}", near=near)
    reference = next((r for r in known if criterion.metric in r.metrics), None)
    findings = [
        *_limit(value, criterion.least, "at least", is_met=lambda v, bound: v >= bound),
        *_limit(value, criterion.most, "at most", is_met=lambda v, bound: v <= bound),
        *_drop(criterion, value, reference, known),
    ]
    accepted = all(met for met, _ in findings)
    told = [text for met, text in findings if met == accepted]
    message = f"{_number(value)}, {'; '.join(told)}"
    before = reference.metrics[criterion.metric] if reference and criterion.max_drop is not None else None
    return CriterionVerdict(criterion.metric, value, accepted, message, before)


def _limit(
    value: float, bound: float | None, words: str, is_met: Callable[[float, float], bool]
) -> list[tuple[bool, str]]:
    if bound is None:
        return []
    met = is_met(value, bound)
    return [(met, f"{words} {_number(bound)} {'asked for' if met else 'is asked for, not met'}")]


def _drop(
    criterion: Criterion, value: float, reference: Reference | None, known: Sequence[Reference]
) -> list[tuple[bool, str]]:
    """Judge maxDrop: value >= reference - maxDrop; without any reference, on a first run, it is met."""
    if criterion.max_drop is None:
        return []
    if reference is None:
        return [_nothing_to_compare(known)]
    before = reference.metrics[criterion.metric]
    # A tenth of a billionth: 0.70 - 0.01 is not 0.69 in binary numbers.
    met = value >= before - criterion.max_drop - 1e-10 * max(1.0, abs(before))
    change = f"{_number(before)} for {reference.title}, a drop of at most {_number(criterion.max_drop)}"
    return [(met, f"{change} {'allowed' if met else 'is allowed, not met'}")]


def _nothing_to_compare(known: Sequence[Reference]) -> tuple[bool, str]:
    if known and known[0].title == "the baseline":
        return False, "maxDrop cannot be judged: the baseline has no such metric"
    return True, "no earlier value to drop from"


def _near(metric: str, metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Return names of metrics that may have been meant, else some of the same part, else some of all."""
    near = difflib.get_close_matches(metric, metrics, n=_NEAR, cutoff=0.5)
    same_part = [name for name in metrics if name.partition(".")[0] == metric.partition(".")[0]]
    return tuple((near or same_part or list(metrics))[:_NEAR])


def _number(value: float) -> str:
    return f"{value:.6g}"
