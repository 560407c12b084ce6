"""The init container `wait`: lets the trainer start when the rank table and rank 0's name are there.

Standard library alone, so that it starts in about 0.1 s. The kubelet swaps the mounted folder's `..data` link, other
writers may replace files in place; either way a file that does not read as whole is simply read again.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ascend_jobs import names

from ascend_runtime.ranktable import RankTable, is_same_address, parse_rank_table
from ascend_runtime.report import emit

_POLL_SECONDS = 0.1
"""Between two looks at the files: four stat calls, no measurable load, and a tenth of the delivery time aimed at."""
_REREAD_SECONDS = 1.0
"""Longest time without reading the files again although their stat says unchanged (coarse clocks, torn writes)."""
_DEFAULT_DEADLINE = 1800.0
"""Seconds when the pod sets no deadline: as long as HCCL itself waits for links at most (HCCL_CONNECT_TIMEOUT)."""


@dataclass(frozen=True)
class Wanted:
    """What this pod waits for."""

    attempt: str
    pod: str
    address: str
    master: str
    source: Path | None
    """Folder of the mounted ConfigMap; None when the job has no rank table at all."""
    destination: Path
    seconds: float


@dataclass(frozen=True)
class Published:
    """What the mounted folder says at one moment; `table` is None while hccl.json does not read as a table."""

    attempt: str = ""
    version: str = ""
    skip: str = ""
    text: str = ""
    table: RankTable | None = None
    defect: str = ""


class WaitOver(Exception):
    """The deadline passed; the message names the pod and the field that are missing."""


def wanted_from(environ: Mapping[str, str], destination: Path) -> Wanted:
    """Read what to wait for from the pod's environment (docs/contract.md, Environment)."""
    source = environ.get(names.ENV_RANK_TABLE_SOURCE)
    return Wanted(
        attempt=environ.get(names.ENV_ATTEMPT, "0"),
        pod=environ.get(names.ENV_POD_NAME, "this pod"),
        address=environ.get(names.ENV_POD_IP, ""),
        master=environ.get("MASTER_ADDR", ""),
        source=Path(source) if source else None,
        destination=destination,
        seconds=float(environ.get(names.ENV_WAIT_SECONDS) or _DEFAULT_DEADLINE),
    )


def table_obstacle(wanted: Wanted, published: Published) -> str | None:
    """Return the sentence that says what the rank table still lacks, None when it is this pod's, or none is to come."""
    if wanted.source is None:
        return None
    if published.attempt != wanted.attempt:
        return f"field attempt is {published.attempt or 'absent'}, not {wanted.attempt}"
    return None if published.skip else _missing_in_table(wanted, published)


def master_obstacle(wanted: Wanted, published: Published, addresses: frozenset[str]) -> str | None:
    """Return the sentence that says why rank 0 cannot be called by its name yet, None when it can."""
    if not addresses:
        return f"MASTER_ADDR {wanted.master or '(not set)'} does not resolve"
    first = published.table.first_server() if published.table and not published.skip else None
    if first is None or any(is_same_address(address, first.container_ip) for address in addresses):
        return None
    found = ", ".join(sorted(addresses))
    return f"MASTER_ADDR {wanted.master} resolves to {found}, container_ip of rank 0 is {first.container_ip}"


def wait(wanted: Wanted) -> None:
    """Block until nothing is missing; the table is copied as soon as it is whole. Raises WaitOver at the deadline."""
    deadline = time.monotonic() + wanted.seconds
    source, lookup = _Source(wanted.source), _Lookup(wanted.master)
    said = delivered = ""
    while True:
        published = source.read()
        missing = table_obstacle(wanted, published)
        if missing is None and not published.skip and published.text != delivered:
            deliver(published, wanted.destination)
            delivered = published.text
            emit("wait", delivered=published.version, attempt=published.attempt)
        missing = missing or master_obstacle(wanted, published, lookup.addresses)
        if missing is None:
            return
        if time.monotonic() >= deadline:
            raise WaitOver(f"after {wanted.seconds:g} s {wanted.pod} still waits: {missing}")
        if missing != said:
            emit("wait", missing=missing)
            said = missing
        time.sleep(_POLL_SECONDS)


def deliver(published: Published, destination: Path) -> None:
    """Copy the table, then its version, each written aside and renamed, so that the version never runs ahead."""
    destination.mkdir(parents=True, exist_ok=True)
    for name, text in ((names.RANK_TABLE_KEY, published.text), (names.RANK_TABLE_VERSION_KEY, published.version)):
        aside = destination / f".tmp-{name}"
        aside.write_text(text)
        aside.replace(destination / name)


def _missing_in_table(wanted: Wanted, published: Published) -> str | None:
    table = published.table
    if table is None:
        return f"no rank table yet: {published.defect}"
    if not table.is_completed:
        return f"field status of the rank table is {table.status}, not completed"
    if table.server_at(wanted.address) is None:
        return f"no entry of server_list has container_ip {wanted.address or '(POD_IP is not set)'}, pod {wanted.pod}"
    if len(table.servers) != table.server_count:
        return f"server_count is {table.server_count}, server_list has {len(table.servers)} entries"
    return None if table.first_server() else "no device of server_list has rank_id 0"


@dataclass
class _Source:
    """The mounted folder; files are read again only when their stat changed or a second went by."""

    folder: Path | None
    _stamp: tuple[object, ...] = ()
    _read_at: float = field(default=-_REREAD_SECONDS)
    _last: Published = field(default_factory=Published)

    def read(self) -> Published:
        if self.folder is None:
            return self._last
        stamp = tuple(_stat(self.folder / name) for name in _KEYS)
        now = time.monotonic()
        if stamp != self._stamp or now - self._read_at >= _REREAD_SECONDS:
            self._stamp, self._read_at, self._last = stamp, now, _read_published(self.folder)
        return self._last


_KEYS = (
    names.RANK_TABLE_ATTEMPT_KEY,
    names.RANK_TABLE_VERSION_KEY,
    names.RANK_TABLE_SKIP_KEY,
    names.RANK_TABLE_KEY,
)


def _read_published(folder: Path) -> Published:
    """Read all keys; should the kubelet swap the folder in between, the stat differs next time and all is read anew."""
    attempt, version, skip, text = (_read_text(folder / name) for name in _KEYS)
    try:
        return Published(attempt.strip(), version.strip(), skip.strip(), text, parse_rank_table(text))
    except ValueError as error:
        return Published(attempt.strip(), version.strip(), skip.strip(), text, None, str(error))


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


class _Lookup:
    """Resolves a name again and again on a thread of its own, so that a slow DNS server never holds up the files."""

    def __init__(self, name: str) -> None:
        self.addresses: frozenset[str] = frozenset()
        self._name = name
        self._tried = threading.Event()
        if name:
            threading.Thread(target=self._resolve_forever, daemon=True).start()
            self._tried.wait(_POLL_SECONDS)

    def _resolve_forever(self) -> None:
        pause = _POLL_SECONDS
        while True:
            self.addresses = _resolve(self._name)
            self._tried.set()
            time.sleep(pause)
            pause = min(1.5 * pause, 1.0)


def _resolve(name: str) -> frozenset[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(str(entry[4][0]) for entry in found)
