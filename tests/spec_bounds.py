"""Every bound of a schema as a value just beyond it, and where there is one, the last value within it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spec_cases import SMALLEST

Schema = dict[str, Any]
Path = tuple[str | int, ...]
NOTHING: Any = object()
"""No value within the bound that is known to be good."""

SERVER = {
    "type": "must be of type",
    "required": "Required value",
    "enum": "Unsupported value",
    "minimum": "should be greater than or equal to",
    "exclusiveMinimum": "should be greater than 0",
    "maximum": "should be less than or equal to",
    "pattern": "should match",
    "minLength": "should be at least",
    "maxLength": "Too long",
    "maxItems": "must have at most",
    "maxProperties": "must have at most",
}
"""What the API server says when a keyword is not kept (k8s.io/kube-openapi, errors/schema.go)."""
OFFLINE = {
    "type": ", not a",
    "required": "is missing",
    "enum": "; one of",
    "minimum": "at least",
    "exclusiveMinimum": "has to be above 0",
    "maximum": "at most",
    "pattern": "does not match",
    "minLength": "at least",
    "maxLength": "at most",
    "maxItems": "items; ",
    "maxProperties": "at most",
}
"""What `ascendctl validate` says."""


@dataclass(frozen=True)
class Bound:
    """A keyword at a path, a value beyond it, and one within it (NOTHING: unknown)."""

    path: Path
    keyword: str
    beyond: Any
    within: Any = NOTHING

    @property
    def field(self) -> str:
        """The field that is named, as Kubernetes writes it; for what is required the one that is missing."""
        path = (*self.path, self.beyond["missing"]) if self.keyword == "required" else self.path
        return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")

    def wrong(self, kind: str) -> dict[str, Any]:
        """Return the smallest object of a kind with the value beyond the bound."""
        return _put(kind, self.path, {} if self.keyword == "required" else self.beyond)

    def right(self, kind: str) -> dict[str, Any]:
        """Return it with the value within."""
        return _put(kind, self.path, self.within)


def bounds(schema: Schema, path: Path) -> Iterator[Bound]:
    """Yield the bounds of a schema's node and of all below it."""
    yield Bound(path, "type", {"array": "word"}.get(schema["type"], ["word"]))
    yield from _own(schema, path)
    for name, below in schema.get("properties", {}).items():
        yield from bounds(below, (*path, name))
    if "items" in schema:
        yield from bounds(schema["items"], (*path, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from bounds(schema["additionalProperties"], (*path, "key"))


def _own(schema: Schema, path: Path) -> Iterator[Bound]:
    for name in schema.get("required", ()):
        yield Bound(path, "required", {"missing": name})
    if "enum" in schema:
        unknown = 9 if isinstance(schema["enum"][0], int) else "Nonsense"
        yield Bound(path, "enum", unknown, schema["enum"][-1])
    elif schema["type"] in ("integer", "number"):
        yield from _range(schema, path)
    if "pattern" in schema:
        yield Bound(path, "pattern", "?" * 12)
    if schema.get("minLength"):
        least = schema["minLength"]
        yield Bound(path, "minLength", "a" * (least - 1), "a" * least)
    if "enum" not in schema and "maxLength" in schema:
        yield Bound(path, "maxLength", "a" * (schema["maxLength"] + 1), "a" * schema["maxLength"])
    if "maxItems" in schema:
        yield Bound(path, "maxItems", [{}] * (schema["maxItems"] + 1), [{}] * schema["maxItems"])
    if "maxProperties" in schema:
        most = schema["maxProperties"]
        yield Bound(path, "maxProperties", _entries(most + 1), _entries(most))


def _range(schema: Schema, path: Path) -> Iterator[Bound]:
    step = 1 if schema["type"] == "integer" else 0.001
    low, high = schema["minimum"], schema["maximum"]
    if schema.get("exclusiveMinimum"):
        yield Bound(path, "exclusiveMinimum", low, low + step)
    else:
        yield Bound(path, "minimum", low - 1, low)
    yield Bound(path, "maximum", high + 1, high)


def _entries(count: int) -> dict[str, str]:
    return {f"key-{number}": "x" for number in range(count)}


def _put(kind: str, path: Path, value: Any) -> dict[str, Any]:
    """Return the smallest object with a value at a path; objects and lists on the way are made."""
    found: Any = copy.deepcopy(SMALLEST[kind])
    place = found
    for step, then in itertools.pairwise(path):
        place = _entered(place, step, then)
    if isinstance(place, list) and not place:
        place.append(value)
    else:
        place[path[-1]] = value
    return dict(found)


def _entered(place: Any, step: str | int, then: str | int) -> Any:
    empty: Any = [] if isinstance(then, int) else {}
    if isinstance(place, list):
        if not place:
            place.append(empty)
        return place[int(step)]
    return place.setdefault(step, empty)
