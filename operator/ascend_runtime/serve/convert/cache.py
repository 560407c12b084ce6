"""Converted models by the digest of what they were made from, so that a restart converts nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from ascend_jobs import names

from ascend_runtime.folders import (
    MANIFEST,
    file_sha256,
    make_aside,
    move_into_place,
    read_manifest,
    remove_folder,
    seal,
)
from ascend_runtime.serve.failures import CannotServe, ServeReason

FORMAT = 1
"""Raised when the conversion changes: files of an older one are then made anew."""
_FILE = "model.gguf"


def cache_folder(given: Path | None) -> Path:
    """Return the folder of converted models: as given, else the variable's, else one below the user's cache."""
    named = os.environ.get(names.ENV_SERVE_CACHE)
    if given is not None or named:
        return given or Path(str(named))
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        home.mkdir(parents=True, exist_ok=True)
        return home / "ascend-jobs" / "serve" if os.access(home, os.W_OK) else _temporary()
    except (OSError, RuntimeError):  # a home that cannot be written, or none
        return _temporary()


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / "ascend-jobs-serve"


def content_digest(folder: Path, files: Iterable[str], *more: str) -> str:
    """Return a digest of the named files that a folder has, and of what else decides the conversion.

    Where a manifest vouches for the folder, its hashes are taken instead of reading the weights again.
    """
    manifest = read_manifest(folder, hashes=False)
    known = {} if manifest is None else {name: digest for name, (_, digest) in manifest.files.items()}
    total = hashlib.sha256(repr((FORMAT, more)).encode())
    for name in sorted(files):
        if (folder / name).is_file():
            total.update(f"{name} {known.get(name) or file_sha256(folder / name)}\n".encode())
    return total.hexdigest()


def cached(folder: Path, digest: str, write: Callable[[Path], None]) -> Path:
    """Return the converted file of a digest, written now if it is not there yet.

    Written aside and renamed: several servers may share the folder. Raises CannotServe when it cannot be written.
    """
    target = folder / digest[:32]
    if read_manifest(target, hashes=False) is not None:
        return target / _FILE
    try:
        aside = make_aside(target, f"{socket.gethostname()}-{os.getpid()}")
        write(aside / _FILE)
        seal(aside, {"digest": digest})
        _publish(aside, target)
    except OSError as error:
        sentence = f"the converted model cannot be written to {folder}: {error.strerror or error}"
        raise CannotServe(ServeReason.ENGINE_DIED, "cache-dir", sentence) from error
    return target / _FILE


def _publish(aside: Path, target: Path) -> None:
    if target.exists() and read_manifest(target, hashes=False) is None:
        remove_folder(target)
    try:
        move_into_place(aside, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or not (target / MANIFEST).is_file():
            raise
        remove_folder(aside)  # another server was faster
