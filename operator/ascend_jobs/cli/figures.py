"""Numbers and words as they stand on the screen: bars, durations, sizes, phases in colour. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from ascend_jobs.api.base import Metadata
from ascend_jobs.cli.screen import clean

_BAR = 32
_SPARKS = "▁▂▃▄▅▆▇█"
_GOOD, _BAD, _HELD, _BUSY = "32", "31", "33", "36"
_COLOURS = {
    "Complete": _GOOD,
    "Ready": _GOOD,
    "Waiting": _GOOD,
    "Failed": _BAD,
    "Stalled": _BAD,
    "Restarting": _HELD,
    "Suspended": _HELD,
    "Degraded": _HELD,
    "Running": _BUSY,
    "Updating": _BUSY,
    "Starting": _BUSY,
}


def headline(kind: str, meta: Metadata, phase: str, age: timedelta, *, colour: bool) -> str:
    """Return kind, name, phase and age."""
    phase = clean(phase)
    shown = f"\x1b[1;{_COLOURS.get(phase, '0')}m{phase}\x1b[0m" if colour else phase
    return f"{kind} {meta.namespace}/{meta.name}  {shown}  {duration(age)}"


def labelled(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return rows of (label, text) as lines, texts one below the other; rows without text are left out."""
    return [f"  {label:<11}{text}" if label else text for label, text in rows if text]


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago something was; "" when it was not."""
    return f"{duration(now - moment)} ago" if moment is not None else ""


def bar(done: int, total: int | None) -> str:
    """Return a progress bar of fixed width; empty without a total."""
    if not total:
        return ""
    filled = min(_BAR, _BAR * done // total)
    return "█" * filled + "░" * (_BAR - filled)


def sparks(values: Sequence[float]) -> str:
    """Return the course of the last values as a row of small bars, the greatest as the highest."""
    recent = list(values)[-24:]
    if len(recent) < 2:
        return ""
    low, high = min(recent), max(recent)
    step = (high - low) / (len(_SPARKS) - 1) or 1.0
    return "".join(_SPARKS[int((value - low) / step)] for value in recent)


def duration(span: timedelta) -> str:
    """Return a time span in its two greatest units: 45s, 3m12s, 2h05m, 3d4h."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d{seconds % 86400 // 3600}h"


def size(count: int) -> str:
    """Return bytes in a readable unit (powers of 1000)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def speed(first_token_milliseconds: float | None, tokens_per_second: float | None) -> str:
    """Return how fast an answer came; "" when nothing is known."""
    parts = []
    if first_token_milliseconds is not None:
        parts.append(f"first token {first_token_milliseconds:,.0f} ms")
    if tokens_per_second is not None:
        parts.append(f"{tokens_per_second:,.1f} tokens/s")
    return "   ".join(parts)
