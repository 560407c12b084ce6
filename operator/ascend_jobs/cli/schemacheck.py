"""What the API server would say about an object, without one: structure, ranges, unknown fields and CEL rules.

Works on the structural schema that the CRD carries, so that file and server cannot disagree about it.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ascend_jobs.api.structural import LIST_KEYS, PRESERVE, RULES, Schema
from ascend_jobs.cli.cel import holds, is_transition_rule

Path = tuple[str | int, ...]
Value = Any
"""A JSON value."""


@dataclass(frozen=True)
class Finding:
    """Something wrong: where (path from the root of the object) and what, as a sentence."""

    path: Path
    message: str

    @property
    def field(self) -> str:
        """The path as Kubernetes writes it: spec.dataset.sources[0].uri."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return text.lstrip(".")


_METADATA: Path = ("metadata",)
"""The schema names what rules look at; the server knows all of ObjectMeta."""

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def with_defaults(value: Value, schema: Schema) -> Value:
    """Return a copy with default values filled in, as the API server does before it looks at rules."""
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(item, schema["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, below in schema.get("properties", {}).items():
        if name not in filled and "default" in below:
            filled[name] = copy.deepcopy(below["default"])
        if name in filled:
            filled[name] = with_defaults(filled[name], below)
    return filled


def check(value: Value, schema: Schema, path: Path = ()) -> Iterator[Finding]:
    """Yield what is wrong with a value whose defaults are filled in; rules only where the structure is sound."""
    wanted = schema["type"]
    sound = isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
    if not sound:
        article = "an" if wanted[0] in "aio" else "a"
        yield Finding(path, f"is {_shown(value)}, not {article} {wanted}")
        return
    below = [*_scalar(value, schema, path), *_items(value, schema, path), *_properties(value, schema, path)]
    yield from below
    if not below:
        yield from _rules(value, schema, path)


def _scalar(value: Value, schema: Schema, path: Path) -> Iterator[Finding]:
    if "enum" in schema and value not in schema["enum"]:
        yield Finding(path, f"is {_shown(value)}; one of {', '.join(str(v) for v in schema['enum'])}")
    elif isinstance(value, int | float):
        yield from _range(value, schema, path)
    elif isinstance(value, str):
        yield from _text(value, schema, path)


def _range(value: float, schema: Schema, path: Path) -> Iterator[Finding]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and schema.get("exclusiveMinimum") and value <= low:
        yield Finding(path, f"is {value}; has to be above {low}")
    elif low is not None and value < low:
        yield Finding(path, f"is {value}; at least {low}")
    if high is not None and value > high:
        yield Finding(path, f"is {value}; at most {high}")


def _text(value: str, schema: Schema, path: Path) -> Iterator[Finding]:
    if len(value) < schema.get("minLength", 0):
        yield Finding(path, f"is {_shown(value)}; at least {schema['minLength']} characters")
    elif len(value) > schema.get("maxLength", len(value)):
        yield Finding(path, f"has {len(value)} characters; at most {schema['maxLength']}")
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        yield Finding(path, f"is {_shown(value)}, which does not match {schema['pattern']}")


def _items(value: Value, schema: Schema, path: Path) -> Iterator[Finding]:
    if not isinstance(value, list):
        return
    low, high = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not low <= len(value) <= high:
        yield Finding(path, f"has {len(value)} items; {low} to {high}")
    for index, item in enumerate(value):
        yield from check(item, schema["items"], (*path, index))
    yield from _twice(value, schema.get(LIST_KEYS, ()), path)


def _twice(items: list[Value], keys: Sequence[str], path: Path) -> Iterator[Finding]:
    """Yield items of a list map that have the keys of an earlier one."""
    seen = []
    for index, item in enumerate(items):
        identity = [item.get(key) for key in keys] if isinstance(item, dict) else []
        if identity and None not in identity and identity in seen:
            words = ", ".join(f"{key} {_shown(value)}" for key, value in zip(keys, identity, strict=True))
            yield Finding((*path, index), f"{words} is there twice; give each its own")
        seen.append(identity)


def _properties(value: Value, schema: Schema, path: Path) -> Iterator[Finding]:
    if not isinstance(value, dict) or schema.get(PRESERVE):
        return
    if len(value) > schema.get("maxProperties", len(value)):
        yield Finding(path, f"has {len(value)} entries; at most {schema['maxProperties']}")
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield Finding(path, f"{name} is missing: {known[name].get('description', 'it is required')}")
    for name, below in value.items():
        if name in known:
            yield from check(below, known[name], (*path, name))
        elif others is not None:
            yield from check(below, others, (*path, name))
        elif known and path != _METADATA:
            near = difflib.get_close_matches(str(name), known, n=1)
            yield Finding((*path, str(name)), "is no known field" + (f"; did you mean {near[0]}?" if near else ""))


def _rules(value: Value, schema: Schema, path: Path) -> Iterator[Finding]:
    for rule in schema.get(RULES, ()):
        if not is_transition_rule(rule["rule"]) and not holds(rule["rule"], value):
            below = tuple(part for part in rule.get("fieldPath", "").split(".") if part)
            yield Finding((*path, *below), rule["message"])


def _shown(value: Value) -> str:
    """Return a value as it is quoted in a sentence."""
    text = (
        {None: "null", True: "true", False: "false"}.get(value, repr(value))
        if not isinstance(value, dict | list)
        else ""
    )
    return (text or ("an object" if isinstance(value, dict) else "a list"))[:100]
