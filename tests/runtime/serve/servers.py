"""Servers as pods start them: a process of its own, its address, its lines, its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.ranks import free_port

STARTED = ('"event": "serving"', '"event": "following"', "Daemon start success!")


class Server:
    """A server process."""

    def __init__(
        self, engine: str, arguments: list[str], folder: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.log = folder / "termination"
        self.url = ""
        self.lines: list[str] = []
        command = [sys.executable, "-m", "ascend_runtime", "serve", "--termination-log", str(self.log), engine]
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "HOME": str(folder)}
        self.process = subprocess.Popen(
            [*command, *arguments],
            env={**variables, "OMP_NUM_THREADS": "1", **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if any(word in line for word in STARTED):
                self._started.set()
        self._started.set()

    def wait_started(self) -> None:
        assert self._started.wait(60)
        assert self.process.poll() is None, "".join(self.lines)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in (json.loads(line) for line in self.lines if line.startswith("{")) if e["event"] == kind]

    def ended(self, seconds: float = 30) -> tuple[int, dict[str, Any] | None]:
        """Wait for the end; return exit code and last words."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code, json.loads(self.log.read_text()) if self.log.exists() else None

    def engine_pid(self) -> int:
        """Return the process id of llama.cpp."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def get(self, path: str, url: str | None = None) -> tuple[int, str]:
        return fetch((url or self.url) + path)

    def post(self, path: str, document: object, url: str | None = None) -> tuple[int, Any]:
        status, text = fetch(
            (url or self.url) + path, document if isinstance(document, bytes) else json.dumps(document).encode()
        )
        return status, json.loads(text)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels."""
        return sum_metric(self.get("/metrics")[1], name, labels)


def fetch(url: str, body: bytes | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sum_metric(text: str, name: str, labels: Mapping[str, str]) -> float:
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if all(word in line for word in wanted)]
    assert found, f"no metric {name}"
    return sum(found)


@contextlib.contextmanager
def serving_vllm(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run vLLM's facade on a free port until the end of the block."""
    port = free_port()
    words = [*arguments, "--host", "127.0.0.1", "--port", str(port), "--threads", "1"]
    server = Server("vllm", words, folder, environ)
    server.url = f"http://127.0.0.1:{port}"
    try:
        server.wait_started()
        yield server
    finally:
        server.stop(signal.SIGKILL)


def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
