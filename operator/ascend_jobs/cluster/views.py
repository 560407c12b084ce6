"""API objects as the frozen values that decisions are made from; what is not needed is not kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ascend_jobs import names
from ascend_jobs.decide.observed import ChildView, ContainerView, NodeView, PodPhase, PodView
from ascend_jobs.decide.plan import Manifest
from ascend_jobs.domain.accelerators import RESOURCES

_KEPT_ANNOTATIONS = (
    names.HCCL_RANK_INDEX,
    names.ASCEND_REAL,
    names.KUBELET_DEVICES,
    names.MINDCLUSTER_DEVICES,
    names.CCE_DEVICES,
    names.RANK_TABLE_TOUCH,
    names.PROXY_CONFIG,
)
_PHASES: Mapping[str, PodPhase] = {phase.value: phase for phase in PodPhase}
_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTPE", start=1)
}


def pod_view(manifest: Manifest) -> PodView:
    """Return what is kept of a pod."""
    meta, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    labels = meta.get("labels") or {}
    annotations = meta.get("annotations") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    placed = conditions.get("PodScheduled", {})
    return PodView(
        name=meta["name"],
        uid=meta["uid"],
        role=labels.get(names.ROLE, ""),
        attempt=_number(labels.get(names.ATTEMPT)),
        index=_number(labels.get(names.RANK_INDEX) or labels.get(names.POD_INDEX)),
        ready=conditions.get("Ready", {}).get("status") == "True",
        revision=_number(labels.get(names.REVISION)),
        replica=_number(labels.get(names.REPLICA)),
        phase=_PHASES.get(status.get("phase", "Pending"), PodPhase.UNKNOWN),
        created=_time(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
        node=spec.get("nodeName", ""),
        ip=status.get("podIP", ""),
        host_ip=status.get("hostIP", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        scheduling_message=placed.get("message", "") if placed.get("status") == "False" else "",
        disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        annotations={key: annotations[key] for key in _KEPT_ANNOTATIONS if key in annotations},
        containers=_containers(spec, status),
    )


def child_view(manifest: Manifest) -> ChildView:
    """Return a child whole, but for the record of who managed which field."""
    meta = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return ChildView(
        name=meta["name"],
        uid=meta["uid"],
        version=meta.get("resourceVersion", ""),
        manifest={**manifest, "metadata": meta},
        deleting="deletionTimestamp" in meta,
    )


def node_view(manifest: Manifest) -> NodeView:
    """Return what is kept of a node; `npus` has the whole-chip resources that it offers and is empty elsewhere."""
    meta, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    offered = status.get("allocatable") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    npus = {name: int(parse_quantity(offered[name])) for name in RESOURCES if name in offered}
    return NodeView(
        name=meta["name"],
        ready=conditions.get("Ready", {}).get("status") == "True",
        schedulable=not spec.get("unschedulable", False),
        labels=(meta.get("labels") or {}) if npus else {},
        npus=npus,
        cpu=parse_quantity(offered.get("cpu", "0")),
        memory=int(parse_quantity(offered.get("memory", "0"))),
    )


def requested_npus(manifest: Manifest) -> Mapping[str, int]:
    """Return the NPUs that a pod holds, by resource name.

    The larger of its containers' sum and its largest init container (Kubernetes docs, Init Containers, Resource
    sharing); for extended resources requests equal limits.
    """
    spec = manifest.get("spec") or {}
    held: dict[str, int] = {}
    for name in RESOURCES:
        running = sum(_limit(container, name) for container in spec.get("containers") or ())
        starting = max((_limit(container, name) for container in spec.get("initContainers") or ()), default=0)
        if running or starting:
            held[name] = max(running, starting)
    return held


def parse_quantity(text: str | int) -> float:
    """Return a Kubernetes quantity as a number (`500m` is 0.5, `1Ki` 1024); 0 for what is no quantity."""
    text = str(text)
    digits = text.rstrip("numkKMGTPEi")
    try:
        return float(digits) * _UNITS[text[len(digits) :]]
    except (KeyError, ValueError):
        return 0.0


def _containers(spec: Manifest, status: Manifest) -> tuple[ContainerView, ...]:
    """Return the states that the kubelet reported, init containers first, in the order of the spec."""
    reported = {c["name"]: c for key in ("initContainerStatuses", "containerStatuses") for c in status.get(key) or ()}
    if not reported:
        return ()
    order = (c["name"] for key in ("initContainers", "containers") for c in spec.get(key) or ())
    return tuple(_container(reported[name]) for name in order if name in reported)


def _container(status: Manifest) -> ContainerView:
    state: Mapping[str, Any] = status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    earlier = (status.get("lastState") or {}).get("terminated") or {}
    return ContainerView(
        name=status["name"],
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        running="running" in state,
        exit_code=ended.get("exitCode"),
        exit_reason=(ended or earlier).get("reason", ""),
        exit_message=(ended or earlier).get("message", ""),
        restarts=status.get("restartCount", 0),
        ended=_time(ended.get("finishedAt")),
    )


def _limit(container: Manifest, name: str) -> int:
    limits: Mapping[str, str] = (container.get("resources") or {}).get("limits") or {}
    return int(parse_quantity(limits.get(name, "0")))


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
