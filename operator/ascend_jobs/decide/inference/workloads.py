"""How many pods of each version there are, step by step, so that wanted replicas stay up while versions change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionStatus, ConditionType
from ascend_jobs.api.inferenceservice import Rollout
from ascend_jobs.api.inferenceservice_status import InferenceServiceStatus, RevisionStatus
from ascend_jobs.decide.inference.candidate import Stage
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.revisions import record_of
from ascend_jobs.decide.observed import ChildView, PodView
from ascend_jobs.decide.plan import Action, Create, Delete, Kind, Update
from ascend_jobs.desired.inference.workloads import deployment, replica_set_of_pods

_KEPT_RECORDS = 5
"""Newest revisions whose records stay when nothing runs of them."""


@dataclass(frozen=True)
class Count:
    """Replicas of a version: those that exist, and those that take requests."""

    present: int
    ready: int


def count(observed: ServiceObserved, revision: RevisionStatus | None) -> Count:
    """Return how many replicas of a version exist and are ready."""
    if revision is None:
        return Count(0, 0)
    found = replicas(observed, revision)
    return Count(len(found), sum(is_ready(revision, pods) for pods in found.values()))


def replicas(observed: ServiceObserved, revision: RevisionStatus) -> dict[str, tuple[PodView, ...]]:
    """Return the pods of a version by replica: each its own, or by number where replicas span pods."""
    pods = observed.servers(revision.number)
    if revision.nodes == 1:
        return {pod.name: (pod,) for pod in pods}
    found: dict[str, tuple[PodView, ...]] = {}
    for pod in pods:
        name = names.replica_name(observed.service.base, revision.number, pod.replica)
        found[name] = (*found.get(name, ()), pod)
    return found


def is_ready(revision: RevisionStatus, pods: tuple[PodView, ...]) -> bool:
    """Say whether a replica takes requests: all its pods are there, and the first one is ready."""
    return len(pods) == revision.nodes and any(pod.index == 0 and pod.ready for pod in pods)


def targets(
    rollout: Rollout, wanted: int, old: Count, new: Count, stage: Stage | None, *, alone: bool
) -> tuple[int, int]:
    """Return the replicas that the old and the new version are to have now.

    `alone`: there is no old version. While proving, the new one has as many as may be surplus, or as may be missing.
    """
    if stage is None or stage is Stage.INSPECTING:
        return wanted, 0
    if alone:
        return 0, wanted if stage is Stage.SHIFTING else min(wanted, 1)
    least = max(0, wanted - rollout.max_unavailable)
    if stage in (Stage.PROVING, Stage.GATING):
        if rollout.max_surge:
            return wanted, min(wanted, rollout.max_surge, 1)
        return least, min(wanted, 1) if old.present <= least else 0
    most = wanted + rollout.max_surge
    fewer = min(old.present, max(0, least - new.ready))
    more = min(wanted, max(new.present, most - old.present))
    return fewer, more


def workload_actions(
    observed: ServiceObserved, status: InferenceServiceStatus, wanted: dict[int, int]
) -> tuple[Action, ...]:
    """Return what brings each version (by number) to its replicas, and what is of no version any more away."""
    known = {r.number: r for r in (status.revision, status.candidate, status.canary_revision) if r is not None}
    actions: list[Action] = []
    for number, revision in known.items():
        template = (record_of(observed, revision) or {}).get("template")
        actions += _scaled(observed, revision, template, wanted.get(number, 0))
    children = (
        *((Kind.DEPLOYMENT, child) for child in observed.deployments),
        *((Kind.STATEFUL_SET, child) for child in observed.stateful_sets),
    )
    for kind, child in (*children, *_records(observed, status)):
        if revision_of(child) not in (*known, 0) and not child.deleting:
            actions.append(Delete(kind, child.name, child.uid))
    return (*actions, *_looks(observed, status), *_gates(observed, status))


def _records(observed: ServiceObserved, status: InferenceServiceStatus) -> Iterator[tuple[Kind, ChildView]]:
    """Yield the records, files and rank tables of versions long gone; those of the last ones stay to be read."""
    newest = status.last_revision - _KEPT_RECORDS
    for kind, found in ((Kind.REVISION, observed.revisions), (Kind.CONFIG_MAP, observed.config_maps)):
        yield from ((kind, child) for child in found if 0 < revision_of(child) <= newest)


def _looks(observed: ServiceObserved, status: InferenceServiceStatus) -> Iterator[Delete]:
    """Yield the pods that looked at the models of versions that are no more; of the last ones those that ended stay."""
    known = {r.number for r in (status.revision, status.candidate, status.canary_revision) if r is not None}
    for pod in observed.pods:
        stale = pod.role == names.ROLE_INSPECT and pod.revision not in known and not pod.deleting
        if stale and not (pod.finished and pod.revision > status.last_revision - _KEPT_RECORDS):
            yield Delete(Kind.POD, pod.name, pod.uid)


def _gates(observed: ServiceObserved, status: InferenceServiceStatus) -> Iterator[Delete]:
    """Yield the copies of the gate that ask a version that is no more, or that has to answer again first."""
    candidate = status.candidate
    for gate in observed.gates:
        number = revision_of(gate)
        if candidate is not None and number == candidate.number:
            outdated = candidate.answered_time is None
        else:
            outdated = not _is_finished(gate) or number <= status.last_revision - _KEPT_RECORDS
        if outdated and not gate.deleting:
            yield Delete(Kind.EVALUATION, gate.name, gate.uid)


def _is_finished(gate: ChildView) -> bool:
    conditions = (gate.manifest.get("status") or {}).get("conditions") or ()
    ends = (ConditionType.COMPLETE, ConditionType.FAILED)
    return any(c.get("type") in ends and c.get("status") == ConditionStatus.TRUE for c in conditions)


def revision_of(child: ChildView) -> int:
    """Return the number of the version that a child belongs to; 0 when to none."""
    text = (child.manifest["metadata"].get("labels") or {}).get(names.REVISION, "")
    return int(text) if text.isdecimal() else 0


def _scaled(
    observed: ServiceObserved, revision: RevisionStatus, template: dict[str, Any] | None, wanted: int
) -> list[Action]:
    """Return what brings a version to its replicas; without its record (`template`) nothing of it is made anew."""
    number = revision.number
    if revision.nodes > 1:
        return _stateful_sets(observed, revision, template, wanted)
    found = next((d for d in observed.deployments if revision_of(d) == number and not d.deleting), None)
    if found is None:
        if not wanted or template is None:
            return []
        return [Create(Kind.DEPLOYMENT, deployment(observed.service, number, template, wanted))]
    if found.manifest["spec"].get("replicas") == wanted:
        return []
    return [Update(Kind.DEPLOYMENT, found.name, found.uid, {"spec": {"replicas": wanted}})]


def _stateful_sets(
    observed: ServiceObserved, revision: RevisionStatus, template: dict[str, Any] | None, wanted: int
) -> list[Action]:
    number = revision.number
    there = {s.name: s for s in observed.stateful_sets if revision_of(s) == number}
    names_wanted = [names.replica_name(observed.service.base, number, i) for i in range(wanted)]
    made: list[Action] = [
        Create(Kind.STATEFUL_SET, replica_set_of_pods(observed.service, revision, template, i))
        for i, name in enumerate(names_wanted)
        if name not in there and template is not None
    ]
    shrunk: list[Action] = [
        Update(Kind.STATEFUL_SET, s.name, s.uid, {"spec": {"replicas": revision.nodes}})
        for name, s in there.items()
        if name in names_wanted and not s.deleting and s.manifest["spec"].get("replicas") != revision.nodes
    ]
    surplus = (s for name, s in there.items() if name not in names_wanted and not s.deleting)
    return [*made, *shrunk, *(Delete(Kind.STATEFUL_SET, s.name, s.uid) for s in surplus)]
