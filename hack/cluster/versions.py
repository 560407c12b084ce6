"""The pinned versions of hack/versions.env."""

from __future__ import annotations

import re
from pathlib import Path

VERSIONS_FILE = Path(__file__).resolve().parent.parent / "versions.env"
_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(\S+)")


def parse_versions(text: str) -> dict[str, str]:
    """Read KEY=value lines; empty lines and comments are skipped.

    Raises ValueError with the line number for anything else: a shell that reads the file must see the same values, so
    quotes, spaces and expansions are not allowed.
    """
    found: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or any(sign in line for sign in "\"'$`\\"):
            raise ValueError(f"line {number}: {line!r} is not KEY=value without quotes and spaces")
        if match[1] in found:
            raise ValueError(f"line {number}: {match[1]} is given twice")
        found[match[1]] = match[2]
    return found


def read_versions() -> dict[str, str]:
    """Return the versions of this checkout."""
    return parse_versions(VERSIONS_FILE.read_text())
