"""`python -m ascend_runtime proxy`: HAProxy with what its pod has mounted, from its start to its last request.

Standard library alone. Configuration and Secrets are mounted; HAProxy reads copies of them: the configuration as it is,
API keys as SHA-256 digests, certificate and key in one file. The kubelet brings changes into the mounts; they are
checked and then taken over by a reload, in which new workers get the listening sockets and old ones end with their last
request. What cannot be used is said and the old stays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ascend_jobs import names

from ascend_runtime.report import emit

_POLL_SECONDS = 2.0
"""Between two looks at the mounts; the kubelet itself takes up to a minute and a half."""
_START_SECONDS = 30.0
"""How long Secrets may be missing at the start before the container ends and says so."""
_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
_STOPPING = (signal.SIGTERM, signal.SIGINT)
Files = dict[str, bytes]
"""What HAProxy is to run with, by file name."""
_KEYS_FIELD, _TLS_FIELD = "spec.access.apiKeysSecretRef", "spec.access.tlsSecretRef"


@dataclass(frozen=True)
class Places:
    """Folders: those mounted, and the one that HAProxy reads from."""

    config: Path = Path(names.PROXY_CONFIG_DIR)
    keys: Path = Path(names.PROXY_KEYS_DIR)
    tls: Path = Path(names.PROXY_TLS_DIR)
    files: Path = Path(names.PROXY_FILES_DIR)


@dataclass(frozen=True)
class Settings:
    """Names of the Secrets that have to be there, and seconds in which requests are still taken after SIGTERM."""

    keys_secret: str | None
    tls_secret: str | None
    leave_seconds: float
    start_seconds: float = _START_SECONDS


class CannotProxy(Exception):
    """HAProxy cannot be started, or ended; `message` are the container's last words."""

    code = 1

    def __init__(self, reason: str, field: str, sentence: str) -> None:
        """Take a CamelCase reason, the field of the spec that names what is wrong, and a sentence."""
        super().__init__(f"{field}: {sentence}" if field else sentence)
        self.message = {"reason": reason, "message": str(self)}


class _Stopped(Exception):
    """SIGTERM came before HAProxy was started."""


def proxy(places: Places, settings: Settings) -> None:
    """Run HAProxy until SIGTERM and then until its last request has ended; raises CannotProxy."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        applied = _first(places, settings)
    except _Stopped:
        return
    running = _Running(places, settings, applied, _start(places))
    emit("proxy", keys=_count(applied), tls=settings.tls_secret is not None)
    while _signal(_POLL_SECONDS) not in _STOPPING:
        running.look()
    _leave(running.haproxy, settings.leave_seconds)


class _Running:
    """HAProxy and what it runs with."""

    def __init__(self, places: Places, settings: Settings, applied: Files, haproxy: subprocess.Popen[bytes]) -> None:
        self._places, self._settings, self.haproxy = places, settings, haproxy
        self._applied = self._seen = applied
        self._warned = ""

    def look(self) -> None:
        """Take over what is new in the mounts; raises CannotProxy when HAProxy has ended."""
        if self.haproxy.poll() is not None:
            raise CannotProxy("ProxyFailed", "", f"haproxy ended with code {self.haproxy.returncode}")
        try:
            fresh = _look(self._places, self._settings)
        except CannotProxy as error:
            self._warn(str(error))
            return
        if fresh == self._applied:
            self._warned = ""
        if fresh not in (self._seen, self._applied):
            self._take_over(fresh)
        self._seen = fresh

    def _take_over(self, files: Files) -> None:
        _write(self._places.files, files)
        problem = _problem(self._places)
        if problem is not None:
            _write(self._places.files, self._applied)
            self._warn(problem)
            return
        self.haproxy.send_signal(signal.SIGUSR2)
        self._applied, self._warned = files, ""
        emit("reload", keys=_count(files))

    def _warn(self, message: str) -> None:
        if message != self._warned:
            emit("warning", message=f"{message}; what was there before stays in use")
        self._warned = message


def _first(places: Places, settings: Settings) -> Files:
    """Return what to start with, written and checked; waits until it is there."""
    end = time.monotonic() + settings.start_seconds
    while True:
        try:
            files = _look(places, settings)
            _write(places.files, files)
            problem = _problem(places)
            if problem is None:
                return files
            raise CannotProxy("ProxyFailed", "", problem)
        except CannotProxy as error:
            if time.monotonic() >= end:
                raise
            emit("wait", missing=str(error))
        if _signal(min(1.0, settings.start_seconds)) in _STOPPING:
            raise _Stopped


def _leave(haproxy: subprocess.Popen[bytes], seconds: float) -> None:
    """Take requests until every node has heard that this pod goes, then end with the last one."""
    emit("leaving", seconds=seconds)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and haproxy.poll() is None:
        _signal(left)
    haproxy.send_signal(signal.SIGUSR1)
    while haproxy.poll() is None:
        if _signal(1.0) in _STOPPING:
            haproxy.terminate()
    emit("left", code=haproxy.returncode)


def _look(places: Places, settings: Settings) -> Files:
    """Return what the mounts hold, for HAProxy; raises CannotProxy when something is missing or wrong."""
    try:
        config = (places.config / names.PROXY_CONFIG_FILE).read_bytes()
    except OSError as error:
        raise CannotProxy("ProxyFailed", "", f"the configuration cannot be read: {error}") from error
    files = {names.PROXY_CONFIG_FILE: config}
    if settings.keys_secret is not None:
        files[names.PROXY_KEYS_FILE] = key_digests(places.keys, settings.keys_secret)
    if settings.tls_secret is not None:
        files[names.PROXY_TLS_FILE] = certificate(places.tls, settings.tls_secret)
    return files


def key_digests(folder: Path, secret: str) -> bytes:
    """Return the SHA-256 of every value of the mounted Secret, one a line; raises CannotProxy when there is none."""
    values = {path.read_bytes().strip() for path in _values(folder)} - {b""}
    if not values:
        raise CannotProxy("MissingSecret", _KEYS_FIELD, f"Secret {secret} is not there, or holds no key; create it")
    return "".join(sorted(f"{hashlib.sha256(value).hexdigest()}\n" for value in values)).encode()


def certificate(folder: Path, secret: str) -> bytes:
    """Return certificate and key of the mounted Secret as HAProxy wants them; raises CannotProxy.

    Both are tried together first: a pair that does not fit must not take the place of one that does.
    """
    chain, key = folder / "tls.crt", folder / "tls.key"
    if not (chain.is_file() and key.is_file()):
        message = f"Secret {secret} is not there, or has no tls.crt and tls.key; create it (kubectl create secret tls)"
        raise CannotProxy("MissingSecret", _TLS_FIELD, message)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password=str)
        return chain.read_bytes().rstrip() + b"\n" + key.read_bytes()
    except (OSError, ValueError) as error:
        message = f"tls.crt and tls.key of Secret {secret} cannot be used: {error}"
        raise CannotProxy("SecretInvalid", _TLS_FIELD, message) from error


def _count(files: Files) -> int:
    """Return the number of API keys."""
    return files.get(names.PROXY_KEYS_FILE, b"").count(b"\n")


def _values(folder: Path) -> Iterator[Path]:
    """Yield the files of a mounted Secret; what the kubelet keeps beside them begins with two dots."""
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if not path.name.startswith("..") and path.is_file())


def _write(folder: Path, files: Files) -> None:
    """Write files that only this user may read, each at once."""
    for name, content in files.items():
        aside = folder / f".{name}"
        aside.touch(mode=0o600)
        aside.write_bytes(content)
        aside.replace(folder / name)


def _problem(places: Places) -> str | None:
    """Return what HAProxy has against its configuration, None when nothing."""
    config = places.files / names.PROXY_CONFIG_FILE
    done = subprocess.run(
        [_program(), "-c", "-q", "-f", str(config)], env=_environ(), capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    alerts = [line for line in done.stderr.splitlines() if "[ALERT]" in line]
    return f"haproxy refuses its configuration: {(alerts or [done.stderr])[0][-500:]}"


def _start(places: Places) -> subprocess.Popen[bytes]:
    config = places.files / names.PROXY_CONFIG_FILE
    command = [_program(), "-W", "-f", str(config)]
    return subprocess.Popen(command, env=_environ(), preexec_fn=_unblock)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _program() -> str:
    return shutil.which("haproxy") or "/usr/sbin/haproxy"


def _environ() -> dict[str, str]:
    """Return the environment, with the address to listen on: IPv6 too where there is any."""
    return {**os.environ, "LISTEN": "::" if socket.has_dualstack_ipv6() else ""}


def _signal(seconds: float) -> int | None:
    """Wait for a signal; return its number, None when none came."""
    found = signal.sigtimedwait(_SIGNALS, seconds)
    return found.si_signo if found is not None else None
