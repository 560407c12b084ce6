"""What a device plugin writes on a pod once the kubelet has given it devices. Pure.

Sources: MindCluster 26.1, ascend-device-plugin pkg/common (Instance, Device: order of keys) and pkg/device
(AddPodAnnotation: device names sorted as strings, devices of the JSON sorted by physical id); CCE's plugin: pod_name,
server_id, devices.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names

from ascend_emulator import vendor
from ascend_emulator.chips import Chip
from ascend_emulator.settings import Profile, Settings

MARKS = {Profile.MINDCLUSTER: names.ASCEND_REAL, Profile.CCE: names.CCE_DEVICES}
"""The annotation that says a pod has been dealt with: such pods are never touched again, even if it is wrong."""


@dataclass(frozen=True)
class PodIdentity:
    """A pod as the API server names it."""

    namespace: str
    name: str
    uid: str


def desired_annotations(settings: Settings, pod: PodIdentity, chips: tuple[Chip, ...]) -> dict[str, str]:
    """Return the annotations of a pod that holds these chips (at least one, in any order)."""
    ordered = sorted(chips, key=lambda chip: chip.number)
    if settings.profile is Profile.CCE:
        return {names.CCE_DEVICES: _json(_cce_devices(settings, pod, ordered))}
    devices = ",".join(sorted(chip.device for chip in ordered))
    return {
        names.ASCEND_REAL: devices,
        names.KUBELET_DEVICES: devices,
        names.MINDCLUSTER_DEVICES: _json(_mindcluster_devices(settings, pod, ordered)),
    }


def _mindcluster_devices(settings: Settings, pod: PodIdentity, chips: list[Chip]) -> dict[str, Any]:
    return {
        "pod_name": pod.name,
        "server_id": pod.uid,
        "host_ip": settings.node_ip,
        "super_pod_id": vendor.NOT_SUPPORTED,
        "devices": [{"device_id": str(chip.number), "device_ip": chip.ip, "super_device_id": "0"} for chip in chips],
        "rack_id": vendor.NOT_SUPPORTED,
        "server_index": str(vendor.NOT_SUPPORTED),
        "server_ip": settings.node_ip,
    }


def _cce_devices(settings: Settings, pod: PodIdentity, chips: list[Chip]) -> dict[str, Any]:
    return {
        "pod_name": pod.name,
        "server_id": settings.node_ip,
        "devices": [{"device_id": str(chip.number), "device_ip": chip.ip} for chip in chips],
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
