"""What is decided about an evaluation, before conditions are worked out from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ascend_jobs.api.conditions import (
    ConditionType,
    Reason,
)
from ascend_jobs.api.evaluationjob_status import EvaluationJobStatus
from ascend_jobs.decide.decision import Verdict
from ascend_jobs.decide.plan import Action, Event


class Phase(StrEnum):
    """One word for people."""

    PENDING = "Pending"
    RUNNING = "Running"
    WAITING = "Waiting"
    SUSPENDED = "Suspended"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True)
class Decision:
    """Where the job stands and what is done about it."""

    status: EvaluationJobStatus
    phase: Phase
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    follow: tuple[str, str] | None = None
    verdicts: Mapping[ConditionType, Verdict] = field(default_factory=dict)


def stalled(status: EvaluationJobStatus, reason: Reason | str, message: str, retry_after: float | None) -> Decision:
    """Return the decision that nothing goes on until somebody acts; looked at again after `retry_after` seconds."""
    return Decision(status, Phase.STALLED, str(reason), message, requeue_after=retry_after)
