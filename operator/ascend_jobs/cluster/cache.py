"""What the cluster looks like: jobs, their children, nodes. It tells the truth or says nothing.

Nothing is read from it before every kind was listed once (see the engine's readiness). Children belong to a job by the
uid in their label, never by name. A change of what is kept wakes the key of the job that it belongs to; heartbeats and
managed fields wake nobody.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from time import monotonic
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionType
from ascend_jobs.cluster.needs import Needs
from ascend_jobs.cluster.store import Key, Store
from ascend_jobs.cluster.verbs import CHILDREN, JOBS, NODES, Resource
from ascend_jobs.cluster.views import child_view, node_view, pod_view
from ascend_jobs.decide.observed import ChildView, NodeView, PodView, RivalView
from ascend_jobs.decide.plan import Kind, Manifest

_TERMINAL = (ConditionType.COMPLETE, ConditionType.FAILED)
_REMEMBERED = 10_000
"""Ended jobs whose children a leader still has to delete; beyond that the garbage collector does it alone."""


class Cache:
    """The stores of all kinds, and what is derived from them."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        """Take whom to tell that a job's world changed."""
        self._wake = wake
        self.jobs = {
            kind: Store(_stripped, _job_identity(kind), self._job_changed, same=_same_object, final=True)
            for kind in JOBS
        }
        self.pods: Store[PodView] = Store(pod_view, _child_identity, self._pod_changed)
        self.children: dict[Kind, Store[ChildView]] = {
            kind: Store(child_view, _child_identity, self._child_changed, same=_same_child)
            for kind in Kind
            if kind not in (Kind.POD, Kind.EVALUATION)
        }
        self.nodes: Store[NodeView] = Store(node_view, _node_identity, self._node_changed)
        self._uids: dict[Key, str] = {}
        self._rivals: dict[str, dict[str, tuple[Key, RivalView]]] = {}
        self._needs = Needs()
        self._made: dict[str, dict[str, Key]] = {}
        self._ended: OrderedDict[Key, set[str]] = OrderedDict()
        self._reported: dict[str, float] = {}

    def store_of(self, resource: Resource) -> Store[Any]:
        """Return the store that takes in objects of a resource."""
        kind = next((kind for kind, child in CHILDREN.items() if child == resource), None)
        if kind is not None:
            return self.child_store(kind)
        if resource == NODES:
            return self.nodes
        return next(self.jobs[short] for short, job in JOBS.items() if job == resource)

    def child_store(self, kind: Kind) -> Store[Any]:
        """Return the store of a kind of child."""
        if kind is Kind.EVALUATION:
            return self.jobs[names.EVALUATION_SHORT]
        return self.pods if kind is Kind.POD else self.children[kind]

    def job(self, key: Key) -> Manifest | None:
        """Return a job as last seen, None when there is none of that name."""
        uid = self._uids.get(key)
        return None if uid is None else self.jobs[key.kind].find(uid)

    def rivals(self, namespace: str, uid: str) -> tuple[RivalView, ...]:
        """Return the other jobs of a namespace that are not terminal."""
        return tuple(rival for _, rival in self._rivals.get(namespace, {}).values() if rival.uid != uid)

    def made(self, uid: str) -> tuple[ChildView, ...]:
        """Return the jobs that another one made (the gates of a service's rollouts)."""
        keys = self._made.get(uid, {})
        bodies = (self.jobs[key.kind].find(made) for made, key in keys.items())
        return tuple(child_view(body) for body in bodies if body is not None)

    def ended(self, key: Key) -> tuple[str, ...]:
        """Return the uids of jobs that had this key and were seen deleted; they may have left children."""
        return tuple(self._ended.get(key, ()))

    def forget(self, key: Key, uid: str) -> None:
        """Take in that the children of an ended job were deleted."""
        uids = self._ended.get(key, set())
        uids.discard(uid)
        if not uids:
            self._ended.pop(key, None)

    def last_report(self, uid: str) -> float | None:
        """Return when (monotonic seconds) the last device report of a job's pods was first seen; None before any."""
        moments = [self._reported[pod.uid] for pod in self.pods.owned(uid) if pod.uid in self._reported]
        return max(moments, default=None)

    def phases(self) -> Mapping[tuple[str, str], int]:
        """Return the number of jobs by (kind, phase)."""
        return Counter((key.kind, _phase(body)) for store in self.jobs.values() for key, body in store)

    def _job_changed(self, key: Key, old: Manifest | None, new: Manifest | None) -> None:
        body = new or old or {}
        uid = body["metadata"]["uid"]
        if new is not None:
            self._uids[key] = uid
        else:
            self._end_job(key, uid)
        if key.kind == names.FINE_TUNE_SHORT:
            self._keep_rival(key, uid, new)
        self._needs.keep(key, new)
        self._wake(key)
        for other in self._needs.dependents(key):
            self._wake(other)
        maker = _maker(body)
        if maker is not None:
            self._keep_made(body["metadata"]["labels"][names.JOB_UID], uid, key if new is not None else None)
            self._wake(maker)

    def _end_job(self, key: Key, uid: str) -> None:
        if self._uids.get(key) == uid:
            del self._uids[key]
        self._ended.setdefault(key, set()).add(uid)
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _keep_made(self, maker: str, uid: str, key: Key | None) -> None:
        made = self._made.setdefault(maker, {})
        if key is not None:
            made[uid] = key
        else:
            made.pop(uid, None)
        if not made:
            del self._made[maker]

    def _keep_rival(self, key: Key, uid: str, body: Manifest | None) -> None:
        """Keep the list of rivals true; whoever waited for an output that became free is woken."""
        rivals = self._rivals.setdefault(key.namespace, {})
        before = rivals.pop(uid, None)
        if body is not None and not _is_terminal(body):
            rivals[uid] = (key, _rival(body))
        elif before is not None:
            for other, rival in rivals.values():
                if rival.output == before[1].output:
                    self._wake(other)
        if not rivals:
            del self._rivals[key.namespace]

    def _pod_changed(self, key: Key, old: PodView | None, new: PodView | None) -> None:
        if new is None and old is not None:
            self._reported.pop(old.uid, None)
        elif new is not None and new.uid not in self._reported and _has_report(new):
            self._reported[new.uid] = monotonic()
        self._wake(key)

    def _child_changed(self, key: Key, old: ChildView | None, new: ChildView | None) -> None:
        self._wake(key)

    def _node_changed(self, key: Key, old: NodeView | None, new: NodeView | None) -> None:
        """Wake the jobs that have pods on a node; the scheduler tells the others by their pods."""
        for owner in {pod_key for pod_key, pod in self.pods if pod.node == key.name}:
            self._wake(owner)


def _job_identity(kind: str) -> Callable[[Manifest], tuple[Key, str]]:
    def identity(manifest: Manifest) -> tuple[Key, str]:
        meta = manifest["metadata"]
        return Key(kind, meta["namespace"], meta["name"]), meta["uid"]

    return identity


def _maker(body: Manifest) -> Key | None:
    """Return who made a job that is a child itself (the gate of a rollout), by its labels."""
    labels = body["metadata"].get("labels") or {}
    if names.JOB_UID not in labels:
        return None
    return Key(labels.get(names.JOB_KIND, ""), body["metadata"]["namespace"], labels.get(names.JOB_NAME, ""))


def _child_identity(manifest: Manifest) -> tuple[Key, str]:
    meta = manifest["metadata"]
    labels = meta.get("labels") or {}
    key = Key(labels.get(names.JOB_KIND, ""), meta["namespace"], labels.get(names.JOB_NAME, ""))
    return key, labels.get(names.JOB_UID, "")


def _node_identity(manifest: Manifest) -> tuple[Key, str]:
    return Key("", "", manifest["metadata"]["name"]), ""


def _stripped(manifest: Manifest) -> Manifest:
    meta = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return {**manifest, "metadata": meta}


def _same_object(one: Manifest, other: Manifest) -> bool:
    return all(one.get(key) == other.get(key) for key in {*one, *other} - {"metadata"}) and (
        dict(_without_version(one)) == dict(_without_version(other))
    )


def _same_child(one: ChildView, other: ChildView) -> bool:
    return _same_object(one.manifest, other.manifest)


def _without_version(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in manifest["metadata"].items() if key != "resourceVersion")


def _is_terminal(body: Manifest) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in _TERMINAL and c.get("status") == "True" for c in conditions)


def _rival(body: Manifest) -> RivalView:
    meta, spec = body["metadata"], body.get("spec") or {}
    return RivalView(
        name=meta["name"],
        uid=meta["uid"],
        created=datetime.fromisoformat(meta["creationTimestamp"]),
        output=str((spec.get("output") or {}).get("uri", "")).rstrip("/"),
    )


def _phase(body: Manifest) -> str:
    return str((body.get("status") or {}).get("phase") or "Pending")


def _has_report(pod: PodView) -> bool:
    return names.MINDCLUSTER_DEVICES in pod.annotations or names.CCE_DEVICES in pod.annotations
