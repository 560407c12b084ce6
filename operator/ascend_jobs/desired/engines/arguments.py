"""spec.serving.engineArgs as command-line options: what is wrong with them, and how they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ascend_jobs.desired.engines.pod import literal
from ascend_jobs.desired.engines.shape import Problem
from ascend_jobs.domain.engines import nearest

FIELD = "spec.serving.engineArgs"
_SHORT_NUMBER = re.compile(r"^-?\d+(\.\d+)?[kKmMgGtT]?i?$")
"""Numbers as vLLM reads them from text, such as 32k."""


def argument_problems(
    given: Mapping[str, Any], known: Mapping[str, str], own: Mapping[str, str], engine: str
) -> Iterator[Problem]:
    """Yield what is wrong with options: unknown to this release, set by another field, of the wrong kind."""
    for name, entry in given.items():
        field = f"{FIELD}.{name}"
        if name in own:
            yield field, f"may not be set: {own[name]}"
        elif name not in known:
            yield field, f"{engine} has no such option{nearest(_bare(name), [n for n in known if n not in own])}"
        elif not _fits(entry, known[name]):
            yield field, f"is {json.dumps(entry)[:60]}; give {_WANTED[known[name]]}"


def rendered(given: Mapping[str, Any], known: Mapping[str, str]) -> list[str]:
    """Return options as arguments, in the order in which they are written; those that do not fit are left out."""
    found: list[str] = []
    for name, entry in given.items():
        kind = known.get(name)
        if kind is not None and _fits(entry, kind):
            found += _option(name, entry, kind)
    return found


def _option(name: str, entry: Any, kind: str) -> list[str]:  # noqa: ANN401 - a JSON value
    if kind == "flag":
        return [f"--{name}" if entry else f"--no-{name}"]
    if kind == "json":
        return [f"--{name}", literal(entry if isinstance(entry, str) else json.dumps(entry, separators=(",", ":")))]
    entries = entry if isinstance(entry, list) else [entry]
    return [f"--{name}", *(literal(_text(item)) for item in entries)]


def _bare(name: str) -> str:
    """Return a name as the options are spelled: no dashes in front, dashes for underscores and for camelCase."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"-\1", name.lstrip("-")).replace("_", "-").lower()


def _fits(entry: Any, kind: str) -> bool:  # noqa: ANN401 - a JSON value
    if kind == "flag":
        return isinstance(entry, bool)
    if kind == "json":
        return isinstance(entry, dict | list | str)
    if kind == "list":
        return _is_scalar(entry) or (isinstance(entry, list) and bool(entry) and all(map(_is_scalar, entry)))
    if kind == "number":
        return _is_number(entry)
    return _is_scalar(entry)


def _is_scalar(entry: Any) -> bool:  # noqa: ANN401 - a JSON value
    return isinstance(entry, str | int | float) and not isinstance(entry, bool)


def _is_number(entry: Any) -> bool:  # noqa: ANN401 - a JSON value
    if isinstance(entry, str):
        return _SHORT_NUMBER.match(entry) is not None
    return isinstance(entry, int | float) and not isinstance(entry, bool)


def _text(entry: str | float) -> str:
    return entry if isinstance(entry, str) else repr(entry)


_WANTED = {
    "flag": "true or false",
    "number": "a number",
    "text": "a text",
    "list": "a text or a list of texts",
    "json": "an object",
}
