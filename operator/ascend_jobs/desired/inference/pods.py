"""Pods of a service: the template of a revision, and the pod that looks at the model before any NPU is taken."""

from __future__ import annotations

from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice import Engine, InferenceService
from ascend_jobs.desired.engines.engine import EngineInput, EngineParts, ServedAdapter
from ascend_jobs.desired.inference.source import Source
from ascend_jobs.desired.merge import merged
from ascend_jobs.desired.metadata import child_metadata, job_labels
from ascend_jobs.desired.pods import PodSettings, pull_policy
from ascend_jobs.desired.resources import pod_resources
from ascend_jobs.desired.volumes import location, read_only_volumes

RANK_TABLE_VOLUME = "rank-table-source"
_WAIT_SECONDS = 1800
_HWHIAIUSER = 1000


def engine_input(
    service: InferenceService, source: Source, engine: Engine, *, revision: int, track: str
) -> EngineInput:
    """Return what the engine's arguments and files are made from."""
    spec = service.spec
    return EngineInput(
        engine=engine,
        version=spec.serving.engine_version,
        model_path=location(source.model_uri).path,
        served_name=source.model_name,
        adapters=tuple(ServedAdapter(a.name, location(a.uri).path) for a in source.adapters),
        serving=spec.serving,
        nodes=spec.nodes,
        npus=spec.npus_per_node,
        quantization=spec.model.quantization.method if spec.model.quantization else None,
        head=_head(service, revision),
        files_name=revision_service(service, revision),
    )


def _head(service: InferenceService, revision: int) -> str:
    """Return the DNS name of a replica's first pod; the kubelet fills in the replica's name."""
    return f"$(REPLICA_NAME)-0.{names.group_name(service.base, revision)}.{service.metadata.namespace}.svc"


def revision_service(service: InferenceService, revision: int) -> str:
    """Return the name of a revision's record, files and Service."""
    return names.revision_name(service.base, revision)


def server_labels(service: InferenceService, revision: int, track: str) -> dict[str, str]:
    """Return the labels of a revision's pods; a pod that is a whole replica is the first of it."""
    labels = {
        **job_labels(service),
        names.ROLE: names.ROLE_SERVER,
        names.REVISION: str(revision),
        names.TRACK: track,
    }
    return labels if service.spec.nodes > 1 else {**labels, names.POD_INDEX: "0"}


def server_template(
    service: InferenceService, source: Source, parts: EngineParts, settings: PodSettings, labels: dict[str, str]
) -> dict[str, Any]:
    """Return the pod template of a revision, the user's template laid over."""
    volumes, mounts = read_only_volumes(source.uris)
    given = service.spec.runtime
    memory: dict[str, Any] = {"medium": "Memory"}
    if given.resources.shared_memory:
        memory["sizeLimit"] = given.resources.shared_memory
    volumes += [{"name": "dshm", "emptyDir": memory}, *(dict(volume) for volume in parts.volumes)]
    mounts.append({"name": "dshm", "mountPath": "/dev/shm"})
    image = given.image or settings.image
    start: list[dict[str, Any]] = [dict(container) for container in parts.init_containers]
    if service.spec.nodes > 1:
        start.insert(0, _wait(service, labels[names.REVISION]))
        volumes += [
            {"name": RANK_TABLE_VOLUME, "configMap": {"optional": True}},
            {"name": "rank-table", "emptyDir": {}},
        ]
        mounts.append({"name": "rank-table", "mountPath": names.RANK_TABLE_DIR})
    common = {"image": image, **pull_policy(settings), "terminationMessagePolicy": "FallbackToLogsOnError"}
    server = {
        **parts.container,
        **common,
        "resources": pod_resources(given.resources, service.spec.npus_per_node, settings.resource, settings.share),
        "volumeMounts": [*(parts.container.get("volumeMounts") or []), *mounts],
    }
    template = {
        "metadata": {"labels": labels, "annotations": {}},
        "spec": {
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": parts.grace_seconds,
            "securityContext": {"supplementalGroups": [_HWHIAIUSER], **parts.pod_security},
            "imagePullSecrets": pull_secrets(service, settings),
            "affinity": _one_pod_a_node(labels) if service.spec.nodes > 1 else {},
            "volumes": volumes,
            "initContainers": [{**container, **common} for container in start],
            "containers": [server],
        },
    }
    return _fixed(merged(template, given.pod_template), labels)


def inspect_pod(
    service: InferenceService, source: Source, revision: int, number: int, settings: PodSettings
) -> dict[str, Any]:
    """Return the pod that looks at the model's files; it takes no NPU and holds no cache."""
    volumes, mounts = read_only_volumes(source.uris)
    in_image = any(uri.startswith("file://") for uri in source.uris)
    given = service.spec.runtime.image
    image = given or settings.image if given or in_image or not settings.prepare_image else settings.prepare_image
    adapters = (("--adapter", f"{a.name}={location(a.uri).path}", "--adapter-field", a.field) for a in source.adapters)
    container = {
        "name": names.CONTAINER_INSPECT,
        "image": image,
        **pull_policy(settings),
        "command": ["python", "-m", "ascend_runtime", "inspect", location(source.model_uri).path],
        "args": ["--field", source.field, *(word for adapter in adapters for word in adapter)],
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    labels = {names.ROLE: names.ROLE_INSPECT, names.REVISION: str(revision), names.ATTEMPT: str(number)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": child_metadata(service, names.inspect_name(service.base, revision, number), labels),
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "securityContext": {"supplementalGroups": [_HWHIAIUSER]},
            "imagePullSecrets": pull_secrets(service, settings),
            "volumes": volumes,
            "containers": [container],
        },
    }


def pull_secrets(service: InferenceService, settings: PodSettings) -> list[dict[str, str]]:
    """Return the Secrets for images' registries, the installation's first."""
    secrets = (*settings.pull_secrets, *(secret.name for secret in service.spec.runtime.image_pull_secrets))
    return [{"name": name} for name in dict.fromkeys(secrets)]


def _wait(service: InferenceService, revision: str) -> dict[str, Any]:
    """Return the init container that waits for the replica's rank table."""
    return {
        "name": names.CONTAINER_WAIT,
        "command": ["python", "-m", "ascend_runtime", "wait"],
        "env": [
            {"name": names.ENV_ATTEMPT, "value": "0"},
            _field(names.ENV_POD_NAME, "metadata.name"),
            _field(names.ENV_POD_IP, "status.podIP"),
            {"name": "NNODES", "value": str(service.spec.nodes)},
            {"name": names.ENV_WAIT_SECONDS, "value": str(_WAIT_SECONDS)},
            {"name": names.ENV_RANK_TABLE_SOURCE, "value": names.RANK_TABLE_SOURCE_DIR},
            {"name": "MASTER_ADDR", "value": _head(service, int(revision))},
        ],
        "volumeMounts": [
            {"name": RANK_TABLE_VOLUME, "mountPath": names.RANK_TABLE_SOURCE_DIR, "readOnly": True},
            {"name": "rank-table", "mountPath": names.RANK_TABLE_DIR},
        ],
    }


def _one_pod_a_node(labels: dict[str, str]) -> dict[str, Any]:
    own = {key: labels[key] for key in (names.JOB_UID, names.REVISION, names.ROLE)}
    term = {"labelSelector": {"matchLabels": own}, "topologyKey": "kubernetes.io/hostname"}
    return {
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}
    }


def _fixed(template: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Return the template with the labels that the operator relies on, whatever the user's part says."""
    metadata = template["metadata"]
    return {
        "metadata": {
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": metadata.get("annotations") or {},
        },
        "spec": {**template["spec"], "restartPolicy": "Always"},
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
