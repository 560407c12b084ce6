"""Lines of a training log as progress. Whoever trains may print anything, so every line is hostile until checked.

The lines that count are told in docs/contract.md, "Lines on stdout". A line with a wrong type, an infinity, a value out
of range, or without a field that it needs is dropped whole; fields that nobody knows are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

LONGEST_LINE = 8 << 10
"""Bytes; a longer line is not read."""
_MOST = 2**53
"""The largest count; above it JSON numbers are not exact everywhere."""

_LONGEST_SECONDS = 10**9
"""Thirty years; a longer time left is told as that."""

Check = Callable[[Any], Any]
"""Returns the value to keep; raises ValueError when it is none."""


def parse_line(line: bytes) -> tuple[str, Mapping[str, object]] | None:
    """Return (event, checked fields) of a line that counts, None for all others."""
    if not line.startswith(b"{") or len(line) > LONGEST_LINE:
        return None
    try:
        raw = orjson.loads(line)
        known = _EVENTS[raw["event"]]
        fields = {name: check(raw[name]) for name, check in known.items() if raw.get(name) is not None}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    if not any(needed <= fields.keys() for needed in _REQUIRED[raw["event"]]):
        return None
    return raw["event"], fields


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ValueError(value)
    return value


def _seconds(value: object) -> int:
    return min(_count(int(_amount(value))), _LONGEST_SECONDS)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e300:
        raise ValueError(value)
    return float(value)


def _amount(value: object) -> float:
    number = _number(value)
    if number < 0:
        raise ValueError(value)
    return number


def _text(longest: int) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError(value)
        return "".join(c for c in value[:longest] if c.isprintable())

    return check


def _digest(value: object) -> str:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(value)
    return value


def _moment(value: object) -> str:
    """Return a time with whole seconds in UTC, as a status keeps it."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None
    if moment is None or moment.tzinfo is None or not 1970 <= moment.year <= 9998:
        raise ValueError(value)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_EVENTS: Mapping[str, Mapping[str, Check]] = {
    "progress": {
        "step": _count,
        "totalSteps": _count,
        "loss": _number,
        "gradNorm": _amount,
        "learningRate": _amount,
        "tokensPerSecond": _amount,
        "estimatedSecondsLeft": _seconds,
        "suite": _text(64),
        "done": _count,
        "total": _count,
        "time": _moment,
    },
    "validation": {"step": _count, "loss": _number, "time": _moment},
    "checkpoint": {"step": _count, "uri": _text(2048), "sha256": _digest, "time": _moment},
}
_REQUIRED: Mapping[str, tuple[frozenset[str], ...]] = {
    "progress": (frozenset({"step"}), frozenset({"done", "total"})),
    "validation": (frozenset({"step", "loss"}),),
    "checkpoint": (frozenset({"step", "uri", "sha256", "time"}),),
}
"""Fields of which all have to be there; a trainer's progress has a step, an evaluation's says how much is done."""
