"""Following the node's own pods and annotating those that got chips.

As the real plugin does it: at a fixed period (LIST_WATCH_SECONDS) the kubelet's pod resources are read, and pods
without the mark annotation get theirs; pods that have it are never touched, even when it is wrong. Between the ticks of
the period nothing is polled, and no tick reads anything unless a pod waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc

from ascend_emulator.annotations import MARKS, PodIdentity, desired_annotations
from ascend_emulator.kube import ApiError, Change, Kube
from ascend_emulator.logs import get_log
from ascend_emulator.podresources import Allocation, list_allocations
from ascend_emulator.settings import Settings
from ascend_emulator.state import Holder, NodeState

CLOCK_SECONDS = 2.0
"""How much the API server's clock, which counts whole seconds, may be ahead of the node's."""

log = get_log("pods")


@dataclass(frozen=True)
class Pod:
    """What matters of a pod that requests chips; created in Unix seconds."""

    identity: PodIdentity
    created: float
    terminating: bool
    marked: bool
    container_ids: dict[str, str]

    @property
    def key(self) -> tuple[str, str]:
        """Return namespace and name, all that the kubelet tells of a pod."""
        return self.identity.namespace, self.identity.name


def parse_pod(body: dict[str, Any], settings: Settings) -> Pod | None:
    """Return the pod, or None when it requests no chip or has finished."""
    metadata, status = body["metadata"], body.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed") or not _requests(body["spec"], settings.resource_name):
        return None
    return Pod(
        identity=PodIdentity(metadata["namespace"], metadata["name"], metadata["uid"]),
        created=datetime.fromisoformat(metadata["creationTimestamp"]).timestamp(),
        terminating="deletionTimestamp" in metadata,
        marked=MARKS[settings.profile] in (metadata.get("annotations") or {}),
        container_ids=_container_ids(status),
    )


def _requests(spec: dict[str, Any], resource: str) -> bool:
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    limits = (((container.get("resources") or {}).get("limits") or {}) for container in containers)
    return any(limit.get(resource, "0") != "0" for limit in limits)


def _container_ids(status: dict[str, Any]) -> dict[str, str]:
    statuses = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return {found["name"]: (found.get("containerID") or "").rpartition("//")[2] for found in statuses}


def is_fresh(pod: Pod, chips: Iterable[int], allocated: dict[int, float]) -> bool:
    """Say whether an allocation under the pod's name can be the pod's own and not that of an earlier one of that name.

    The kubelet may list an earlier pod for a moment; its chips were handed out before this pod was created. After a
    restart of the emulator the times are unknown, and the allocation is taken as it is.
    """
    return all(allocated.get(number, pod.created) >= pod.created - CLOCK_SECONDS for number in chips)


class PodKeeper:
    """Follows the node's pods, annotates them, and tells the state who holds which chip."""

    def __init__(self, kube: Kube, settings: Settings, state: NodeState) -> None:
        self.kube = kube
        self.settings = settings
        self.state = state
        self.pods: dict[str, Pod] = {}
        self.allocations: list[Allocation] = []
        self._changed = asyncio.Event()
        self._failing = False

    async def follow(self) -> None:
        """Follow the pods of this node until cancelled."""
        selector = {"fieldSelector": f"spec.nodeName={self.settings.node_name}"}
        async with aclosing(self.kube.follow("/api/v1/pods", selector)) as changes:
            async for change in changes:
                self.observe(change)

    def observe(self, change: Change) -> None:
        """Take a change of the watch."""
        if change.type == "LISTED":
            pods = (parse_pod(body, self.settings) for body in change.object["items"])
            self.pods = {pod.identity.uid: pod for pod in pods if pod}
        else:
            self._store(change.object, deleted=change.type == "DELETED")
        self._tell_holders()
        self._changed.set()

    async def run(self) -> None:
        """At each tick, if a pod waits, read the pod resources and annotate; until cancelled."""
        period = self.settings.list_watch_seconds
        start = time.monotonic()
        while True:
            await self._changed.wait()
            await asyncio.sleep(period - (time.monotonic() - start) % period)
            self._changed.clear()
            await self.look()
            if self._waiting():
                self._changed.set()

    async def look(self) -> None:
        """Read the pod resources once, if a pod waits, and annotate the pods that they name."""
        if self._waiting() and not await self._read_allocations():
            return
        self._tell_holders()
        self.state.pods_read.set()
        for pod in list(self.pods.values()):
            chips = self._chips_of(pod)
            if chips and not pod.marked and not pod.terminating and is_fresh(pod, chips, self.state.allocated):
                await self._annotate(pod, chips)

    def _store(self, body: dict[str, Any], *, deleted: bool = False) -> None:
        pod = None if deleted else parse_pod(body, self.settings)
        if pod:
            self.pods[pod.identity.uid] = pod
        else:
            self.pods.pop(body["metadata"]["uid"], None)

    def _waiting(self) -> bool:
        """Say whether some pod's chips are not known, or known and not yet written on it."""
        return any(not pod.terminating and (not pod.marked or not self._chips_of(pod)) for pod in self.pods.values())

    def _chips_of(self, pod: Pod) -> list[int]:
        return [number for held in self.allocations if (held.namespace, held.pod) == pod.key for number in held.chips]

    async def _read_allocations(self) -> bool:
        socket, resource = self.settings.pod_resources_socket, self.settings.resource_name
        try:
            self.allocations = await list_allocations(socket, resource, self.state.numbers)
        except grpc.aio.AioRpcError as error:
            if not self._failing:
                log.warning("kubelet gives no pod resources, tried again each period", error=error.details())
            self._failing = True
            return False
        self._failing = False
        return True

    def _tell_holders(self) -> None:
        pods = {pod.key: pod for pod in self.pods.values()}
        self.state.set_holders(
            {
                number: Holder(held.namespace, held.pod, held.container, pod.container_ids.get(held.container, ""))
                for held in self.allocations
                if (pod := pods.get((held.namespace, held.pod)))
                for number in held.chips
            }
        )

    async def _annotate(self, pod: Pod, chips: list[int]) -> None:
        held = tuple(self.state.chips[number] for number in chips)
        annotations = desired_annotations(self.settings, pod.identity, held)
        path = f"/api/v1/namespaces/{pod.identity.namespace}/pods/{pod.identity.name}"
        where = {"namespace": pod.identity.namespace, "pod": pod.identity.name, "uid": pod.identity.uid}
        try:
            body = await self.kube.merge(path, {"metadata": {"uid": pod.identity.uid, "annotations": annotations}})
        except ApiError as error:
            if error.status in (404, 409, 422):
                log.info("pod is gone", **where)
                self.pods.pop(pod.identity.uid, None)
            else:
                log.warning("pod not annotated, tried again at the next tick", error=str(error), **where)
            return
        self._store(body)
        log.info("pod annotated", chips=sorted(chips), **where)
