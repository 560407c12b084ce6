"""The emulated chips of a node: ids, addresses, buses, and what a fault of a level means for them. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from ascend_emulator.settings import Settings

# PCI buses of the eight chips of an Atlas 800T A2, as npu-smi prints them (chip 0 first).
_BUSES = ("C1", "C2", "81", "82", "01", "02", "41", "42")

IDLE_HBM_MB = 3379
"""MB of HBM that the firmware of an idle 910B3 holds, as npu-smi shows it on such a server."""


class Level(StrEnum):
    """Fault levels of a chip (MindCluster, 04_resumable_training; faultCode.json)."""

    NOT_HANDLE_FAULT = "NotHandleFault"
    SUB_HEALTH_FAULT = "SubHealthFault"
    RESTART_REQUEST = "RestartRequest"
    RESTART_BUSINESS = "RestartBusiness"
    FREE_RESTART_NPU = "FreeRestartNPU"
    RESTART_NPU = "RestartNPU"
    PRE_SEPARATE_NPU = "PreSeparateNPU"
    SEPARATE_NPU = "SeparateNPU"
    MANUALLY_SEPARATE_NPU = "ManuallySeparateNPU"


@dataclass(frozen=True)
class Fault:
    """A fault of one chip: code (hexadecimal, capitals), level, and Unix seconds of its occurrence."""

    code: str
    level: Level
    time: int


@dataclass(frozen=True)
class Chip:
    """One emulated NPU; number is its physical id (davinci<number>)."""

    number: int
    device: str
    ip: str
    bus: str
    die: str

    @property
    def power_w(self) -> float:
        """Return watts of the idle chip; the emulated ones compute nothing, so it never changes."""
        return round(92.0 + 0.9 * self.number % 8, 1)

    @property
    def temperature_c(self) -> int:
        """Return degrees Celsius of the idle chip."""
        return 36 + self.number % 4


def make_chips(settings: Settings) -> tuple[Chip, ...]:
    """Return the node's chips in order of their numbers."""
    return tuple(
        Chip(
            number=number,
            device=f"{settings.kind}-{number}",
            ip=device_ip(settings.node_ip, number),
            bus=f"0000:{_BUSES[number] if number < len(_BUSES) else f'{number:02X}'}:00.0",
            die=_die_id(settings.node_name, number),
        )
        for number in range(settings.npu_count)
    )


def device_ip(node_ip: str, number: int) -> str:
    """Return the RoCE address of a chip: 100.(64 to 127).n.(number + 1), in the shared space of RFC 6598.

    The low 14 bits of the node's address tell nodes apart, so two nodes of one /18 (16,384 addresses; Kubernetes ends
    at 5,000 nodes) never get the same address, and none lies in a usual pod or service range. Nothing routes it.
    """
    low = int(ipaddress.ip_address(node_ip)) & 0x3FFF
    return f"100.{64 + (low >> 8)}.{low & 0xFF}.{number + 1}"


def is_healthy(fault: Fault | None, *, used: bool) -> bool:
    """Say whether the kubelet may hand the chip out.

    As the plugin decides: NotHandleFault and SubHealthFault leave it healthy; PreSeparateNPU spares a chip in use.
    """
    if fault is None or fault.level in (Level.NOT_HANDLE_FAULT, Level.SUB_HEALTH_FAULT):
        return True
    return fault.level is Level.PRE_SEPARATE_NPU and used


def _die_id(node: str, number: int) -> str:
    digest = hashlib.sha256(f"{node}/{number}".encode()).hexdigest().upper()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))
