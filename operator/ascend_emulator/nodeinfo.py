"""Labels and annotations that a device plugin (and the administrator) put on a node with NPUs. Pure."""

from __future__ import annotations

import platform

from ascend_jobs import names

from ascend_emulator import vendor
from ascend_emulator.chips import Chip
from ascend_emulator.deviceinfo import go_json
from ascend_emulator.settings import Profile, Settings

_ARCHITECTURES = {"aarch64": "huawei-arm", "arm64": "huawei-arm", "x86_64": "huawei-x86", "amd64": "huawei-x86"}

KEPT = frozenset({
    names.ACCELERATOR_TYPE_LABEL, vendor.HOST_ARCH_LABEL, vendor.SERVER_TYPE_LABEL, names.EMULATED_LABEL,
})  # fmt: skip
"""Labels of the administrator: written only where they are absent (the real plugin treats servertype so)."""


def desired_labels(settings: Settings, machine: str = "") -> dict[str, str]:
    """Return the node's labels; machine is uname's (default: this machine's). An unknown one gets no host-arch."""
    labels = {names.EMULATED_LABEL: "true"}
    if settings.profile is Profile.CCE:
        return labels | {vendor.CCE_ACCELERATOR_LABEL: settings.kind, names.CHIP_NAME_LABEL: vendor.CCE_CHIP_NAME}
    labels |= {
        names.ACCELERATOR_LABEL: f"huawei-{settings.kind}",
        names.CHIP_NAME_LABEL: settings.chip_name,
        vendor.SERVER_TYPE_LABEL: settings.server_type,
        vendor.DRIVER_VERSION_LABEL: settings.driver_version,
        vendor.CHIP_MEMORY_LABEL: f"{settings.hbm_gib}G",
        names.ACCELERATOR_TYPE_LABEL: accelerator_type(settings),
        vendor.HOST_ARCH_LABEL: _ARCHITECTURES.get(machine or platform.machine(), ""),
    }
    return {key: value for key, value in labels.items() if value}


def accelerator_type(settings: Settings) -> str:
    """Return the accelerator-type label: as set, else that of a 910B server with so many chips, else empty."""
    if settings.accelerator_type:
        return settings.accelerator_type
    is_server = settings.chip_name.startswith("910B") and settings.npu_count in (8, 16)
    return f"module-910b-{settings.npu_count}" if is_server else ""


def desired_node_annotations(settings: Settings, chips: tuple[Chip, ...]) -> dict[str, str]:
    """Return the node's annotations: baseDeviceInfos lists every chip (MindCluster only)."""
    if settings.profile is Profile.CCE:
        return {}
    infos = {chip.device: {"IP": chip.ip, "SuperDeviceID": 0} for chip in sorted(chips, key=lambda chip: chip.device)}
    return {names.BASE_DEVICE_INFOS: go_json(infos)}
