"""A pod that lives as long as a command: made, followed to its end, read, and deleted whatever happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping

from ascend_jobs.cli.kube import Json, Kube, path_of
from ascend_jobs.cli.screen import clean

KEPT = ("enableServiceLinks", "nodeSelector", "priorityClassName", "schedulerName", "securityContext", "tolerations")
"""Fields of a pod of the operator's that a pod in its place shares."""


class NotNow(Exception):
    """What was asked for cannot be had; the message says why."""


def logs_of(kube: Kube, manifest: Json, seconds: int) -> dict[str, str]:
    """Make the pod, wait for its end, and return what its containers printed, by name.

    Raises NotNow with the container's last words when it failed, and when it did not end in so many seconds.
    """
    namespace = manifest["metadata"]["namespace"]
    pod = kube.create(path_of("api/v1", namespace, "pods"), manifest)
    path = path_of("api/v1", namespace, "pods", pod["metadata"]["name"])
    try:
        pod = _wait(kube, pod, time.monotonic() + seconds)
        logs = {c["name"]: kube.text(f"{path}/log", {"container": c["name"]}) for c in _all_containers(pod)}
        if pod["status"]["phase"] != "Succeeded":
            raise NotNow(f"pod {pod['metadata']['name']} failed: {_why(pod, logs)}")
        return logs
    finally:
        kube.delete(path)


def _wait(kube: Kube, pod: Json, deadline: float) -> Json:
    """Return the pod when it has ended, telling what it waits for; raise NotNow when it is gone or late."""
    told = ""
    for seen in _states(kube, pod, deadline):
        if seen["status"].get("phase") in ("Succeeded", "Failed"):
            return seen
        now = waiting_for(seen)
        if now != told:
            print(f"ascendctl: {now}", file=sys.stderr, flush=True)
            told = now
    raise NotNow(f"pod {pod['metadata']['name']} did not end in time; it was {told} (--timeout)")


def _states(kube: Kube, pod: Json, deadline: float) -> Iterator[Json]:
    """Yield the pod now and after every change, until the deadline."""
    meta = pod["metadata"]
    collection = path_of("api/v1", meta["namespace"], "pods")
    while (left := deadline - time.monotonic()) > 0:
        pod = kube.get(f"{collection}/{meta['name']}")
        yield pod
        for type_, seen in kube.watch(
            collection, meta["name"], pod["metadata"]["resourceVersion"], seconds=int(left) + 1
        ):
            if type_ == "DELETED":
                raise NotNow(f"pod {meta['name']} was deleted")
            if type_ in ("ADDED", "MODIFIED"):
                yield seen


def waiting_for(pod: Json) -> str:
    """Return what the pod is doing, a few words."""
    status = pod.get("status", {})
    scheduled: Json = next((c for c in status.get("conditions", ()) if c["type"] == "PodScheduled"), {})
    if scheduled.get("status") != "True":
        message = scheduled.get("message", "")
        return f"waiting for a node: {clean(message)}" if message else "waiting for a node"
    for state in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = state.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
            return f"{clean(waiting.get('reason', ''))}: {clean(waiting.get('message', ''))}"
    return "at work" if status.get("phase") == "Running" else "starting the pod"


def _all_containers(pod: Json) -> list[Json]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def _why(pod: Json, logs: Mapping[str, str]) -> str:
    """Return the last words of the container that failed, else the pod's own message."""
    status = pod["status"]
    for state in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        ended = state.get("state", {}).get("terminated") or {}
        if ended.get("exitCode"):
            words = (ended.get("message") or logs.get(state["name"], "")).strip().splitlines()
            return f"exit code {ended['exitCode']}: {clean(words[-1]) if words else ended.get('reason', '')}"
    return clean(status.get("message") or status.get("reason") or "no reason given")
