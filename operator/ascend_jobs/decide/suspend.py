"""Suspend: pods away, checkpoints stay; resume: the next attempt, not charged as a restart."""

from __future__ import annotations

from ascend_jobs.api.conditions import ConditionStatus, Reason
from ascend_jobs.api.finetunejob_status import Prepare
from ascend_jobs.decide.attempt import next_attempt
from ascend_jobs.decide.decision import Decision, Phase, Verdict
from ascend_jobs.decide.observed import Observed
from ascend_jobs.decide.plan import Delete, Kind, Update
from ascend_jobs.decide.prepare import prepare_pod_of
from ascend_jobs.decide.ranktable import decide_rank_table


def decide_suspend(observed: Observed) -> Decision | None:
    """Record the attempt's end first, then take the pods away; None unless spec.suspend is true."""
    if not observed.job.spec.suspend:
        return None
    status = observed.job.status
    running = Verdict(ConditionStatus.FALSE, Reason.SUSPENDED, "spec.suspend is true")
    words = "spec.suspend is true; checkpoints are kept"
    if status.attempt.start_time is not None:
        return Decision(
            next_attempt(status), Phase.SUSPENDED, Reason.SUSPENDED, words, requeue_after=0.0, running=running
        )
    if status.prepare.documents is None and prepare_pod_of(observed) is not None:
        again = status.evolve(prepare=Prepare(number=status.prepare.number + 1))
        return Decision(again, Phase.SUSPENDED, Reason.SUSPENDED, words, requeue_after=0.0, running=running)
    doomed = [Delete(Kind.POD, p.name, p.uid) for p in observed.pods if not p.finished and not p.deleting]
    renewed = [a for a in decide_rank_table(observed, ()).actions if isinstance(a, Update)]
    return Decision(status, Phase.SUSPENDED, Reason.SUSPENDED, words, (*doomed, *renewed), running=running)
