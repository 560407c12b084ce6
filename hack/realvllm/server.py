"""A container of an engine as a process of this machine: its command, its arguments, its environment, its end."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
"""What vLLM wants on a CPU and an NPU's pod does not set."""
_START_SECONDS = 600


@dataclass(frozen=True)
class Running:
    """A server that answers its startup probe."""

    process: subprocess.Popen[bytes]
    url: str
    start_seconds: float
    log: Path

    def megabytes(self) -> int:
        """Return the resident memory of all its processes; shared pages count in each."""
        return sum(_resident(pid) for pid in _group(self.process.pid)) >> 20


@contextlib.contextmanager
def running(container: Mapping[str, Any], path: Path, log: Path, extra: Sequence[str] = ()) -> Iterator[Running]:
    """Run a container's command with `path` in front of PATH until the end of the block; raises SystemExit."""
    port = container["startupProbe"]["httpGet"]["port"]
    with socket.socket() as taken:
        if taken.connect_ex(("127.0.0.1", port)) == 0:
            raise SystemExit(f"port {port} is in use: vLLM is started with the arguments of a pod, which say {port}")
    started = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*container["command"], *container["args"], *extra],
            env=_environment(container, path, log.parent),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url + container["startupProbe"]["httpGet"]["path"], log)
        yield Running(process, url, time.monotonic() - started, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(container: Mapping[str, Any], path: Path, home: Path) -> dict[str, str]:
    """Return the container's variables; what a pod knows of itself is this machine's loopback."""
    found = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "HOME": str(home), **_ON_CPU}
    for entry in container["env"]:
        found[entry["name"]] = str(entry.get("value", "127.0.0.1")).replace("$$(", "$(")
    if not Path("/sys/class/net/eth0").exists():
        found |= {name: "lo" for name in found if name.endswith("_SOCKET_IFNAME")}
    return found


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while status(url) != 200:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"vLLM did not start ({process.poll()}):\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(1)


def status(url: str) -> int | None:
    """Return the HTTP status of a GET, None when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def page(url: str) -> str:
    """Return a page as text."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


class Stream(threading.Thread):
    """A request that streams in the background; `lines` grows as it does."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        """Begin it."""
        super().__init__(daemon=True)
        self.lines: list[str] = []
        self.failure = ""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._path, self._body = path, body
        self.start()

    def run(self) -> None:
        """Read to the end."""
        try:
            self._connection.request("POST", self._path, self._body, {"Content-Type": "application/json"})
            for line in self._connection.getresponse():
                if line.startswith(b"data:"):
                    self.lines.append(line.decode())
        except (OSError, http.client.HTTPException) as error:
            self.failure = type(error).__name__

    def close(self) -> None:
        """Go away, as a client that does not want to wait any longer."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(5)

    @property
    def tokens(self) -> int:
        """Return how many pieces came."""
        return sum('"text"' in line for line in self.lines)

    @property
    def is_whole(self) -> bool:
        """Return whether the answer came to the end that was asked for."""
        return any('"finish_reason":"length"' in line for line in self.lines)


def _group(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(entry.name)) == pid:
                found.append(int(entry.name))
    return found


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
