"""Long steps that are announced, timed, logged, remembered, and resumed after an interruption.

A stage is finished when its stamp holds the digest of its present inputs and its product is there. The stamp is removed
before the work starts and written after it ended, so a stage that was killed half-way runs again from its beginning.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict, Unpack

from cluster.places import LOCKS, LOGS, STAMPS, program_path


class StepFailed(Exception):
    """An expected failure: names the step, the log file and the way out."""

    def __init__(self, step: str, what: str, way_out: str = "", log: Path | None = None) -> None:
        super().__init__(what)
        self.step = step
        self.what = what
        self.way_out = way_out
        self.log = log

    def __str__(self) -> str:
        lines = [f"{self.step} failed: {self.what}"]
        if self.log is not None:
            lines += [f"  log:     {self.log}"]
        if self.way_out:
            lines += [f"  way out: {self.way_out}"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Stage:
    """One long step.

    `inputs` are all values that decide the product; `present` tells whether the product is still there; `usual` is how
    long the work takes on two cores, as a phrase; `way_out` is what to do when it fails.
    """

    name: str
    title: str
    usual: str
    inputs: tuple[str, ...]
    present: Callable[[], bool]
    work: Callable[[Shell], None]
    way_out: str = "read the log, then run the same command again: finished steps are kept"

    @property
    def digest(self) -> str:
        """SHA-256 of the inputs, 64 hexadecimal digits."""
        return digest_of(*self.inputs)

    @property
    def stamp(self) -> Path:
        """The file that remembers the finished stage."""
        return STAMPS / self.name

    def is_fresh(self) -> bool:
        """Tell whether the product is there and was made from the present inputs."""
        return self.stamp.is_file() and self.stamp.read_text() == self.digest and self.present()


class How(TypedDict, total=False):
    """How a command runs: folder, additions to the environment, and stdin as a text or a file to read from."""

    cwd: Path
    env: Mapping[str, str]
    stdin: str | Path


class Shell:
    """Runs the commands of one stage; their output goes to the stage's log."""

    def __init__(self, step: str, way_out: str = "") -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.step = step
        self.way_out = way_out
        self.log = LOGS / f"{step}.log"
        self.log.write_text("")

    def run(self, *command: str | Path, **how: Unpack[How]) -> None:
        """Run a command; raises StepFailed when it is missing or ends with a code other than 0."""
        with self.log.open("a") as log:
            self._run(command, log, log, how)

    def ask(self, *command: str | Path, **how: Unpack[How]) -> str:
        """Run a command and return its stdout; raises as `run` does."""
        with self.log.open("a") as log, tempfile.TemporaryFile("w+") as answer:
            self._run(command, answer, log, how)
            answer.seek(0)
            return answer.read()

    def _run(self, command: Sequence[str | Path], out: IO[str], log: IO[str], how: How) -> None:
        words = [str(word) for word in command]
        log.write(f"$ {' '.join(words)}\n")
        log.flush()
        env = {**os.environ, "PATH": program_path(), **how.get("env", {})}
        with open_input(how.get("stdin", "")) as source:
            try:
                done = subprocess.run(
                    words, cwd=how.get("cwd"), env=env, stdin=source, stdout=out, stderr=log, check=False
                )
            except FileNotFoundError as err:
                raise StepFailed(self.step, f"{words[0]} is not installed", self.way_out, self.log) from err
        if done.returncode != 0:
            what = f"`{' '.join(words[:4])}` ended with code {done.returncode}{_last_line(self.log)}"
            raise StepFailed(self.step, what, self.way_out, self.log)


@contextlib.contextmanager
def open_input(source: str | Path) -> Iterator[IO[bytes]]:
    """Give a file to read from: the given one, or one that holds the given text."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as held:
        held.write(source.encode())
        held.seek(0)
        yield held


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1][:200]}" if lines and not lines[-1].startswith("$ ") else ""


def digest_of(*values: str) -> str:
    """Return one SHA-256 over values, such that no two lists of values give the same text."""
    whole = hashlib.sha256()
    for value in values:
        whole.update(f"{len(value)}:".encode())
        whole.update(value.encode())
    return whole.hexdigest()


def files_digest(*paths: Path) -> str:
    """Return one SHA-256 over files and all files below folders, their relative names and execute bits included."""
    parts: list[str] = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                name = str(file.relative_to(path.parent))
                parts += [name, str(os.access(file, os.X_OK)), hashlib.sha256(file.read_bytes()).hexdigest()]
    return digest_of(*parts)


def announce(text: str) -> None:
    """Print one line for the person at the terminal."""
    print(f"[cluster] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold something for this process; a second one waits and says so. The lock ends with the process."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    with (LOCKS / name).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            announce(f"{name}: another run is at work on it; waiting until that has ended")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def finish(stage: Stage) -> bool:
    """Bring a stage to its end unless it is fresh; return whether work was done."""
    if stage.is_fresh():
        return False
    with alone(stage.name):
        if stage.is_fresh():
            return False
        _carry_out(stage)
    return True


def _carry_out(stage: Stage) -> None:
    announce(f"{stage.name}: {stage.title} (usually {stage.usual})")
    shell = Shell(stage.name, stage.way_out)
    stage.stamp.unlink(missing_ok=True)
    started = time.monotonic()
    stage.work(shell)
    if not stage.present():
        raise StepFailed(stage.name, "the step ended well but its product is missing", stage.way_out, shell.log)
    STAMPS.mkdir(parents=True, exist_ok=True)
    stage.stamp.write_text(stage.digest)
    announce(f"{stage.name}: done in {time.monotonic() - started:.0f} s")
