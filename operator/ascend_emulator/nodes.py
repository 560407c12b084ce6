"""Following the node's own Node object: keeps its labels and annotations as a plugin would, and reads the faults.

The annotation names.EMULATED_FAULTS is where faults are set (ascendctl emulator fault). Parts of it that are wrong are
ignored, logged once, and told by an Event on the node.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from ascend_jobs import names

from ascend_emulator.faults import parse_faults
from ascend_emulator.kube import BACKOFF_SECONDS, ApiError, Kube
from ascend_emulator.logs import get_log
from ascend_emulator.nodeinfo import KEPT, desired_labels, desired_node_annotations
from ascend_emulator.settings import Settings
from ascend_emulator.state import NodeState

COMPONENT = "ascend-emulator"
EVENT_NAMESPACE = "default"
"""Events about nodes, which have no namespace, live in this one."""

log = get_log("node")


class NodeKeeper:
    """Follows one Node."""

    def __init__(self, kube: Kube, settings: Settings, state: NodeState) -> None:
        self.kube = kube
        self.settings = settings
        self.state = state
        self._labels = desired_labels(settings)
        self._annotations = desired_node_annotations(settings, state.chips)
        self._faults_text: str | None = None
        self._node: dict[str, Any] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow and describe the node until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._describe())

    async def _follow(self) -> None:
        selector = {"fieldSelector": f"metadata.name={self.settings.node_name}"}
        async with aclosing(self.kube.follow("/api/v1/nodes", selector)) as changes:
            async for change in changes:
                nodes = change.object["items"] if change.type == "LISTED" else [change.object]
                for node in nodes if change.type != "DELETED" else []:
                    await self._read_faults(node)
                    self.state.node_read.set()
                    self._node = node
                    self._changed.set()

    async def _describe(self) -> None:
        """Correct labels and annotations after each change; a write that fails is repeated with the newest Node."""
        failures = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            patch = node_patch(self._node, self._labels, self._annotations)
            try:
                if patch:
                    await self.kube.merge(f"/api/v1/nodes/{self.settings.node_name}", {"metadata": patch})
                    log.info("node described", changed=sorted(key for part in patch.values() for key in part))
                failures = 0
            except ApiError as error:
                if failures == 0:
                    log.warning("node not described, tried again", error=str(error))
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1
                self._changed.set()

    async def _read_faults(self, node: dict[str, Any]) -> None:
        text = (node["metadata"].get("annotations") or {}).get(names.EMULATED_FAULTS, "")
        if text == self._faults_text:
            return
        self._faults_text = text
        faults, problems = parse_faults(text or "{}", len(self.state.chips), int(time.time()))
        self.state.set_faults(faults)
        log.info("faults read", faults={number: fault.code for number, fault in faults.items()})
        if problems:
            log.warning("faults annotation is partly ignored", problems=problems[:10])
            await self._tell(node, text, problems)

    async def _tell(self, node: dict[str, Any], text: str, problems: list[str]) -> None:
        event = malformed_event(node, text, problems, datetime.now(UTC))  # noqa: TID251 - the time of an event
        try:
            await self.kube.create(f"/api/v1/namespaces/{EVENT_NAMESPACE}/events", event)
        except ApiError as error:
            if error.status != 409:
                log.warning("event not written", error=str(error))


def node_patch(node: dict[str, Any], labels: dict[str, str], annotations: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return what metadata lacks, as a merge patch of it; labels of the administrator are left as they are."""
    present_labels = node["metadata"].get("labels") or {}
    present_annotations = node["metadata"].get("annotations") or {}
    missing = {
        "labels": {
            key: value
            for key, value in labels.items()
            if present_labels.get(key) != value and not (key in KEPT and key in present_labels)
        },
        "annotations": {key: value for key, value in annotations.items() if present_annotations.get(key) != value},
    }
    return {key: part for key, part in missing.items() if part}


def malformed_event(node: dict[str, Any], text: str, problems: list[str], now: datetime) -> dict[str, Any]:
    """Return the Event about a wrong faults annotation; its name is the same for the same text, so it comes once."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    reference = {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{node['metadata']['name']}.{digest}", "namespace": EVENT_NAMESPACE},
        "involvedObject": reference,
        "type": "Warning",
        "reason": "EmulatedFaultsInvalid",
        "message": f"annotation {names.EMULATED_FAULTS} is ignored where it is wrong: {'; '.join(problems)}"[:1024],
        "source": {"component": COMPONENT, "host": node["metadata"]["name"]},
        "reportingComponent": COMPONENT,
        "reportingInstance": node["metadata"]["name"],
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
