"""Folders that are whole or not there: written aside, hashed, renamed; `manifest.json` is written last.

A reader takes a folder for existing only when its manifest is valid. So a process may be killed at any line: what it
leaves behind is a `.tmp-…` folder that nobody reads and the next attempt sweeps.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_ASIDE = ".tmp-"
"""Prefix of folders and files that are not whole yet."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a whole folder holds."""

    facts: Mapping[str, Any]
    """Everything in manifest.json but `files` and `complete`."""
    files: Mapping[str, tuple[int, str]]
    """Path inside the folder -> size in bytes and SHA-256 in hexadecimal digits."""
    sha256: str
    """SHA-256 of manifest.json itself: it stands for the folder's whole content."""

    @property
    def size_bytes(self) -> int:
        """Return the size of all listed files together, in bytes."""
        return sum(size for size, _ in self.files.values())


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits; raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def aside_path(target: Path, owner: str) -> Path:
    """Return where `owner` writes a folder before it is renamed to `target`."""
    return target.with_name(f"{_ASIDE}{target.name}-{owner}")


def make_aside(target: Path, owner: str) -> Path:
    """Create and return an empty folder beside `target`; what an earlier try of the same owner left is removed."""
    aside = aside_path(target, owner)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_folder(aside)
    aside.mkdir()
    return aside


def seal(folder: Path, facts: Mapping[str, Any]) -> Manifest:
    """Flush every file to disk and write the manifest last; the folder may then be renamed to its place."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        path.chmod(0o644)  # some writers make files that only their own user may read
        _flush(path)
        files[path.relative_to(folder).as_posix()] = (path.stat().st_size, file_sha256(path))
    listed = [{"path": name, "sizeBytes": size, "sha256": digest} for name, (size, digest) in files.items()]
    write_json(folder / MANIFEST, {**facts, "files": listed, "complete": True})
    return Manifest(dict(facts), files, file_sha256(folder / MANIFEST))


def read_manifest(folder: Path, *, hashes: bool = True) -> Manifest | None:
    """Return the manifest of a whole folder, None when anything is missing, cut short or changed.

    With hashes=False only presence and sizes are compared, which costs no reading.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
        document = json.loads(raw)
        files = {entry["path"]: (entry["sizeBytes"], entry["sha256"]) for entry in document.pop("files")}
        whole = document.pop("complete") is True and all(
            _is_whole(folder / name, size, digest, hashes) for name, (size, digest) in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Manifest(document, files, hashlib.sha256(raw).hexdigest()) if whole else None


def move_into_place(aside: Path, target: Path) -> None:
    """Rename a sealed folder to its place, which must be free or an empty folder; raises OSError otherwise."""
    aside.rename(target)
    _flush_folder(target.parent)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a small JSON file so that readers see the old one or the new one, never a part."""
    aside = path.with_name(f"{_ASIDE}{path.name}-{os.getpid()}")
    aside.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    _flush(aside)
    aside.replace(path)
    _flush_folder(path.parent)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object from a file, None when it is absent or no JSON object."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def remove_folder(folder: Path) -> None:
    """Remove a folder or file, its manifest first, so that readers never take the rest for whole; absent is fine."""
    with contextlib.suppress(OSError):
        (folder / MANIFEST).unlink()
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)


def sweep_aside(parent: Path, prefix: str = "") -> None:
    """Remove what killed processes left in a folder: entries called `.tmp-<prefix>…`."""
    for leftover in sorted(parent.glob(f"{_ASIDE}{prefix}*")):
        remove_folder(leftover)


def _flush_folder(folder: Path) -> None:
    """Make renames in a folder durable; file systems that cannot flush a folder are left to themselves."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _is_whole(path: Path, size: int, digest: str, hashes: bool) -> bool:
    return path.stat().st_size == size and (not hashes or file_sha256(path) == digest)
