"""How much work a migration is, and whether it can be done: from the findings alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ascend_runtime.migrate.findings import SEVERITIES, Finding

_REPEATED = 0.2
"""Share of the work of a first place that each further place of the same subject costs."""
_REASONS = 10


class Feasibility(StrEnum):
    """The answer to "can it be migrated?"."""

    READY = "Ready"
    """Runs with transfer_to_npu or after conversion; nothing is left by hand."""
    READY_WITH_CHANGES = "ReadyWithChanges"
    """Single lines to change by hand, each with a remedy."""
    NEEDS_WORK = "NeedsWork"
    """Parts to rework: APIs or libraries without a drop-in counterpart."""
    BLOCKED = "Blocked"
    """CUDA kernels or libraries that have to be rewritten or replaced first."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict with its reasons (worst first), counts of findings by severity, and hours of work by hand."""

    feasibility: Feasibility
    reasons: tuple[str, ...]
    counts: dict[str, int]
    hours: float


_BY_SEVERITY = {
    "blocker": Feasibility.BLOCKED,
    "major": Feasibility.NEEDS_WORK,
    "minor": Feasibility.READY_WITH_CHANGES,
    "info": Feasibility.READY,
}


def assess(findings: Sequence[Finding], skipped: Sequence[str] = ()) -> Assessment:
    """Judge a project by its worst finding; files that could not be read make Ready into ReadyWithChanges."""
    counts = Counter(finding.severity for finding in findings)
    worst = next((severity for severity in reversed(SEVERITIES) if counts[severity]), "info")
    if worst == "info" and skipped:
        worst = "minor"
    reasons = _reasons(findings)
    if skipped:
        reasons = (*reasons, f"{len(skipped)} files could not be analysed, {skipped[0]} among them.")
    return Assessment(_BY_SEVERITY[worst], reasons, {name: counts[name] for name in SEVERITIES}, _hours(findings))


def _reasons(findings: Iterable[Finding]) -> tuple[str, ...]:
    places: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        if finding.severity != "info":
            places[finding.severity, finding.subject] += 1
    ranked = sorted(places.items(), key=lambda item: (-SEVERITIES.index(item[0][0]), -item[1], item[0][1]))
    return tuple(
        f"{subject}: {severity}, {count} place{'s' * (count > 1)}." for (severity, subject), count in ranked[:_REASONS]
    )


def _hours(findings: Iterable[Finding]) -> float:
    seen: set[str] = set()
    minutes = 0.0
    for finding in findings:
        minutes += finding.minutes * (_REPEATED if finding.subject in seen else 1)
        seen.add(finding.subject)
    return round(minutes / 60, 1)
