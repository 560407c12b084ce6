"""Values for tests: a valid default each, and keywords for what a case is about."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.base import parse_leniently
from ascend_jobs.api.conditions import ConditionType
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus
from ascend_jobs.decide.observed import ChildView, ContainerView, Defaults, NodeView, Observed, PodPhase, PodView

FINE_TUNE_CONDITIONS = [
    type_
    for type_ in ConditionType
    if type_ not in (ConditionType.MODEL_READY, ConditionType.PROGRESSING, ConditionType.ACCEPTED)
]
"""Conditions of a FineTuneJob, in the order of the first write."""

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
UID = "11111111-2222-4333-8444-555555555555"


def at(seconds: float) -> datetime:
    """NOW and so many seconds."""
    return NOW + timedelta(seconds=seconds)


def make_body(name: str = "faq", *, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A FineTuneJob as the API server has it; `spec` is laid over a valid one."""
    base = {
        "model": {"uri": "pvc://models/base"},
        "dataset": {"uri": "pvc://data/faq.jsonl"},
        "output": {"uri": "pvc://models/faq"},
    }
    meta = {
        "name": name,
        "namespace": "team-a",
        "uid": UID,
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T12:00:00Z",
        **metadata,
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.FINE_TUNE_JOB,
        "metadata": meta,
        "spec": {**base, **(spec or {})},
    }


def make_job(name: str = "faq", *, status: dict[str, Any] | None = None, **spec: Any) -> FineTuneJob:
    """A job; keywords are fields of the spec as users write them, `status` is the status as JSON."""
    return FineTuneJob.parse({**make_body(name, spec=spec), "status": status or {}})


def read_status(raw: Any) -> FineTuneJobStatus:
    """A FineTuneJob's status from JSON."""
    return parse_leniently(FineTuneJobStatus, dict(raw))


def make_report(name: str, uid: str, host_ip: str, devices: list[int], *, server: str | None = None) -> dict[str, str]:
    """The annotation that MindCluster's device plugin writes."""
    last = host_ip.rsplit(".", 1)[-1]
    report = {
        "pod_name": name,
        "server_id": server or uid,
        "host_ip": host_ip,
        "super_pod_id": -2,
        "devices": [{"device_id": str(d), "device_ip": f"192.168.{last}.{d + 10}"} for d in devices],
    }
    return {names.MINDCLUSTER_DEVICES: json.dumps(report)}


def make_pod(
    index: int = 0,
    phase: PodPhase = PodPhase.RUNNING,
    *,
    attempt: int = 0,
    role: str = names.ROLE_WORKER,
    devices: list[int] | None = None,
    waited: bool = True,
    **changes: Any,
) -> PodView:
    """A worker on a node of its own, by default running with one device."""
    name = f"faq-ftj-{attempt}-worker-{index}" if role == names.ROLE_WORKER else f"faq-ftj-prepare-{attempt}"
    uid = f"{index:08d}-0000-4000-8000-{attempt:012d}"
    host = f"10.0.0.{index + 1}"
    running = phase is PodPhase.RUNNING
    main = names.CONTAINER_TRAINER if role == names.ROLE_WORKER else names.CONTAINER_PREPARE
    containers = (ContainerView(main, running=running and waited),)
    if role == names.ROLE_WORKER:
        wait = (
            ContainerView(names.CONTAINER_WAIT, exit_code=0)
            if waited
            else ContainerView(names.CONTAINER_WAIT, running=True)
        )
        containers = (wait, *containers)
    values: dict[str, Any] = {
        "name": name,
        "uid": uid,
        "role": role,
        "attempt": attempt,
        "index": index,
        "phase": phase,
        "created": NOW,
        "node": f"node-{index}",
        "ip": f"10.244.{index}.5",
        "host_ip": host,
        "annotations": make_report(name, uid, host, devices if devices is not None else [0]),
        "containers": containers,
    }
    return PodView(**{**values, **changes})


def ended(pod: PodView, code: int, message: str = "", *, reason: str = "Error", container: str = "") -> PodView:
    """The pod after its main container exited."""
    from dataclasses import replace

    name = container or pod.containers[-1].name
    rest = tuple(c for c in pod.containers if c.name != name)
    gone = ContainerView(name, exit_code=code, exit_reason=reason if code else "Completed", exit_message=message)
    return replace(pod, phase=PodPhase.SUCCEEDED if code == 0 else PodPhase.FAILED, containers=(*rest, gone))


def make_node(index: int = 0, *, ready: bool = True, npus: int = 8, kind: str = "module-910b-8") -> NodeView:
    """A node with eight 910B, 192 cores and 1.5 TiB."""
    labels = {names.ACCELERATOR_TYPE_LABEL: kind}
    return NodeView(f"node-{index}", ready, True, labels, {names.ASCEND_910: npus}, 192.0, 3 << 39)


def make_child(manifest: dict[str, Any], version: str = "7") -> ChildView:
    """A child as the cache has it."""
    return ChildView(manifest["metadata"]["name"], f"uid-{manifest['metadata']['name']}", version, manifest)


def make_observed(job: FineTuneJob | None = None, *pods: PodView, now: datetime = NOW, **changes: Any) -> Observed:
    """What a pass knows; two nodes and an installation with images."""
    values: dict[str, Any] = {
        "job": job or make_job(),
        "now": now,
        "pods": pods,
        "nodes": (make_node(0), make_node(1)),
        "missing_claims": (),
        "defaults": Defaults(image="registry.example.com/runtime:1"),
    }
    return Observed(**{**values, **changes})
