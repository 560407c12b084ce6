"""A decision as conditions, counts, phase and one line for people."""

from __future__ import annotations

from ascend_jobs.api.conditions import (
    ConditionStatus,
    ConditionType,
    Reason,
    condition,
)
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus
from ascend_jobs.decide.attempt import current_pods
from ascend_jobs.decide.decision import LONGEST_MESSAGE, Decision, Phase, Verdict, laid
from ascend_jobs.decide.observed import Observed
from ascend_jobs.decide.running import pod_counts

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def status_of(observed: Observed, decision: Decision) -> FineTuneJobStatus:
    """Return the whole status: every condition is there from the first write on, Unknown where unknown."""
    job, recorded = observed.job, decision.status
    conditions = recorded.conditions
    conditions = laid(conditions, _verdicts(observed, decision), job.metadata, observed.now)
    same_attempt = recorded.attempt.number == job.status.attempt.number
    pods = current_pods(observed) if same_attempt else ()
    return recorded.evolve(
        observed_generation=job.metadata.generation,
        phase=decision.phase.value,
        message=decision.message[:LONGEST_MESSAGE],
        conditions=conditions,
        pods=pod_counts(job.spec.nodes, pods, recorded),
        start_time=recorded.start_time or observed.now,
    )


def _verdicts(observed: Observed, decision: Decision) -> dict[ConditionType, Verdict]:
    phase, reason, message = decision.phase, decision.reason, decision.message
    done, dead = phase is Phase.COMPLETE, phase is Phase.FAILED
    held = phase in (Phase.STALLED, Phase.SUSPENDED)
    here = Verdict(_TRUE, reason, message)
    return {
        ConditionType.READY: here if done else Verdict(_FALSE, reason, message),
        ConditionType.RECONCILING: Verdict(_FALSE if done or dead or held else _TRUE, reason, message),
        ConditionType.STALLED: here if phase is Phase.STALLED or dead else Verdict(_FALSE, Reason.NOT_STALLED),
        ConditionType.PREPARED: _prepared(decision),
        ConditionType.RANK_TABLE_READY: _kept(observed, ConditionType.RANK_TABLE_READY, decision.rank_table, decision),
        ConditionType.RUNNING: _kept(observed, ConditionType.RUNNING, decision.running, decision),
        ConditionType.COMPLETE: here if done else Verdict(_FALSE, reason),
        ConditionType.FAILED: here if dead else Verdict(_FALSE, Reason.NOT_FAILED),
        ConditionType.SUSPENDED: here if phase is Phase.SUSPENDED else Verdict(_FALSE, Reason.NOT_SUSPENDED),
    }


def _prepared(decision: Decision) -> Verdict:
    prepare = decision.status.prepare
    if prepare.documents is not None:
        return Verdict(_TRUE, Reason.PREPARED, f"{prepare.documents} documents, {prepare.tokens or 0} tokens")
    if decision.phase is Phase.FAILED:
        return Verdict(_FALSE, decision.reason, decision.message)
    return Verdict(_UNKNOWN if decision.phase is not Phase.PREPARING else _FALSE, Reason.PREPARING)


def _kept(observed: Observed, type_: ConditionType, verdict: Verdict | None, decision: Decision) -> Verdict:
    """Return the rule's verdict, else what the condition said; nothing runs after an end."""
    if type_ is ConditionType.RUNNING and decision.phase in (Phase.COMPLETE, Phase.FAILED):
        return Verdict(_FALSE, decision.reason)
    if verdict is not None:
        return verdict
    old = condition(observed.job.status.conditions, type_)
    return Verdict(old.status, old.reason, old.message) if old is not None else Verdict(_UNKNOWN, Reason.PENDING)
