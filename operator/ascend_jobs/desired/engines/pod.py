"""What the engines' containers share: environment, probes, how they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ascend_jobs import names
from ascend_jobs.desired.engines.shape import EngineInput, MetricsSource

SET_ENV = (
    "for f in /usr/local/Ascend/cann/set_env.sh /usr/local/Ascend/ascend-toolkit/set_env.sh"
    " /usr/local/Ascend/nnal/atb/set_env.sh /usr/local/Ascend/atb-models/set_env.sh"
    " /usr/local/Ascend/mindie/set_env.sh; do if [ -f $f ]; then . $f; fi; done"
)
"""CANN's, ATB's and MindIE's environment, as the vendors' images source it in interactive shells only."""
HWHIAIUSER = 1000
"""Group of the driver's device files (CANN installation guide: HwHiAiUser, gid 1000)."""
ENDPOINT_SECONDS = 10
"""How long a pod that is being deleted still takes requests: until then every proxy has heard of it."""
REQUEST_SECONDS = 300
"""How long requests that run may take to end after that; longer ones are cut off."""
GRACE_SECONDS = ENDPOINT_SECONDS + REQUEST_SECONDS + 20
HEALTH = "/health"
_START_CHECKS = 8640
"""Checks, 10 s apart, that a start may take: a day, the longest startDeadlineSeconds. It is the operator that gives up;
a kubelet that restarts a container whose weights of 100 GB are half loaded only makes it later."""


def value(name: str, text: str) -> dict[str, Any]:
    """Return an environment variable."""
    return {"name": name, "value": text}


def from_pod(name: str, path: str) -> dict[str, Any]:
    """Return an environment variable of the downward API."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def common_env(given: EngineInput) -> list[dict[str, Any]]:
    """Return the environment of every engine; with several nodes also the pod's number and who is the head."""
    env = [
        from_pod(names.ENV_POD_NAME, "metadata.name"),
        from_pod(names.ENV_POD_UID, "metadata.uid"),
        from_pod(names.ENV_POD_IP, "status.podIP"),
        from_pod(names.ENV_HOST_IP, "status.hostIP"),
        value("OMP_NUM_THREADS", "1"),
        value("HF_HUB_OFFLINE", "1"),
        value("PYTHONUNBUFFERED", "1"),
    ]
    if given.nodes > 1:
        env += [
            from_pod("NODE_RANK", f"metadata.labels['{names.POD_INDEX}']"),
            value("NNODES", str(given.nodes)),
            value("MASTER_ADDR", given.head),
            value("MASTER_PORT", str(names.MASTER_PORT)),
        ]
    return env


def group_env(given: EngineInput) -> list[dict[str, Any]]:
    """Return how NPUs of one replica find each other (vLLM-Ascend, tutorials/features/ray.md).

    Interface names are those of a pod's network; a pod template with hostNetwork has to name the host's.
    """
    env = [
        from_pod("HCCL_IF_IP", "status.podIP"),
        value("HCCL_SOCKET_IFNAME", "eth0"),
        value("GLOO_SOCKET_IFNAME", "eth0"),
        value("TP_SOCKET_IFNAME", "eth0"),
    ]
    if given.nodes > 1:
        env.append(value(names.ENV_RANK_TABLE_FILE, f"{names.RANK_TABLE_DIR}/{names.RANK_TABLE_KEY}"))
    return env


def ports(**named: int) -> list[dict[str, Any]]:
    """Return container ports by name."""
    return [{"name": name, "containerPort": port} for name, port in named.items()]


def probes(given: EngineInput, port: int, *, ready: str, alive: str) -> dict[str, Any]:
    """Return the three probes: ready is asked until the model is loaded and then again and again.

    With several nodes only pod 0 answers, and all pods come from one template: the others count as ready.
    """
    return {
        "startupProbe": {**_ask(given, port, ready), "periodSeconds": 10, "failureThreshold": _START_CHECKS},
        "readinessProbe": {**_ask(given, port, ready), "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**_ask(given, port, alive), "periodSeconds": 10, "failureThreshold": 12},
    }


def pre_stop(after: str = "") -> dict[str, Any]:
    """Return the lifecycle of a server that still answers while proxies hear that its pod goes.

    `after` is a shell command that then waits for the requests that run. Sleeping is a command and not the hook's own
    action, which Kubernetes has from 1.30 on.
    """
    command = f"sleep {ENDPOINT_SECONDS}" + (f"; {after}" if after else "")
    return {"preStop": {"exec": {"command": ["/bin/sh", "-c", command]}}}


def with_set_env(program: Sequence[str], before: str = "") -> dict[str, list[str]]:
    """Return command and args of a program that needs CANN's environment; `before` is a shell command in front."""
    steps = "; ".join(step for step in (SET_ENV, before, 'exec "$0" "$@"') if step)
    return {"command": ["/bin/bash", "-c", steps], "args": list(program)}


def literal(text: str) -> str:
    """Return a user's text such that the kubelet does not expand $(NAME) in it."""
    return text.replace("$(", "$$(")


def device_security() -> Mapping[str, Any]:
    """Return the pod's securityContext with which its processes may open the NPUs.

    No fsGroup: the kubelet would give the claim's files group write (0660 and 0770), which MindIE refuses for weights.
    """
    return {"supplementalGroups": [HWHIAIUSER]}


def idle(address: str, source: MetricsSource) -> str:
    """Return a shell command that waits until the server at `address` has nothing to do, or does not answer any more.

    `address` is a host, or a variable of the container such as $POD_IP. Ends after REQUEST_SECONDS at the latest.
    """
    gauges = f'("{source.running}", "{source.waiting}")'
    lines = (
        "import time, urllib.request as r",
        f"end = time.time() + {REQUEST_SECONDS}",
        f"u = \"http://'{address}':{source.port}{source.path}\"",
        "ask = r.build_opener(r.ProxyHandler({})).open",
        f"load = lambda: [float(l.split()[-1]) for l in ask(u, timeout=5).read().decode().split(chr(10))"
        f" if l.startswith({gauges})]",
        "while time.time() < end and any(load()): time.sleep(1)",
    )
    return f"python3 -c '{chr(10).join(lines)}'"


def _ask(given: EngineInput, port: int, path: str) -> dict[str, Any]:
    if given.nodes == 1:
        return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 5}
    script = f'[ "$NODE_RANK" != 0 ] || {request("$POD_IP", port, path, seconds=8)}'
    return {"exec": {"command": ["/bin/sh", "-c", script]}, "timeoutSeconds": 10}


def request(address: str, port: int, path: str, *, seconds: int) -> str:
    """Return a shell command that asks for a path and fails unless the answer is 2xx; no proxy of the environment."""
    code = "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open"
    return f"python3 -c '{code}(\"http://'{address}':{port}{path}\", timeout={seconds})'"
