"""The ConfigMap mindx-dl-deviceinfo-<node> with its CheckCode. Pure.

Sources: MindCluster 26.1, 06_api/02_ascend_device_plugin.md (chip resources), and ascend-device-plugin
pkg/common/proto.go (NodeDeviceInfoCache, NodeDeviceInfo, DeviceFault: order of keys). ClusterD drops a ConfigMap whose
CheckCode is not the SHA-256 of Go's json.Marshal of DeviceInfo, so the encoding here has to be Go's, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ascend_emulator import vendor
from ascend_emulator.chips import Chip, Fault
from ascend_emulator.settings import Settings
from ascend_emulator.state import NodeState

_GO_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def go_json(value: Any) -> str:  # noqa: ANN401 - a JSON value
    """Encode as Go's json.Marshal does: no spaces, no ASCII-only, and <, >, & and the two line separators escaped.

    Dictionaries keep their order: give those that stand for a Go map in sorted order. Floats are not supported.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_GO_ESCAPES)


def check_code(device_info: dict[str, Any]) -> str:
    """Return the lower-case hexadecimal SHA-256 of a DeviceInfo."""
    return hashlib.sha256(go_json(device_info).encode()).hexdigest()


def device_list(settings: Settings, state: NodeState) -> dict[str, str]:
    """Return DeviceList: free healthy chips, unhealthy ones, and the faults as JSON in a string."""
    name = settings.resource_name
    unhealthy = [chip for chip in state.chips if not state.is_healthy(chip)]
    free = [chip for chip in state.chips if chip not in unhealthy and chip.number not in state.holders]
    faults = [_fault_entry(chip, state.faults[chip.number]) for chip in state.chips if chip.number in state.faults]
    return {
        name: _devices(free),
        f"{name}-Fault": go_json(faults),
        f"{name}-NetworkUnhealthy": "",
        f"{name}-Recovering": "",
        f"{name}-Unhealthy": _devices(unhealthy),
    }


def desired_config_map(settings: Settings, devices: dict[str, str], now: int) -> dict[str, Any]:
    """Return the ConfigMap for a DeviceList; now in Unix seconds."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(settings),
            "namespace": vendor.DEVICE_INFO_NAMESPACE,
            "labels": {vendor.CONSUMER_LABEL: "true"},
        },
        "data": {vendor.DEVICE_INFO_KEY: device_info_cfg(devices, now)},
    }


def device_info_cfg(devices: dict[str, str], now: int) -> str:
    """Return the value of the key DeviceInfoCfg for a DeviceList; now in Unix seconds."""
    info = {"DeviceList": dict(sorted(devices.items())), "UpdateTime": now}
    return go_json(
        {
            "DeviceInfo": info,
            "SuperPodID": vendor.NOT_SUPPORTED,
            "ServerIndex": vendor.NOT_SUPPORTED,
            "CheckCode": check_code(info),
        }
    )


def config_map_name(settings: Settings) -> str:
    """Return the name of the node's ConfigMap."""
    return f"{vendor.DEVICE_INFO_PREFIX}{settings.node_name}"


def _devices(chips: list[Chip]) -> str:
    return ",".join(sorted(chip.device for chip in chips))


def _fault_entry(chip: Chip, fault: Fault) -> dict[str, Any]:
    return {
        "fault_type": "CardUnhealthy",
        "npu_name": chip.device,
        "large_model_fault_level": fault.level.value,
        "fault_level": fault.level.value,
        "fault_handling": fault.level.value,
        "fault_code": fault.code,
        "fault_time_and_level_map": {fault.code: {"fault_time": fault.time, "fault_level": fault.level.value}},
    }
