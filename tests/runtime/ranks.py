"""Run ranks as real processes without paying for their imports: forks of the test process, which has torch loaded.

What runs is the command line's own main(); gloo, files and signals are real. A fault kills the process with SIGKILL at
a chosen call to the file system.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    (os, "mkdir"),
    (os, "rename"),
    (os, "replace"),
    (os, "fsync"),
    (os, "unlink"),
    (os, "chmod"),
    (shutil, "rmtree"),
    (shutil, "copyfile"),
)
"""The calls that change what lies on disk."""


@dataclass(frozen=True)
class Ended:
    """How one rank ended and what it said."""

    code: int
    message: dict
    lines: list[dict]
    errors: str

    def losses(self) -> list[float]:
        return [line["loss"] for line in self.lines if line["event"] == "progress"]

    def events(self, name: str) -> list[dict]:
        return [line for line in self.lines if line["event"] == name]


def kill_at(call: int) -> Callable[[], None]:
    """Return a fault: the process dies just before its call-th change of the disk, counted from 0."""

    def arm() -> None:
        left = call

        def counted(function: Callable) -> Callable:
            def wrapper(*args, **kwargs):
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return function(*args, **kwargs)

            return wrapper

        for module, name in CALLS:
            setattr(module, name, counted(getattr(module, name)))

    return arm


def fork(work: Callable[[], int], log: Path, fault: Callable[[], None] | None = None) -> int:
    """Start work in a child process with its output in files beside `log`; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        for stream, suffix in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{log}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        if fault is not None:
            fault()
        with (
            open(1, "w", closefd=False) as out,
            open(2, "w", closefd=False) as err,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = work()
    finally:
        os._exit(code)


def wait_for(pid: int, seconds: float = 240) -> int:
    """Return a child's exit code, negative for a signal; kills it at the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise TimeoutError(f"process {pid} did not end within {seconds} s")


def train_ranks(
    document: dict,
    log: Path,
    *,
    attempt: int = 0,
    world: int = 2,
    environ: Mapping[str, str | None] | None = None,
    fault: Callable[[], None] | None = None,
) -> list[Ended]:
    """Run `train` as so many ranks, the fault in rank 0, and return how each ended."""
    import_libraries()
    port = free_port()
    log.mkdir(parents=True, exist_ok=True)
    pids = []
    for rank in range(world):
        variables = {
            "ASCENDJOBS_CONFIG": json.dumps(document),
            "ASCENDJOBS_ATTEMPT": str(attempt),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            **(environ or {}),
        }
        pids.append(
            fork(
                lambda given=variables, at=rank: _train(given, log / str(at)),
                log / str(rank),
                fault if rank == 0 else None,
            )
        )
    return [_ended(wait_for(pid), log / str(rank)) for rank, pid in enumerate(pids)]


def import_libraries() -> None:
    """Import what the trainer needs, once for all forks; one thread, so that forks are safe."""
    import peft  # noqa: F401
    import torch
    import transformers.models.llama.modeling_llama  # noqa: F401
    from torch.nn.parallel import DistributedDataParallel  # noqa: F401

    torch.set_num_threads(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _train(environ: Mapping[str, str | None], log: Path) -> int:
    from ascend_runtime.__main__ import main

    os.environ.update({key: value for key, value in environ.items() if value is not None})
    return main(["train", "--termination-log", f"{log}.message"])


def _ended(code: int, log: Path) -> Ended:
    message = Path(f"{log}.message")
    text = Path(f"{log}.out").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    said = json.loads(message.read_text()) if message.exists() else {}
    return Ended(code, said, lines, Path(f"{log}.err").read_text())
