"""What a container says: JSON lines on stdout while it runs, one termination message when it ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MESSAGE_LIMIT = 4096
"""Longest termination message in bytes; the kubelet cuts what is longer (API reference, terminationMessagePath)."""


def emit(event: str, **facts: object) -> None:
    """Print one JSON line with the present time in UTC.

    Raises ValueError for NaN and infinities, which are not JSON; the caller decides what stands for them.
    """
    line = {"event": event, **facts, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    print(json.dumps(line, allow_nan=False), flush=True)


class Throttle:
    """Lets through at most one line in `seconds`, the first one at once."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._due = 0.0

    def is_due(self) -> bool:
        """Return whether a line may be printed now, and if so start the next interval."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + self._seconds
        return True


def write_termination(path: Path, message: Mapping[str, Any]) -> None:
    """Write the container's last words; where the file cannot be written (not in a pod), print them to stderr."""
    text = _within_limit(dict(message))
    try:
        path.write_text(text)
    except OSError:
        print(text, file=sys.stderr, flush=True)


def _within_limit(message: dict[str, Any]) -> str:
    text = json.dumps(message, allow_nan=False)
    excess = len(text) - MESSAGE_LIMIT
    if excess <= 0:
        return text
    sentence = str(message.get("message", ""))
    # ASCII escapes take up to 6 characters for one of the sentence's, so cutting `excess` characters is always enough.
    message["message"] = sentence[: max(0, len(sentence) - excess - 3)] + "..."
    text = json.dumps(message, allow_nan=False)
    return text if len(text) <= MESSAGE_LIMIT else json.dumps({"reason": message.get("reason", "Error")})
