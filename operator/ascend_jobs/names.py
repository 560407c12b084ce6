"""Every name that leaves the program: API group, labels, annotations, environment, paths, names of children.

One home for each string: nothing else spells a label, an annotation or an environment variable.
Imports nothing of ours, so the operator, the runtime in job pods and the emulator share it.
"""

from __future__ import annotations

import hashlib

GROUP = "ascendjobs.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINE_TUNE_JOB = "FineTuneJob"
FINE_TUNE_JOBS = "finetunejobs"
FINE_TUNE_SHORT = "ftj"
INFERENCE_SERVICE = "InferenceService"
INFERENCE_SERVICES = "inferenceservices"
INFERENCE_SHORT = "aisvc"
"""KServe has a kind of the same name: documentation and command line always say aisvc."""
EVALUATION_JOB = "EvaluationJob"
EVALUATION_JOBS = "evaluationjobs"
EVALUATION_SHORT = "evj"

MANAGER = "ascend-jobs"
"""Field manager of children, component of events, value of app.kubernetes.io/managed-by. Fixed for ever."""
STATUS_MANAGER = "ascend-jobs-status"
"""Field manager of status writes. Fixed for ever."""

# Labels on children. The informers select on JOB_UID, the caches match by it.
JOB_UID = f"{GROUP}/job-uid"
JOB_NAME = f"{GROUP}/job-name"
JOB_KIND = f"{GROUP}/job-kind"
ROLE = f"{GROUP}/role"
ATTEMPT = f"{GROUP}/attempt"
RANK_INDEX = f"{GROUP}/rank-index"
REVISION = f"{GROUP}/revision"
"""On a service's pods and workloads: number of the revision that they are made from."""
REPLICA = f"{GROUP}/replica"
"""On the pods of a replica that spans several: the replica's number, from 0."""
TRACK = f"{GROUP}/track"
"""On a service's pods: stable, or canary for those of spec.canary."""
TRACK_STABLE = "stable"
TRACK_CANARY = "canary"
POD_INDEX = "apps.kubernetes.io/pod-index"
"""Ordinal of a StatefulSet's pod (Kubernetes 1.28 and later)."""
MANAGED_BY = "app.kubernetes.io/managed-by"

ROLE_PREPARE = "prepare"
ROLE_WORKER = "worker"
ROLE_SERVER = "server"
ROLE_INSPECT = "inspect"
ROLE_EVALUATE = "evaluate"
ROLE_PROXY = "proxy"

# Annotations of ours.
RANK_TABLE_TOUCH = f"{GROUP}/rank-table-touch"
"""On worker pods: changed after the rank table's ConfigMap, so that the kubelet remounts its volume at once."""
PROXY_CONFIG = f"{GROUP}/proxy-config"
"""On a service's proxies: SHA-256 of what they are made of; they are replaced one by one when it changes."""
GITOPS_TRACKING = (
    "argocd.argoproj.io/tracking-id",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
)
"""Labels or annotations of GitOps tools; a job that carries one is kept when its TTL ends."""

# Names of the Ascend ecosystem (MindCluster, docs/zh/scheduling/06_api/12_k8s.md; Huawei Cloud CCE).
HCCL_RANK_INDEX = "hccl/rankIndex"
ASCEND_REAL = "huawei.com/AscendReal"
KUBELET_DEVICES = "huawei.com/kltDev"
MINDCLUSTER_DEVICES = "ascend.kubectl.kubernetes.io/ascend-910-configuration"
CCE_DEVICES = "cce.kubectl.kubernetes.io/ascend-1980-configuration"
RING_CONTROLLER = "ring-controller.atlas"
CHIP_NAME_LABEL = "node.kubernetes.io/npu.chip.name"
ACCELERATOR_LABEL = "accelerator"
ACCELERATOR_TYPE_LABEL = "accelerator-type"
BASE_DEVICE_INFOS = "baseDeviceInfos"
ASCEND_910 = "huawei.com/Ascend910"
CCE_ASCEND_1980 = "huawei.com/ascend-1980"

# Keys of the rank table's ConfigMap, and what the waiting init container reads there.
RANK_TABLE_KEY = "hccl.json"
RANK_TABLE_VERSION_KEY = "version"
RANK_TABLE_ATTEMPT_KEY = "attempt"
RANK_TABLE_SKIP_KEY = "skip"
"""Present when no table can be had: holds the sentence why; the job starts through MASTER_ADDR alone."""

# Environment of the containers of a job.
ENV_CONFIG = "ASCENDJOBS_CONFIG"
ENV_ATTEMPT = "ASCENDJOBS_ATTEMPT"
ENV_RANK_TABLE_SOURCE = "ASCENDJOBS_RANK_TABLE_SOURCE"
ENV_WAIT_SECONDS = "ASCENDJOBS_WAIT_SECONDS"
ENV_RANK_TABLE_FILE = "RANK_TABLE_FILE"
ENV_POD_NAME = "POD_NAME"
ENV_POD_UID = "POD_UID"
ENV_POD_IP = "POD_IP"
ENV_HOST_IP = "HOST_IP"
ENV_VISIBLE_DEVICES = "ASCEND_VISIBLE_DEVICES"
ENV_SERVE_CACHE = "ASCENDJOBS_SERVE_CACHE"
"""Folder in which the CPU engine keeps converted models; default: below the user's cache."""

ENV_PROXY_KEYS = "ASCENDJOBS_PROXY_KEYS_SECRET"
"""Name of the Secret with the API keys, in a service's proxy; unset when everybody is let in."""
ENV_PROXY_TLS = "ASCENDJOBS_PROXY_TLS_SECRET"
"""Name of the Secret with certificate and key; unset for plain HTTP."""

# What the command of engine custom finds in its environment.
ENV_MODEL_PATH = "MODEL_PATH"
ENV_SERVED_NAME = "SERVED_MODEL_NAME"
ENV_PORT = "PORT"

# Paths in the containers of a job.
RANK_TABLE_DIR = "/user/serverid/devindex/config"
"""Where programs look for hccl.json (MindCluster, 06_api/14_hccl.json_file_description.md)."""
RANK_TABLE_SOURCE_DIR = "/ascendjobs/rank-table"
"""Where the ConfigMap is mounted in the init container `wait`."""
VOLUMES_DIR = "/volumes"
"""A claim is mounted once, at VOLUMES_DIR/<claim>; pvc://claim/a/b is VOLUMES_DIR/claim/a/b."""
WORKSPACE_DIR = ".ascendjobs"
"""Folder at the root of a claim that holds the workspaces of jobs, one by UID."""
TERMINATION_LOG = "/dev/termination-log"

# A service's proxy: what is mounted, what HAProxy reads, where it listens.
PROXY_CONFIG_DIR = "/ascendjobs/proxy/config"
PROXY_KEYS_DIR = "/ascendjobs/proxy/keys"
PROXY_TLS_DIR = "/ascendjobs/proxy/tls"
PROXY_FILES_DIR = "/run/ascendjobs"
"""In memory: HAProxy's configuration, digests of the keys, certificate with its key."""
PROXY_CONFIG_FILE = "haproxy.cfg"
PROXY_KEYS_FILE = "keys.lst"
"""SHA-256 of each API key, in hexadecimal, one a line."""
PROXY_TLS_FILE = "tls.pem"
PROXY_PORT = 8088
PROXY_METRICS_PORT = 8405
"""/healthz, /metrics (Prometheus) and /stats;csv of a proxy; not part of any Service."""
PROXY_STATS_PATH = "/stats;csv"
"""Not /metrics, for Prometheus: there HAProxy 2.6 divides times by 1024 also when fewer requests were counted."""
VERSION_HEADER = "X-Ascendjobs-Version"
"""On answers that came through a proxy: stable or canary."""

CONTAINER_WAIT = "wait"
CONTAINER_PREPARE = "prepare"
CONTAINER_TRAINER = "trainer"
CONTAINER_SERVER = "server"
CONTAINER_INSPECT = "inspect"
CONTAINER_EVALUATE = "evaluate"
CONTAINER_PROXY = "proxy"

MASTER_PORT = 29500
EXIT_INVALID_INPUT = 65
"""Exit code (sysexits EX_DATAERR) of a phase whose input is wrong: the job fails, no retry."""
EXIT_PEER_LOST = 76
"""Exit code (EX_PROTOCOL) of a rank that stopped because another one went away; the cause is in that pod."""
EXIT_FENCED = 75
"""Exit code (EX_TEMPFAIL) of a process whose attempt is over; a newer attempt has the workspace."""

# The emulator.
EMULATED_LABEL = f"{GROUP}/emulated"
EMULATED_FAULTS = f"emulator.{GROUP}/faults"
"""Node annotation: JSON object, chip number -> {"code": "80E01801", "level": "RestartNPU", "time": Unix seconds}."""

_LONGEST_SET = 52
MAX_JOB_NAME = 40
"""Longest job name: the longest child's name then stays a DNS label of 63 characters."""


def base_name(job: str, short_kind: str) -> str:
    """Return the stem of all children's names: `<job>-<short kind>`."""
    return f"{job}-{short_kind}"


def service_name(base: str) -> str:
    """Return the name of the headless Service that gives rank 0 a DNS name."""
    return base


def rank_table_name(base: str) -> str:
    """Return the name of the rank table's ConfigMap, as MindCluster spells it."""
    return f"rings-config-{base}"


def worker_name(base: str, attempt: int, index: int) -> str:
    """Return a training pod's name; it carries the attempt in which the pod was made."""
    return f"{base}-{attempt}-worker-{index}"


def worker_hostname(base: str, index: int) -> str:
    """Return a training pod's hostname, the same in every attempt."""
    return f"{base}-worker-{index}"


def prepare_name(base: str, number: int) -> str:
    """Return the name of the number-th try of the prepare pod, from 0."""
    return f"{base}-prepare-{number}"


def revision_name(base: str, attempt: int) -> str:
    """Return the name of the ControllerRevision that records what an attempt is made of."""
    return f"{base}-{attempt}"


def inspect_name(base: str, revision: int, number: int) -> str:
    """Return the name of the number-th try of the pod that looks at a revision's model, from 0."""
    return f"{base}-{revision}-inspect-{number}"


def replica_name(base: str, revision: int, replica: int) -> str:
    """Return the name of the StatefulSet that is one replica of several pods, at most 52 characters.

    Its pods carry it with a hash of up to 11 more as a label (controller-revision-hash), which takes 63.
    """
    name = f"{base}-{revision}-{replica}"
    if len(name) <= _LONGEST_SET:
        return name
    end = f"{hashlib.sha256(base.encode()).hexdigest()[:6]}-{revision}-{replica}"
    return f"{base[: _LONGEST_SET - len(end) - 1].rstrip('-')}-{end}"


def stable_name(base: str) -> str:
    """Return the name of the Service behind a service's proxy."""
    return f"{base}-stable"


def proxy_name(base: str) -> str:
    """Return the name of a service's proxy: its Deployment and its ConfigMap."""
    return f"{base}-proxy"


def evaluate_name(base: str, run: int, number: int) -> str:
    """Return the name of the number-th try of an evaluation's run, from 0."""
    return f"{base}-{run}-evaluate-{number}"


def gate_name(service: str, uid: str, revision: int) -> str:
    """Return the name of the EvaluationJob that a revision has to pass; short enough for any service's name."""
    return f"{service[:24].rstrip('-')}-{uid[:6]}-{revision}"


def group_name(base: str, revision: int) -> str:
    """Return the name of the headless Service by which pods of a replica that spans several find each other."""
    return f"{base}-{revision}-pods"
