"""What is decided about a service, before conditions are worked out from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ascend_jobs.api.conditions import ConditionType, Reason
from ascend_jobs.api.inferenceservice_status import InferenceServiceStatus
from ascend_jobs.decide.decision import Verdict
from ascend_jobs.decide.plan import Action, Event, ProbeTarget, ScrapeTarget


class Phase(StrEnum):
    """One word for people; conditions carry the truth that programs read."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    UPDATING = "Updating"
    DEGRADED = "Degraded"
    SCALED_TO_ZERO = "ScaledToZero"
    SUSPENDED = "Suspended"
    STALLED = "Stalled"


@dataclass(frozen=True)
class ServiceDecision:
    """Where the service stands and what is done about it. `verdicts` are those of conditions that are known better."""

    status: InferenceServiceStatus
    phase: Phase
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    verdicts: Mapping[ConditionType, Verdict] = field(default_factory=dict)
    probes: tuple[ProbeTarget, ...] = ()
    scrapes: tuple[ScrapeTarget, ...] = ()


def stalled(
    status: InferenceServiceStatus, reason: Reason | str, message: str, retry_after: float | None
) -> ServiceDecision:
    """Return the decision that nothing goes on until somebody acts; looked at again after `retry_after` seconds."""
    return ServiceDecision(status, Phase.STALLED, str(reason), message, requeue_after=retry_after)
