"""What one rule of the planner decides, before conditions and counts are worked out from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ascend_jobs.api.conditions import ConditionStatus, Reason
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus
from ascend_jobs.decide.plan import Action, Event


class Phase(StrEnum):
    """One word for people; conditions carry the truth that programs read."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    STARTING = "Starting"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    SUSPENDED = "Suspended"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True)
class Verdict:
    """Status, reason and message of one condition."""

    status: ConditionStatus
    reason: str
    message: str = ""


@dataclass(frozen=True)
class Decision:
    """One rule's answer: where the job stands and what is done about it.

    `status` holds what is recorded (counters, attempt, artifacts); conditions, counts, phase and message are laid over
    it. `rank_table` and `running` are the verdicts of those conditions where this rule knows better than before.
    """

    status: FineTuneJobStatus
    phase: Phase
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    follow: tuple[str, str] | None = None
    rank_table: Verdict | None = None
    running: Verdict | None = None


def stalled(status: FineTuneJobStatus, reason: Reason | str, message: str, retry_after: float | None) -> Decision:
    """Return the decision that nothing goes on until somebody acts; looked at again after `retry_after` seconds."""
    return Decision(status, Phase.STALLED, str(reason), message, requeue_after=retry_after)
