"""How much of the machine a server may take: threads from the CPU limit, sequences from the memory limit.

Limits are the cgroup's (v2, then v1), read where a container sees its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ascend_runtime.serve.convert.architecture import Architecture
from ascend_runtime.serve.failures import CannotServe, ServeReason

CGROUP = Path("/sys/fs/cgroup")
_RESERVE = 400 << 20
"""Bytes for Python, llama.cpp's own buffers and the pages of its binary (measured with SmolLM2-135M: 310 MB)."""
_UNLIMITED = 1 << 60
"""cgroup v1 says "no limit" with a number near 2**63."""


def thread_count(given: int | None, root: Path = CGROUP) -> int:
    """Return how many threads compute: one less than the CPU limit, at least one.

    More threads than CPUs wait for each other in busy loops: 3.4 tokens/s instead of 55 with two threads on a machine
    with two other jobs. One CPU is left for the HTTP side.
    """
    return given or max(1, int(cpu_limit(root)) - 1)


def cpu_limit(root: Path = CGROUP) -> float:
    """Return the CPUs that the container may use: its quota, else those it may run on."""
    available = float(len(os.sched_getaffinity(0)))
    quota, period = (
        _read(root / "cpu.max", 2)
        or (
            *_read(root / "cpu" / "cpu.cfs_quota_us", 1),
            *_read(root / "cpu" / "cpu.cfs_period_us", 1),
        )
        or ("max", "1")
    )
    if not quota.isdecimal():
        return available
    return min(available, int(quota) / int(period))


def memory_limit(root: Path = CGROUP) -> int:
    """Return the bytes that the container may use: its limit, else what the machine has to spare."""
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        for word in _read(path, 1):
            if word.isdecimal() and int(word) < _UNLIMITED:
                return int(word)
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return _UNLIMITED


@dataclass(frozen=True)
class Fit:
    """How many sequences of which length fit beside the weights."""

    sequences: int
    length: int
    """Tokens a sequence, prompt and answer together."""


def fit(architecture: Architecture, weights: int, length: int, sequences: int, limit: int) -> Fit:
    """Return how many sequences fit into `limit` bytes, at most those asked for.

    Weights count once (they are mapped, and read whole), the KV cache 16 bits a value. Raises CannotServe
    (OutOfMemory) when not even one fits.
    """
    one = architecture.kv_bytes_a_token * length
    room = limit - _RESERVE - weights
    if room < one:
        raise CannotServe(
            ServeReason.OUT_OF_MEMORY,
            "spec.runtime.resources.memory",
            f"the model needs {_mib(weights)} MiB for weights, {_mib(one)} MiB for one sequence of {length} tokens and "
            f"{_mib(_RESERVE)} MiB beside; the memory limit is {_mib(limit)} MiB: raise it or lower the length",
        )
    return Fit(min(sequences, room // one), length)


def _read(path: Path, words: int) -> tuple[str, ...]:
    try:
        found = path.read_text().split()
    except OSError:
        return ()
    return tuple(found[:words]) if len(found) >= words else ()


def _mib(size: int) -> int:
    return -(-size // (1 << 20))
