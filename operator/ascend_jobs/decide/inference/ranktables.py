"""A rank table for each replica that spans pods: published when all its pods have devices, renewed when one is lost.

What is published and how it reaches the containers at once is as for jobs (decide/ranktable.py). A pod that is lost
takes the whole replica with it: every rank takes part in every collective, so the pods that had the old table are
deleted, their StatefulSet makes new ones, and these wait for the new table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionStatus, Reason
from ascend_jobs.api.inferenceservice_status import RevisionStatus
from ascend_jobs.decide.decision import Verdict
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.workloads import replicas
from ascend_jobs.decide.observed import ChildView, PodView
from ascend_jobs.decide.plan import Action, Create, Delete, Event, Kind, Update
from ascend_jobs.decide.ranktable import TOUCHES, has_passed_wait, published_at, version_of
from ascend_jobs.desired.configmap import rank_table_configmap
from ascend_jobs.domain.accelerators import families_of
from ascend_jobs.domain.ranktable import INITIALIZING, Member, missing, rank_table

_DEFAULT_RING = "ascend-910b"


@dataclass(frozen=True)
class Tables:
    """What the tables of all replicas need now, and what is said about them."""

    verdict: Verdict
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True)
class _Table:
    """What one replica's ConfigMap is to hold; `waits` says why it is not complete."""

    data: dict[str, str]
    waits: str


def decide_rank_tables(observed: ServiceObserved, revisions: Sequence[RevisionStatus | None]) -> Tables:
    """Return what brings every replica's table to what its pods are; ready when every pod has its own."""
    spanning = [r for r in revisions if r is not None and r.nodes > 1]
    if not spanning:
        words = "a replica is one pod: no rank table is needed"
        return Tables(Verdict(ConditionStatus.TRUE, Reason.RANK_TABLE_NOT_NEEDED, words))
    actions: list[Action] = []
    events: list[Event] = []
    waits: list[str] = []
    dues: list[float] = []
    groups = [(r, *item) for r in spanning for item in replicas(observed, r).items()]
    for revision, name, pods in groups:
        table = _table(revision, pods)
        current = next((c for c in observed.config_maps if c.name == names.rank_table_name(name)), None)
        if current is None or not _holds(current, table):
            written, event = _publish(observed, (revision, name), pods, current, table)
            actions += written
            events += [event] if event else []
            dues.append(TOUCHES[1])
        else:
            touched, due = _touches(observed, pods, current, table)
            actions += [*_torn(pods, table), *touched]
            dues += [due] if due is not None else []
        behind = table.waits or (f"{name}: on its way" if any(not has_passed_wait(p) for p in pods) else "")
        waits += [behind] if behind else []
    if not groups:
        verdict = Verdict(ConditionStatus.FALSE, Reason.ALLOCATING, "waits for pods")
    elif waits:
        verdict = Verdict(ConditionStatus.FALSE, Reason.ALLOCATING, "; ".join(waits[:3]))
    else:
        verdict = Verdict(ConditionStatus.TRUE, Reason.RANK_TABLE_READY, f"in every pod of {len(groups)} replicas")
    return Tables(verdict, tuple(actions), tuple(events), min(dues, default=None))


def _table(revision: RevisionStatus, pods: tuple[PodView, ...]) -> _Table:
    base = {names.RANK_TABLE_KEY: INITIALIZING, names.RANK_TABLE_ATTEMPT_KEY: "0"}
    if len(pods) < revision.nodes:
        return _Table(base, f"{len(pods)} of {revision.nodes} pods are there")
    members = [Member(p.index, p.name, p.uid, p.ip, p.host_ip, p.node, p.annotations) for p in pods]
    lacking = missing(members, revision.npus_per_node)
    if lacking:
        return _Table(base, "; ".join(lacking[:3]))
    return _Table({**base, names.RANK_TABLE_KEY: rank_table(members).document}, "")


def _publish(
    observed: ServiceObserved,
    replica: tuple[RevisionStatus, str],
    pods: tuple[PodView, ...],
    current: ChildView | None,
    table: _Table,
) -> tuple[list[Action], Event | None]:
    """Write the table with the next version; pods that run with an older one go, for their group is no more.

    They go first: an operator that is killed in between finds the old table, and does it again.
    """
    revision, name = replica
    now = observed.now.timestamp()
    version = (version_of(current) if current else -1) + 1
    data = {**table.data, names.RANK_TABLE_VERSION_KEY: str(version)}
    found = families_of(node.labels for node in observed.nodes)
    ring = found[0].ring if found else _DEFAULT_RING
    manifest = rank_table_configmap(observed.service, name, data, ring, now)
    manifest["metadata"]["labels"][names.REVISION] = str(revision.number)
    if current is None:
        write: Action = Create(Kind.CONFIG_MAP, manifest)
    else:
        patch = {"metadata": {"annotations": manifest["metadata"]["annotations"]}, "data": data}
        write = Update(Kind.CONFIG_MAP, current.name, current.uid, patch, current.version)
    was_complete = current is not None and '"completed"' in str((current.manifest.get("data") or {}).values())
    doomed = _doomed(pods) if was_complete else _torn(pods, table)
    actions: list[Action] = [*doomed, write]
    if not table.waits:
        return [*actions, *_touch(pods, f"{version}.0")], Event(
            Reason.RANK_TABLE_PUBLISHED, f"{name}: version {version}"
        )
    if doomed:
        lost = Event(Reason.POD_LOST, f"{name} lost a pod and starts anew: {table.waits}", warning=True)
        return actions, lost
    return actions, None


def _doomed(pods: Sequence[PodView]) -> list[Action]:
    return [Delete(Kind.POD, p.name, p.uid) for p in pods if has_passed_wait(p)]


def _torn(pods: Sequence[PodView], table: _Table) -> list[Action]:
    """Return the end of the pods that run although their replica has no whole table: they had an earlier one."""
    return _doomed(pods) if table.waits else []


def _touches(
    observed: ServiceObserved, pods: tuple[PodView, ...], current: ChildView, table: _Table
) -> tuple[list[Action], float | None]:
    if table.waits:
        return [], None
    elapsed = observed.now.timestamp() - published_at(current)
    due = sum(elapsed >= moment for moment in TOUCHES) - 1
    waiting = tuple(p for p in pods if not has_passed_wait(p))
    following = [moment - elapsed for moment in TOUCHES if moment > elapsed]
    return _touch(waiting, f"{version_of(current)}.{max(due, 0)}"), following[0] if waiting and following else None


def _touch(pods: Sequence[PodView], mark: str) -> list[Action]:
    patch = {"metadata": {"annotations": {names.RANK_TABLE_TOUCH: mark}}}
    behind = (p for p in pods if not has_passed_wait(p) and p.annotations.get(names.RANK_TABLE_TOUCH) != mark)
    return [Update(Kind.POD, p.name, p.uid, patch) for p in behind]


def _holds(current: ChildView, table: _Table) -> bool:
    data = dict(current.manifest.get("data") or {})
    data.pop(names.RANK_TABLE_VERSION_KEY, None)
    return version_of(current) >= 0 and data == table.data
