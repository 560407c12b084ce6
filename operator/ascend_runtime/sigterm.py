"""SIGTERM ends a program at once, also as PID 1 of a container and also while it waits in C++."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence

_lock = threading.Lock()
_children: list[subprocess.Popen[bytes]] = []
"""Processes that end with this one. In a container they would anyway, when its PID 1 is gone."""


def exit_on_sigterm() -> None:
    """Have a thread wait for SIGTERM and end the process with code 143; called before any other thread starts.

    As PID 1 a process without a handler ignores SIGTERM; and a handler of Python's would wait until a collective in
    C++ returns. A thread that waits for the signal does neither. All folders are written aside, so an end at any line
    is safe.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait, daemon=True).start()


def start_child(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that gets SIGTERM when this one does; the signal cannot come between its start and its entry."""
    with _lock:
        child = subprocess.Popen(command, env=environ)
        _children.append(child)
    return child


def _wait() -> None:
    signal.sigwait({signal.SIGTERM})
    with _lock:
        for child in _children:
            child.terminate()
        os._exit(128 + signal.SIGTERM)
