"""When the rank table is published, renewed and touched, and when it is ready.

The ConfigMap's content is the truth about what was published; its `version` rises with every change. After a
publication each pod that still waits is touched (an annotation of its own changes), since the kubelet then remounts the
volume in about 0.3 s instead of 60-90. ConfigMap and pod reach the kubelet by two watches, so a touch may come first:
it is repeated after 1, 3 and 10 s while the pod waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionStatus, Reason
from ascend_jobs.api.finetunejob import RankTablePolicy
from ascend_jobs.api.finetunejob_status import RankTableStatus
from ascend_jobs.decide.decision import Verdict
from ascend_jobs.decide.observed import ChildView, Observed, PodView
from ascend_jobs.decide.plan import Action, Create, Event, Kind, Update
from ascend_jobs.decide.profile import ring
from ascend_jobs.desired.configmap import PUBLISHED_AT, rank_table_configmap
from ascend_jobs.desired.pods import needs_rank_table
from ascend_jobs.domain.ranktable import INITIALIZING, Member, missing, rank_table

TOUCHES = (0.0, 1.0, 3.0, 10.0)
"""Seconds after a publication at which pods that still wait are touched."""
_SHOWN = 3
_DIGITS = 15
"""Digits of a version that are read as a number."""


@dataclass(frozen=True)
class TableDecision:
    """What the rank table needs now, and what is said about it."""

    status: RankTableStatus
    verdict: Verdict
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True)
class _Content:
    """What the ConfigMap is to hold, the number of ranks, and the sentence for the condition."""

    data: dict[str, str]
    devices: int
    reason: Reason
    message: str


def decide_rank_table(observed: Observed, pods: Sequence[PodView]) -> TableDecision:
    """Publish for the pods of the present attempt; `pods` is empty while an attempt has not started."""
    status = observed.job.status.rank_table
    if not needs_rank_table(observed.job):
        return TableDecision(
            status, Verdict(ConditionStatus.TRUE, Reason.RANK_TABLE_NOT_NEEDED, "no rank table is needed")
        )
    content = _content(observed, pods)
    current = _current(observed)
    if current is None or not _holds(current, content):
        return _publish(observed, pods, current, content)
    version = version_of(current)
    touches, requeue_after = _touches(observed, pods, version, published_at(current), content)
    known = _known(observed, status, version, content)
    waiting = [pod for pod in pods if not has_passed_wait(pod)]
    if pods and not waiting and content.reason is not Reason.ALLOCATING:
        reason = Reason.RANK_TABLE_READY if content.devices else Reason.RANK_TABLE_UNAVAILABLE
        ready = known.evolve(ready_time=known.ready_time or observed.now)
        return TableDecision(ready, Verdict(ConditionStatus.TRUE, reason, content.message))
    verdict = Verdict(ConditionStatus.FALSE, content.reason, content.message)
    return TableDecision(known, verdict, touches, requeue_after=requeue_after)


def has_passed_wait(pod: PodView) -> bool:
    """Say whether a pod's init container has the table."""
    wait = pod.container(names.CONTAINER_WAIT)
    return pod.finished or (wait is not None and wait.exit_code == 0)


def _content(observed: Observed, pods: Sequence[PodView]) -> _Content:
    spec, attempt = observed.job.spec, observed.job.status.attempt
    base = {names.RANK_TABLE_KEY: INITIALIZING, names.RANK_TABLE_ATTEMPT_KEY: str(attempt.number)}
    if not attempt.all_pods_seen or len(pods) < spec.nodes:
        return _Content(base, 0, Reason.ALLOCATING, "waits for all pods")
    members = [Member(p.index, p.name, p.uid, p.ip, p.host_ip, p.node, p.annotations) for p in pods]
    lacking = missing(members, spec.npus_per_node)
    if lacking:
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        return _Content(base, 0, Reason.ALLOCATING, "; ".join(lacking[:_SHOWN]) + more)
    table = rank_table(members)
    if table.unaddressed and spec.runtime.rank_table is RankTablePolicy.AUTO:
        message = f"no valid device IP: {', '.join(table.unaddressed[:_SHOWN])}; starts through MASTER_ADDR alone"
        return _Content({**base, names.RANK_TABLE_SKIP_KEY: message}, 0, Reason.RANK_TABLE_UNAVAILABLE, message)
    if table.unaddressed:
        message = f"no valid device IP: {', '.join(table.unaddressed[:_SHOWN])}; rankTable Always waits for it"
        return _Content(base, 0, Reason.ALLOCATING, message)
    data = {**base, names.RANK_TABLE_KEY: table.document}
    return _Content(data, table.devices, Reason.RANK_TABLE_PUBLISHED, f"{table.devices} ranks on {len(pods)} pods")


def _publish(
    observed: Observed, pods: Sequence[PodView], current: ChildView | None, content: _Content
) -> TableDecision:
    """Write the content with the next version, then touch every pod that waits."""
    job, now = observed.job, observed.now.timestamp()
    seen = version_of(current) if current else -1
    version = max(seen, job.status.rank_table.version) + 1
    data = {**content.data, names.RANK_TABLE_VERSION_KEY: str(version)}
    manifest = rank_table_configmap(job, job.base, data, ring(observed), now)
    if current is None:
        write: Action = Create(Kind.CONFIG_MAP, manifest)
    else:
        gone = {key: None for key in current.manifest.get("data") or {} if key not in data}
        patch = {"metadata": {"annotations": manifest["metadata"]["annotations"]}, "data": {**data, **gone}}
        write = Update(Kind.CONFIG_MAP, current.name, current.uid, patch, current.version)
    touches, requeue_after = _touches(observed, pods, version, now, content)
    events: tuple[Event, ...] = ()
    if content.reason is not Reason.ALLOCATING:
        warning = content.reason is Reason.RANK_TABLE_UNAVAILABLE
        events = (Event(content.reason, f"version {version}: {content.message}", warning=warning),)
    verdict = Verdict(ConditionStatus.FALSE, content.reason, content.message)
    return TableDecision(job.status.rank_table, verdict, (write, *touches), events, requeue_after)


def _touches(
    observed: Observed, pods: Sequence[PodView], version: int, published_at: float, content: _Content
) -> tuple[tuple[Action, ...], float | None]:
    """Return the touches that are due and seconds until the next ones."""
    if content.reason is Reason.ALLOCATING:
        return (), None
    elapsed = observed.now.timestamp() - published_at
    due = sum(elapsed >= moment for moment in TOUCHES) - 1
    mark = f"{version}.{max(due, 0)}"
    waiting = [pod for pod in pods if not has_passed_wait(pod)]
    behind = [pod for pod in waiting if pod.annotations.get(names.RANK_TABLE_TOUCH) != mark]
    patch = {"metadata": {"annotations": {names.RANK_TABLE_TOUCH: mark}}}
    following = [moment - elapsed for moment in TOUCHES if moment > elapsed]
    requeue_after = following[0] if waiting and following else None
    return tuple(Update(Kind.POD, pod.name, pod.uid, patch) for pod in behind), requeue_after


def _known(observed: Observed, status: RankTableStatus, version: int, content: _Content) -> RankTableStatus:
    """Return the status of a table that was seen published; a new version is not ready yet."""
    ready = status.ready_time if status.version == version else None
    if content.reason is not Reason.RANK_TABLE_PUBLISHED:
        return RankTableStatus(version=version, ready_time=ready)
    digest = hashlib.sha256(content.data[names.RANK_TABLE_KEY].encode()).hexdigest()
    return RankTableStatus(version=version, devices=content.devices, sha256=digest, ready_time=ready)


def _current(observed: Observed) -> ChildView | None:
    name = names.rank_table_name(observed.job.base)
    return next((c for c in observed.config_maps if c.name == name and not c.deleting), None)


def _holds(current: ChildView, content: _Content) -> bool:
    data = dict(current.manifest.get("data") or {})
    data.pop(names.RANK_TABLE_VERSION_KEY, None)
    return version_of(current) >= 0 and data == content.data


def version_of(current: ChildView) -> int:
    """Return the published version, -1 when somebody wrote something else there."""
    text = (current.manifest.get("data") or {}).get(names.RANK_TABLE_VERSION_KEY, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else -1


def published_at(current: ChildView) -> float:
    """Return when a table was published, in Unix seconds; 0 when somebody took that away."""
    text = (current.manifest["metadata"].get("annotations") or {}).get(PUBLISHED_AT, "")
    try:
        return float(text)
    except ValueError:
        return 0.0
