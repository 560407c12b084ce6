"""A decision about an evaluation as conditions, phase and one line for people."""

from __future__ import annotations

from ascend_jobs.api.conditions import (
    ConditionStatus,
    ConditionType,
    Reason,
)
from ascend_jobs.api.evaluationjob_status import EvaluationJobStatus
from ascend_jobs.decide.decision import LONGEST_MESSAGE, Verdict, laid
from ascend_jobs.decide.evaluation.decision import Decision, Phase
from ascend_jobs.decide.evaluation.observed import EvaluationObserved

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def status_of(observed: EvaluationObserved, decision: Decision) -> EvaluationJobStatus:
    """Return the whole status: every condition is there from the first write on, Unknown where unknown."""
    job, conditions = observed.job, decision.status.conditions
    conditions = laid(conditions, _verdicts(decision), job.metadata, observed.now)
    return decision.status.evolve(
        observed_generation=job.metadata.generation,
        phase=decision.phase.value,
        message=decision.message[:LONGEST_MESSAGE],
        conditions=conditions,
        accepted=_accepted(decision.status).status.value,
        start_time=decision.status.start_time or observed.now,
    )


def _verdicts(decision: Decision) -> dict[ConditionType, Verdict]:
    phase, reason, message = decision.phase, decision.reason, decision.message
    here = Verdict(_TRUE, reason, message)
    done, dead, rests = phase is Phase.COMPLETE, phase is Phase.FAILED, phase is Phase.WAITING
    held = phase in (Phase.STALLED, Phase.SUSPENDED)
    return {
        ConditionType.READY: here if done or rests else Verdict(_FALSE, reason, message),
        ConditionType.RECONCILING: Verdict(_FALSE if done or dead or held or rests else _TRUE, reason, message),
        ConditionType.STALLED: here if phase is Phase.STALLED or dead else Verdict(_FALSE, Reason.NOT_STALLED),
        ConditionType.RUNNING: here if phase is Phase.RUNNING else Verdict(_FALSE, reason),
        ConditionType.COMPLETE: here if done else Verdict(_FALSE, reason),
        ConditionType.FAILED: here if dead else Verdict(_FALSE, Reason.NOT_FAILED),
        ConditionType.SUSPENDED: here if phase is Phase.SUSPENDED else Verdict(_FALSE, Reason.NOT_SUSPENDED),
        ConditionType.ACCEPTED: _accepted(decision.status),
        **decision.verdicts,
    }


def _accepted(status: EvaluationJobStatus) -> Verdict:
    """Tell what the last complete run says; while another one runs, that still stands."""
    result = status.result
    if result is None:
        return Verdict(_UNKNOWN, Reason.PENDING)
    if result.accepted is None:
        return Verdict(_UNKNOWN, Reason.NO_CRITERIA, "spec.acceptance is empty")
    lacking = "; ".join(c.message or c.metric for c in result.criteria if not c.accepted)
    if result.accepted:
        return Verdict(_TRUE, Reason.ACCEPTED, f"run {result.run}: every criterion holds")
    return Verdict(_FALSE, Reason.NOT_ACCEPTED, f"run {result.run}: {lacking}")
