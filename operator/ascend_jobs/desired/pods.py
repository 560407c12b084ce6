"""Pods: the template of an attempt, the pod of a rank made from it, and the prepare pod.

The template holds all that ranks share; what differs (name, hostname, rank index) is patched in, and NODE_RANK reaches
the container through the annotation hccl/rankIndex. Environment as docs/contract.md describes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob, RankTablePolicy
from ascend_jobs.desired.config import phase_config
from ascend_jobs.desired.merge import merged
from ascend_jobs.desired.metadata import child_metadata, job_labels
from ascend_jobs.desired.resources import trainer_resources
from ascend_jobs.desired.volumes import claim_volumes, location, uris, workspace_uri

_WAIT_SECONDS = 1800
"""How long ranks wait for each other's devices; image pulls of 15-40 GB take up to 20 minutes."""
_GRACE_SECONDS = 30
_HWHIAIUSER = 1000
"""Group of the driver's device files (CANN installation guide: HwHiAiUser, gid 1000)."""
_SET_ENV = (
    "for f in /usr/local/Ascend/cann/set_env.sh /usr/local/Ascend/ascend-toolkit/set_env.sh"
    " /usr/local/Ascend/nnal/atb/set_env.sh; do if [ -f $f ]; then . $f; fi; done"
)


@dataclass(frozen=True)
class PodSettings:
    """What an installation and a cluster give to pods: images, pull policy and secrets, resource name, requests."""

    image: str
    prepare_image: str
    pull_policy: str
    pull_secrets: tuple[str, ...]
    resource: str
    share: dict[str, str]


def needs_rank_table(job: FineTuneJob) -> bool:
    """Say whether containers are to get a rank table: with several nodes, unless the spec says otherwise."""
    policy = job.spec.runtime.rank_table
    return policy is RankTablePolicy.ALWAYS or (policy is RankTablePolicy.AUTO and job.spec.nodes > 1)


def trainer_image(job: FineTuneJob, settings: PodSettings) -> str:
    """Return the image of the training pods, "" when neither the spec nor the installation names one."""
    return job.spec.runtime.image or settings.image


def prepare_image(job: FineTuneJob, settings: PodSettings) -> str:
    """Return the prepare pod's image: the trainer's if the spec names it or has file:// URIs, else the CPU one."""
    in_image = any(uri.startswith("file://") for uri in uris(job).values())
    if job.spec.runtime.image or in_image or not settings.prepare_image:
        return trainer_image(job, settings)
    return settings.prepare_image


def worker_template(job: FineTuneJob, attempt: int, settings: PodSettings) -> dict[str, Any]:
    """Return labels, annotations and spec of an attempt's pods, the user's template laid over."""
    volumes, mounts = claim_volumes(job)
    shared_memory: dict[str, Any] = {"medium": "Memory"}
    if job.spec.runtime.resources.shared_memory:
        shared_memory["sizeLimit"] = job.spec.runtime.resources.shared_memory
    volumes.append({"name": "dshm", "emptyDir": shared_memory})
    mounts.append({"name": "dshm", "mountPath": "/dev/shm"})
    waits = job.spec.nodes > 1 or needs_rank_table(job)
    if needs_rank_table(job):
        volumes += _rank_table_volumes(job)
        mounts.append({"name": "rank-table", "mountPath": names.RANK_TABLE_DIR})
    labels = {**job_labels(job), names.ROLE: names.ROLE_WORKER, names.ATTEMPT: str(attempt)}
    template = {
        "metadata": {"labels": labels, "annotations": {}},
        "spec": {
            **_pod_spec(job, settings, volumes),
            "affinity": _one_pod_a_node(labels) if job.spec.nodes > 1 else {},
            "initContainers": [_wait(job, attempt, settings)] if waits else [],
            "containers": [_trainer(job, attempt, settings, mounts)],
        },
    }
    return _fixed(merged(template, job.spec.runtime.pod_template), labels)


def worker_pod(job: FineTuneJob, attempt: int, index: int, template: dict[str, Any]) -> dict[str, Any]:
    """Return the pod of one rank."""
    name = names.worker_name(job.base, attempt, index)
    metadata = child_metadata(job, name, {**template["metadata"]["labels"], names.RANK_INDEX: str(index)})
    metadata["annotations"] = {**template["metadata"]["annotations"], names.HCCL_RANK_INDEX: str(index)}
    spec = {**template["spec"], "hostname": names.worker_hostname(job.base, index)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def prepare_pod(job: FineTuneJob, number: int, settings: PodSettings) -> dict[str, Any]:
    """Return the pod that checks inputs and tokenises; it takes no NPU."""
    volumes, mounts = claim_volumes(job)
    container = {
        "name": names.CONTAINER_PREPARE,
        "image": prepare_image(job, settings),
        **pull_policy(settings),
        "command": ["python", "-m", "ascend_runtime", "prepare"],
        "env": [_value(names.ENV_CONFIG, phase_config(job)), *_common_env(number)],
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    name = names.prepare_name(job.base, number)
    metadata = child_metadata(job, name, {names.ROLE: names.ROLE_PREPARE, names.ATTEMPT: str(number)})
    spec = {**_pod_spec(job, settings, volumes), "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _pod_spec(job: FineTuneJob, settings: PodSettings, volumes: list[dict[str, Any]]) -> dict[str, Any]:
    secrets = (*settings.pull_secrets, *(secret.name for secret in job.spec.runtime.image_pull_secrets))
    return {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {"supplementalGroups": [_HWHIAIUSER]},
        "imagePullSecrets": [{"name": name} for name in dict.fromkeys(secrets)],
        "volumes": volumes,
    }


def _trainer(job: FineTuneJob, attempt: int, settings: PodSettings, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    env = [_value(names.ENV_CONFIG, phase_config(job)), *_common_env(attempt), *_rendezvous_env(job)]
    if needs_rank_table(job):
        env.append(_value(names.ENV_RANK_TABLE_FILE, f"{names.RANK_TABLE_DIR}/{names.RANK_TABLE_KEY}"))
    logs = f"{location(workspace_uri(job)).path}/logs/{attempt}/$(NODE_RANK)"
    return {
        "name": names.CONTAINER_TRAINER,
        "image": trainer_image(job, settings),
        **pull_policy(settings),
        "command": ["/bin/bash", "-c", f'{_SET_ENV}; exec "$0" "$@"'],
        "args": ["python", "-m", "ascend_runtime", "train"],
        "env": [*env, _value("ASCEND_PROCESS_LOG_PATH", logs)],
        "resources": trainer_resources(job, settings.resource, settings.share),
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _wait(job: FineTuneJob, attempt: int, settings: PodSettings) -> dict[str, Any]:
    env = [*_common_env(attempt), *_rendezvous_env(job), _value(names.ENV_WAIT_SECONDS, str(_WAIT_SECONDS))]
    mounts = []
    if needs_rank_table(job):
        env.append(_value(names.ENV_RANK_TABLE_SOURCE, names.RANK_TABLE_SOURCE_DIR))
        mounts = [
            {"name": "rank-table-source", "mountPath": names.RANK_TABLE_SOURCE_DIR, "readOnly": True},
            {"name": "rank-table", "mountPath": names.RANK_TABLE_DIR},
        ]
    return {
        "name": names.CONTAINER_WAIT,
        "image": trainer_image(job, settings),
        **pull_policy(settings),
        "command": ["python", "-m", "ascend_runtime", "wait"],
        "env": env,
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _rendezvous_env(job: FineTuneJob) -> list[dict[str, Any]]:
    spec = job.spec
    return [
        _master_address(job),
        _value("MASTER_PORT", str(names.MASTER_PORT)),
        _value("NNODES", str(spec.nodes)),
        _field("NODE_RANK", f"metadata.annotations['{names.HCCL_RANK_INDEX}']"),
        _value("NPROC_PER_NODE", str(spec.npus_per_node)),
        _value("WORLD_SIZE", str(spec.nodes * spec.npus_per_node)),
        _value("HCCL_CONNECT_TIMEOUT", str(_WAIT_SECONDS)),
    ]


def _master_address(job: FineTuneJob) -> dict[str, Any]:
    """Return where rank 0 is found: by the Service's name; by the pod's own address when it is alone."""
    if job.spec.nodes == 1:
        return _field("MASTER_ADDR", "status.podIP")
    return _value("MASTER_ADDR", f"{names.service_name(job.base)}.{job.metadata.namespace}.svc")


def _common_env(attempt: int) -> list[dict[str, Any]]:
    return [
        _value(names.ENV_ATTEMPT, str(attempt)),
        _field(names.ENV_POD_NAME, "metadata.name"),
        _field(names.ENV_POD_UID, "metadata.uid"),
        _field(names.ENV_POD_IP, "status.podIP"),
        _field(names.ENV_HOST_IP, "status.hostIP"),
        _value("OMP_NUM_THREADS", "1"),
        _value("HF_HUB_OFFLINE", "1"),
        _value("PYTHONUNBUFFERED", "1"),
    ]


def _rank_table_volumes(job: FineTuneJob) -> list[dict[str, Any]]:
    source = {"name": names.rank_table_name(job.base), "optional": True}
    return [{"name": "rank-table-source", "configMap": source}, {"name": "rank-table", "emptyDir": {}}]


def _one_pod_a_node(labels: dict[str, str]) -> dict[str, Any]:
    own = {key: labels[key] for key in (names.JOB_UID, names.ATTEMPT, names.ROLE)}
    term = {"labelSelector": {"matchLabels": own}, "topologyKey": "kubernetes.io/hostname"}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def _fixed(template: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Return the template with what the operator relies on put back, whatever the user's part says."""
    metadata = template["metadata"]
    return {
        "metadata": {
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": metadata.get("annotations") or {},
        },
        "spec": {**template["spec"], "restartPolicy": "Never"},
    }


def pull_policy(settings: PodSettings) -> dict[str, str]:
    """Return imagePullPolicy where the installation says one."""
    return {"imagePullPolicy": settings.pull_policy} if settings.pull_policy else {}


def _value(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
