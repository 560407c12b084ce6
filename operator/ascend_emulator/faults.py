"""The annotation that sets faults: parsed as the untrusted JSON it is. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from ascend_emulator.chips import Fault, Level

_CODE = re.compile(r"[0-9A-F]{8,9}")
_LATEST = 253402300799
"""Unix seconds of the end of the year 9999, beyond which Go readers of a time fail."""


def parse_faults(text: str, count: int, now: int) -> tuple[dict[int, Fault], list[str]]:
    """Return the faults by chip number, and a sentence for each part that is wrong and therefore ignored.

    text: {"3": {"code": "80E01801", "level": "RestartNPU", "time": 1760000000}}; time, in Unix seconds, may be absent
    and is then `now`. count: chips of the node.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, [f"no JSON: {error}"]
    if not isinstance(document, dict):
        return {}, ["no JSON object"]
    faults: dict[int, Fault] = {}
    problems: list[str] = []
    for key, entry in document.items():
        try:
            number = _chip(key, count)
            faults[number] = _fault(entry, now)
        except ValueError as error:
            problems.append(f"{key[:20]!r}: {error}")
    return dict(sorted(faults.items())), problems


def _chip(key: str, count: int) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,2}", key) or int(key) >= count:
        raise ValueError(f"no chip of this node (0 to {count - 1})")
    return int(key)


def _fault(entry: Any, now: int) -> Fault:  # noqa: ANN401 - a JSON value
    if not isinstance(entry, dict):
        raise ValueError("no JSON object")
    code, time = entry.get("code"), entry.get("time", now)
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ValueError("code is not 8 or 9 hexadecimal digits in capitals")
    if isinstance(time, bool) or not isinstance(time, int) or not 0 <= time <= _LATEST:
        raise ValueError("time is no number of Unix seconds")
    return Fault(code=code, level=_level(entry.get("level")), time=time)


def _level(value: Any) -> Level:  # noqa: ANN401 - a JSON value
    try:
        return Level(value)
    except ValueError:
        raise ValueError(f"level is none of {', '.join(Level)}") from None
