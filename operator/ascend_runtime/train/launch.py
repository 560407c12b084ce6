"""From a pod to its ranks: one process for each NPU, started and watched here.

torchrun would do the same with an agent that imports torch itself (0.3 GB and some seconds a pod), and would turn the
exit codes that mean something (65, 75, 76) into 1. What runs under torchrun all the same finds RANK in its environment
and is used as it is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_jobs import names

from ascend_runtime.config import Config
from ascend_runtime.folders import read_json
from ascend_runtime.sigterm import start_child
from ascend_runtime.train.placement import Placement, placement, read_table

CONCLUDE_SECONDS = 5.0
"""After the first rank failed: time for the others to end by themselves, so that the one with the cause is found."""
STOP_SECONDS = 10.0
"""From SIGTERM to SIGKILL for ranks that do not end."""
_POLL_SECONDS = 0.2


class RanksFailed(Exception):
    """A rank of this pod failed: carries the exit code and the termination message of the one that tells most."""

    def __init__(self, code: int, message: dict[str, Any]) -> None:
        """Take what the container shall end with."""
        super().__init__(str(message.get("message", message)))
        self.code = code
        self.message = message


def train(config: Config, attempt: int) -> dict[str, Any] | None:
    """Run this pod's ranks; return the termination message where rank 0 is among them.

    Raises PlacementError, RanksFailed, and for a single rank what run_rank raises. RANK_TABLE_FILE is unset when there
    is no such file, since HCCL would take its absence for an error.
    """
    table = read_table(os.environ)
    if table is None:
        os.environ.pop(names.ENV_RANK_TABLE_FILE, None)
    if "RANK" not in os.environ:
        here = placement(os.environ, table)
        if len(here.ranks) > 1:
            return _run_children(here)
        os.environ.update(_rank_variables(here, 0))
    from ascend_runtime.train.group import default_environment
    from ascend_runtime.train.worker import run_rank

    default_environment()
    return run_rank(config, attempt, int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0")))


@dataclass(frozen=True)
class _Child:
    """The process of one rank and the file of its last words."""

    rank: int
    process: subprocess.Popen[bytes]
    log: Path


def _run_children(here: Placement) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory(prefix="ascendjobs-") as folder:
        children: list[_Child] = []
        try:
            children += [_start_child(here, local, Path(folder)) for local in range(len(here.ranks))]
            _watch(children)
        finally:
            _stop(children)
        failed = [child for child in children if child.process.returncode]
        if failed:
            raise _most_telling(failed)
        return read_json(children[0].log) if children[0].rank == 0 else None


def _start_child(here: Placement, local_rank: int, folder: Path) -> _Child:
    log = folder / f"{local_rank}.json"
    command = [sys.executable, "-m", "ascend_runtime", "train", "--termination-log", str(log)]
    environ = {**os.environ, **_rank_variables(here, local_rank)}
    return _Child(here.ranks[local_rank], start_child(command, environ), log)


def _rank_variables(here: Placement, local_rank: int) -> Mapping[str, str]:
    return {
        "RANK": str(here.ranks[local_rank]),
        "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(len(here.ranks)),
        "WORLD_SIZE": str(here.world_size),
    }


def _watch(children: Sequence[_Child]) -> None:
    """Return when all ranks ended well, or some seconds after one did not."""
    deadline = None
    while any(child.process.poll() is None for child in children):
        if deadline is None and any(child.process.returncode for child in children):
            deadline = time.monotonic() + CONCLUDE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(_POLL_SECONDS)


def _stop(children: Sequence[_Child]) -> None:
    running = [child.process for child in children if child.process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _most_telling(failed: Sequence[_Child]) -> RanksFailed:
    """Choose the rank whose end explains the others': wrong input, fenced, an error; last those that lost a peer."""
    order = {names.EXIT_INVALID_INPUT: 0, names.EXIT_FENCED: 1, names.EXIT_PEER_LOST: 3, 128 + signal.SIGTERM: 4}
    child = min(failed, key=lambda child: order.get(_exit_code(child), 2))
    code = _exit_code(child)
    silent = {"reason": "Error", "message": f"rank {child.rank} ended with code {code}{_hint(child)}"}
    return RanksFailed(code, read_json(child.log) or silent)


def _exit_code(child: _Child) -> int:
    """Return a rank's exit code; death by a signal is 128 + its number, as shells have it."""
    code = int(child.process.returncode)
    return 128 - code if code < 0 else code


def _hint(child: _Child) -> str:
    code = int(child.process.returncode)
    if code >= 0:
        return ""
    cause = "; usually the memory limit" if -code == signal.SIGKILL else ""
    return f" ({signal.Signals(-code).name}{cause})"
