"""What one rule of the planner decides, before conditions and counts are worked out from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ascend_jobs.api.base import Metadata
from ascend_jobs.api.conditions import Condition, ConditionStatus, ConditionType, Reason, set_condition
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus
from ascend_jobs.decide.plan import Action, Event

LONGEST_MESSAGE = 1024
"""Characters of a condition's and a status's message."""


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


def laid(
    conditions: tuple[Condition, ...], verdicts: Mapping[ConditionType, Verdict], metadata: Metadata, now: datetime
) -> tuple[Condition, ...]:
    """Return the conditions with the verdicts in the places of their types."""
    for type_, verdict in verdicts.items():
        new = Condition(
            type=type_,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message[:LONGEST_MESSAGE],
            observed_generation=metadata.generation,
            last_transition_time=now,
        )
        conditions = set_condition(conditions, new)
    return conditions
