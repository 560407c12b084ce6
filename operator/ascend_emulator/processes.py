"""Which processes of the node use which chip: found by their environment, as no driver is there to tell.

A process with LOCAL_RANK uses the chip of that rank. One without it uses all chips that its container sees, unless
another process of that container has a rank: then it is the launcher, which opens no device.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from ascend_jobs import names

from ascend_emulator.settings import Settings
from ascend_emulator.state import NodeState, Process

SCAN_SECONDS = 5.0
"""Seconds between two scans of the process table, which happen only while a chip is held."""
LARGEST_ENVIRONMENT = 1 << 20
"""Bytes of an environment that are read; longer ones are cut."""

_VISIBLE = names.ENV_VISIBLE_DEVICES.encode()
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class _Found:
    process: Process
    visible: tuple[int, ...]
    rank: int | None


def parse_visible(text: str) -> tuple[int, ...]:
    """Return the chips that ASCEND_VISIBLE_DEVICES names: "0,1", "0-3" and "Ascend910-0,Ascend910-1" are understood.

    What is not understood names none; larger numbers than 4095 neither.
    """
    chips: list[int] = []
    for entry in text.split(","):
        low, _, high = entry.strip().partition("-")
        if not low.isdecimal():
            low, high = entry.rpartition("-")[2].strip(), ""
        if low.isdecimal() and (high or low).isdecimal() and int(high or low) < 4096:
            chips.extend(range(int(low), int(high or low) + 1))
    return tuple(dict.fromkeys(chips))


async def follow_processes(settings: Settings, state: NodeState) -> None:
    """Keep the state's processes true until cancelled."""
    while True:
        while not state.holders:
            state.set_processes({})
            await state.changed_since(state.version)
        state.set_processes(await asyncio.to_thread(scan_processes, settings.proc_dir, frozenset(state.holders)))
        await asyncio.sleep(SCAN_SECONDS)


def scan_processes(proc: Path, held: Container[int]) -> dict[int, tuple[Process, ...]]:
    """Return the processes by the held chip they use, ordered by pid. Reads a few files a process."""
    groups: dict[tuple[int, ...], list[_Found]] = defaultdict(list)
    for folder in _process_folders(proc):
        if found := _read_process(folder):
            groups[found.visible].append(found)
    chips: dict[int, list[Process]] = defaultdict(list)
    for visible, group in groups.items():
        for number, process in _uses(visible, group):
            if number in held:
                chips[number].append(process)
    return {number: tuple(sorted(chips[number], key=lambda process: process.pid)) for number in sorted(chips)}


def _uses(visible: tuple[int, ...], group: list[_Found]) -> Iterable[tuple[int, Process]]:
    has_ranks = any(found.rank is not None for found in group)
    for found in group:
        if found.rank is not None:
            yield from ((number, found.process) for number in visible[found.rank : found.rank + 1])
        elif not has_ranks:
            yield from ((number, found.process) for number in visible)


def _process_folders(proc: Path) -> Iterable[Path]:
    try:
        entries = list(os.scandir(proc))
    except OSError:
        return []
    return [Path(entry.path) for entry in entries if entry.name.isdecimal()]


def _read_process(folder: Path) -> _Found | None:
    """Return the process, or None when it sees no chip, is npu-smi itself, or has gone."""
    try:
        with (folder / "environ").open("rb") as file:
            environ = _environ(file.read(LARGEST_ENVIRONMENT))
        visible = parse_visible(environ.get(_VISIBLE, b"").decode(errors="replace"))
        if not visible:
            return None
        name = (folder / "comm").read_text(errors="replace").strip()
        pages = int((folder / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    if name == "npu-smi":
        return None
    rank = environ.get(b"LOCAL_RANK", b"").decode(errors="replace")
    process = Process(pid=int(folder.name), name=name, memory_mb=pages * _PAGE >> 20)
    return _Found(process, visible, int(rank) if rank.isdecimal() and len(rank) < 5 else None)


def _environ(content: bytes) -> dict[bytes, bytes]:
    if _VISIBLE not in content:
        return {}
    pairs = (entry.partition(b"=") for entry in content.split(b"\0"))
    return {key: value for key, separator, value in pairs if separator}
