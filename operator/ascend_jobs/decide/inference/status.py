"""A decision about a service as conditions, counts, phase and one line for people."""

from __future__ import annotations

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionStatus, ConditionType, Reason, condition
from ascend_jobs.api.inferenceservice_status import (
    SHOWN_REPLICAS,
    InferenceServiceStatus,
    ReplicaStatus,
    RevisionStatus,
)
from ascend_jobs.decide.decision import LONGEST_MESSAGE, Verdict, laid
from ascend_jobs.decide.inference.candidate import waiting_words
from ascend_jobs.decide.inference.decision import Phase, ServiceDecision
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.probes import told_probe
from ascend_jobs.decide.inference.workloads import is_ready, replicas
from ascend_jobs.desired.inference.workloads import pod_selector

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_SETTLED = (Phase.READY, Phase.SUSPENDED, Phase.STALLED, Phase.SCALED_TO_ZERO)


def status_of(observed: ServiceObserved, decision: ServiceDecision) -> InferenceServiceStatus:
    """Return the whole status: every condition is there from the first write on, Unknown where unknown."""
    service, recorded = observed.service, decision.status
    conditions = recorded.conditions
    conditions = laid(conditions, _verdicts(observed, decision), service.metadata, observed.now)
    table = _table(observed, recorded)
    canary = recorded.canary_revision.number if recorded.canary_revision is not None else 0
    stable = [replica for replica in table if replica.revision != canary]
    serving = recorded.revision
    ready = decision.phase is Phase.READY
    return recorded.evolve(
        observed_generation=service.metadata.generation,
        phase=decision.phase.value,
        message=decision.message[:LONGEST_MESSAGE],
        url=_url(observed, serving) if serving is not None else None,
        served_name=service.served_name,
        engine=serving.engine if serving is not None else None,
        conditions=conditions,
        replicas=len(stable),
        ready_replicas=sum(replica.ready for replica in stable),
        selector=",".join(f"{k}={v}" for k, v in pod_selector(service, track=names.TRACK_STABLE).items()),
        instances=table[:SHOWN_REPLICAS],
        probe=told_probe(observed),
        ready_time=recorded.ready_time or (observed.now if ready else None),
    )


def _url(observed: ServiceObserved, revision: RevisionStatus) -> str:
    scheme = "https" if observed.service.spec.access.tls_secret_ref else "http"
    return f"{scheme}://{observed.service.base}.{observed.service.metadata.namespace}.svc:{revision.port}"


def _verdicts(observed: ServiceObserved, decision: ServiceDecision) -> dict[ConditionType, Verdict]:
    phase, reason, message = decision.phase, decision.reason, decision.message
    answers = phase in (Phase.READY, Phase.DEGRADED, Phase.UPDATING)
    known = {
        ConditionType.READY: Verdict(_FALSE, reason, message),
        ConditionType.RECONCILING: Verdict(_FALSE if phase in _SETTLED else _TRUE, reason, message),
        ConditionType.STALLED: Verdict(_TRUE, reason, message)
        if phase is Phase.STALLED
        else Verdict(_FALSE, Reason.NOT_STALLED),
        ConditionType.SUSPENDED: Verdict(_TRUE, reason, message)
        if phase is Phase.SUSPENDED
        else Verdict(_FALSE, Reason.NOT_SUSPENDED),
        ConditionType.PROGRESSING: Verdict(_FALSE if answers else _UNKNOWN, reason, message),
    }
    for type_ in (ConditionType.MODEL_READY, ConditionType.RANK_TABLE_READY):
        old = condition(observed.service.status.conditions, type_)
        known[type_] = Verdict(old.status, old.reason, old.message) if old else Verdict(_UNKNOWN, Reason.PENDING)
    return {**known, **decision.verdicts}


def _table(observed: ServiceObserved, status: InferenceServiceStatus) -> tuple[ReplicaStatus, ...]:
    found: list[ReplicaStatus] = []
    for revision in (status.revision, status.candidate, status.canary_revision):
        if revision is None:
            continue
        for name, pods in replicas(observed, revision).items():
            ready = is_ready(revision, pods)
            restarts = sum(c.restarts for pod in pods for c in pod.containers if c.name == names.CONTAINER_SERVER)
            found.append(
                ReplicaStatus(
                    name=name,
                    revision=revision.number,
                    node=pods[0].node,
                    ready=ready,
                    restarts=restarts,
                    message="" if ready else waiting_words(pods, revision)[1][:256],
                )
            )
    return tuple(found)
