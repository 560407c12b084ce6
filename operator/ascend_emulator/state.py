"""What is true of the node's chips now, and a signal for those that follow it.

Everything here can be found again after a restart: faults stand on the Node, allocations in the kubelet.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ascend_emulator.chips import Chip, Fault, is_healthy


@dataclass(frozen=True)
class Holder:
    """The container that holds a chip; container_id is empty until the kubelet reports it."""

    namespace: str
    pod: str
    container: str
    container_id: str = ""


@dataclass(frozen=True)
class Process:
    """A process that uses a chip; memory in MB (2^20 bytes)."""

    pid: int
    name: str
    memory_mb: int


class NodeState:
    """Faults, holders and processes of the chips, by chip number; one writer each, any number of readers."""

    def __init__(self, chips: tuple[Chip, ...]) -> None:
        self.chips = chips
        self.numbers = {chip.device: chip.number for chip in chips}
        self.faults: dict[int, Fault] = {}
        self.holders: dict[int, Holder] = {}
        self.processes: dict[int, tuple[Process, ...]] = {}
        self.allocated: dict[int, float] = {}
        """Unix seconds of the last Allocate of a chip; empty after a restart."""
        self.registered = False
        self.node_read = asyncio.Event()
        self.pods_read = asyncio.Event()
        self.version = 0
        self._changed = asyncio.Event()

    def set_faults(self, faults: dict[int, Fault]) -> None:
        """Replace all faults."""
        if faults != self.faults:
            self.faults = faults
            self._announce()

    def set_holders(self, holders: dict[int, Holder]) -> None:
        """Replace all holders."""
        if holders != self.holders:
            self.holders = holders
            self._announce()

    def set_processes(self, processes: dict[int, tuple[Process, ...]]) -> None:
        """Replace all processes."""
        if processes != self.processes:
            self.processes = processes
            self._announce()

    def is_healthy(self, chip: Chip) -> bool:
        """Say whether a chip counts as healthy for the kubelet."""
        return is_healthy(self.faults.get(chip.number), used=chip.number in self.holders)

    async def changed_since(self, version: int) -> int:
        """Wait until the state is newer than version; return the version it has then."""
        while self.version == version:
            await self._changed.wait()
        return self.version

    def _announce(self) -> None:
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
