"""Where things are kept. All of it is below one cache folder, so that removing the folder removes everything."""

from __future__ import annotations

import os
from pathlib import Path

HACK = Path(__file__).resolve().parent.parent
PROJECT = HACK.parent
KIND_FILES = HACK / "kind"


def cache_root() -> Path:
    """Return ${XDG_CACHE_HOME:-~/.cache}/ascend-jobs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ascend-jobs"


CACHE = cache_root()
BIN = CACHE / "bin"  # programs built from Go modules
BUILD = CACHE / "build"  # scratch space; may be removed at any time
STAMPS = CACHE / "stamps"  # one file a finished stage, holding the digest of its inputs
LOGS = CACHE / "logs"
DOCKER_DATA = CACHE / "docker"  # data folder of the daemon, where we start one
DOCKER_PID = CACHE / "dockerd.pid"  # exists only while a daemon of ours runs
LOCKS = CACHE / "locks"


def cluster_folder(name: str) -> Path:
    """Return the folder of one cluster: its kind config, its stamp and the folder its nodes share."""
    return CACHE / "clusters" / name


def program_path() -> str:
    """Return PATH with the programs we built first."""
    return f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
