"""npu-smi in containers: the script, and the table file that it prints from.

The columns are those of the real tool for one-die chips (versions 23 to 25). All parts stand in one file that is
replaced at once, so a reader never sees half a state. A line is `<part> <chip or *> <text>`; parts:
T top of the chip table, C a chip, M heading of the process table, P a chip's processes, I an entry of `info -l`,
V the version.
"""

from __future__ import annotations

import asyncio
import os
from importlib.resources import files
from pathlib import Path

from ascend_emulator.chips import IDLE_HBM_MB, Chip, Level
from ascend_emulator.settings import Settings
from ascend_emulator.state import NodeState

TOOL = "npu-smi"
"""Name of the script in the data folder."""
TABLE = "table"
"""Name of the table file in the data folder."""
CONTAINER_TOOL = "/usr/local/bin/npu-smi"
CONTAINER_DATA_DIR = "/var/lib/ascend-emulator"
"""Where the script looks for its table, in containers and on nodes."""
RENDER_SECONDS = 1.0
"""Seconds between two writes of the table at least; nothing is written without a change."""

_WIDTH = 96
_COLUMNS = (27, 15, 52)
_WARNING = (Level.NOT_HANDLE_FAULT, Level.SUB_HEALTH_FAULT)
_ALARM = (Level.RESTART_REQUEST, Level.RESTART_BUSINESS)


async def publish_table(settings: Settings, state: NodeState) -> None:
    """Install the script, then keep the table file true until cancelled."""
    install_tool(settings.data_dir)
    written = ""
    while True:
        version, table = state.version, render_table(settings, state)
        if table != written:
            replace_file(settings.data_dir / TABLE, table.encode(), 0o644)
            written = table
        await state.changed_since(version)
        await asyncio.sleep(RENDER_SECONDS)


def install_tool(folder: Path) -> None:
    """Write the script into the data folder, which is made if need be; OSError when that cannot be done."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace_file(folder / TOOL, (files("ascend_emulator") / "npu-smi.sh").read_bytes(), 0o755)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file aside and rename it, so that readers see the old or the new one."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(content)
    aside.chmod(mode)
    os.replace(aside, path)  # noqa: PTH105 - says what it does


def render_table(settings: Settings, state: NodeState) -> str:
    """Return the table file."""
    lines = [f"V * npu-smi version: {settings.driver_version}"]
    lines += [f"T * {line}" for line in _heading(settings.driver_version)]
    for chip in state.chips:
        lines += [f"C {chip.number} {line}" for line in _chip_lines(settings, state, chip)]
    lines += [f"M * {line}" for line in _process_heading()]
    for chip in state.chips:
        lines += [f"P {chip.number} {line}" for line in _process_lines(state, chip)]
        lines += [f"I {chip.number} {line}" for line in _list_lines(chip)]
    return "\n".join(lines) + "\n"


def used_memory_mb(settings: Settings, state: NodeState, chip: Chip) -> int:
    """Return MB of HBM in use: the firmware's share and the processes' memory, at most what the chip has."""
    processes = state.processes.get(chip.number, ())
    used = IDLE_HBM_MB + sum(process.memory_mb for process in processes)
    return min(used, settings.hbm_gib * 1024)


def chip_health(state: NodeState, chip: Chip) -> str:
    """Return the word in the column Health."""
    fault = state.faults.get(chip.number)
    if fault is None:
        return "OK"
    if fault.level in _WARNING:
        return "Warning"
    return "Alarm" if fault.level in _ALARM else "Critical"


def _rule(fill: str) -> str:
    return "+" + "+".join(fill * width for width in _COLUMNS) + "+"


def _heading(version: str) -> list[str]:
    return [
        f"+{'-' * _WIDTH}+",
        f"| {TOOL} {version:<25}Version: {version:<53}|",
        _rule("-"),
        "| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|",
        "| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |",
        _rule("="),
    ]


def _chip_lines(settings: Settings, state: NodeState, chip: Chip) -> list[str]:
    used, total = used_memory_mb(settings, state, chip), settings.hbm_gib * 1024
    name, health = settings.chip_name, chip_health(state, chip)
    return [
        f"| {chip.number:<6}{name:<20}| {health:<14}| {chip.power_w:<12}{chip.temperature_c:<18}{'0    / 0':<21}|",
        f"| {0:<26}| {chip.bus:<14}| {0:<12}{'0    / 0':<18}{f'{used:<5}/ {total}':<21}|",
        _rule("="),
    ]


def _process_heading() -> list[str]:
    return [
        _rule("-"),
        "| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |",
        _rule("="),
    ]


def _process_lines(state: NodeState, chip: Chip) -> list[str]:
    lines = [
        f"| {chip.number:<8}{0:<18}| {process.pid:<14}| {_printable(process.name):<25}| {process.memory_mb:<24}|"
        for process in state.processes.get(chip.number, ())
    ]
    return [*(lines or [f"| {f'No running processes found in NPU {chip.number}':<95}|"]), _rule("=")]


def _list_lines(chip: Chip) -> list[str]:
    return ["", f"\t{'NPU ID':<31}: {chip.number}", f"\t{'Chip Count':<31}: 1"]


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)[:24]
