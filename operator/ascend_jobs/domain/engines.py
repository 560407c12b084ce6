"""What serving engines understand: arguments of vLLM and keys of MindIE's config.json by release, metrics, ports.

The tables beside this file:

vllm_arguments.csv  options of `vllm serve` by release (major.minor), read from the argument parsers in the wheels of
                    vLLM 0.11.0, 0.13.0, 0.18.0, 0.23.0 and 0.32.0 (vLLM project, Apache-2.0: names and value kinds).
mindie_keys.csv     keys of config.json: section, value kind, range, default that is written (none: only when asked
                    for), first and last release. Sources: MindIE's "Configuration Parameters (Service-Specific)" for
                    1.0, 2.0.RC1 and 2.3.0 (hiascend.com, mindie_service0285), and of MindIE-LLM of April 2026
                    (service_parameter_configuration.md, conf/config.json). TLS between its own parts is off, so the
                    keys that name certificates are not there: the address in front does TLS.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

VLLM_NEWEST = (0, 32)
VLLM_ASCEND_NEWEST = (0, 23)
"""Newest stable release of vLLM-Ascend in the table; its version is that of the vLLM inside."""
MINDIE_NEWEST = (3, 0)

Release = tuple[int, int]
"""Major and minor number."""


@dataclass(frozen=True)
class MindieKey:
    """One key of MindIE's config.json; `default` is None where it is only written when asked for."""

    section: str
    name: str
    kind: str
    low: int | None
    high: int | None
    default: Any
    since: Release
    until: Release | None


def release(version: str | None, newest: Release) -> Release | None:
    """Return the release of a version such as 0.23.0, v0.23.0rc1 or 2.1.RC1; `newest` for None.

    None when the text does not begin with a major and a minor number.
    """
    if version is None:
        return newest
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def vllm_arguments(wanted: Release) -> Mapping[str, str]:
    """Return the options of `vllm serve` (without dashes) and their kind: flag, number, text, list or json.

    A release between two of the table knows what either of them knows; beyond its ends the nearest one counts.
    """
    rows = _vllm_rows()
    known = sorted({entry for _, _, releases in rows for entry in releases})
    below = max((r for r in known if r <= wanted), default=known[0])
    above = min((r for r in known if r >= wanted), default=known[-1])
    return {name: kind for name, kind, releases in rows if below in releases or above in releases}


def mindie_keys(wanted: Release) -> Mapping[str, MindieKey]:
    """Return the keys of config.json that a release of MindIE knows, by name; each name stands in one section only."""
    return {
        key.name: key for key in _mindie_rows() if key.since <= wanted and (key.until is None or wanted <= key.until)
    }


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" with up to three names that look alike, "" when none does."""
    found = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


@cache
def _vllm_rows() -> tuple[tuple[str, str, frozenset[Release]], ...]:
    return tuple(
        (row["argument"], row["kind"], frozenset(_release(text) for text in row["releases"].split()))
        for row in _table("vllm_arguments.csv")
    )


@cache
def _mindie_rows() -> tuple[MindieKey, ...]:
    return tuple(
        MindieKey(
            section=row["section"],
            name=row["key"],
            kind=row["kind"],
            low=int(row["low"]) if row["low"] else None,
            high=int(row["high"]) if row["high"] else None,
            default=json.loads(row["default"]) if row["default"] else None,
            since=_release(row["since"]),
            until=_release(row["until"]) if row["until"] else None,
        )
        for row in _table("mindie_keys.csv")
    )


def _table(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _release(text: str) -> Release:
    major, minor = text.split(".")
    return int(major), int(minor)
