"""Compare an answer with a shape that was written down: the same keys, values of the named type or the very value."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

_TYPES = {"int": int, "float": (int, float), "str": str}
SHAPES = Path(__file__).with_name("shapes")


def read_shapes(name: str) -> dict[str, Any]:
    return json.loads((SHAPES / f"{name}.json").read_text())


def differences(shape: Any, value: Any, path: str = "$") -> list[str]:
    """Return what differs, by path."""
    if isinstance(shape, dict):
        return _of_objects(shape, value, path)
    if isinstance(shape, list):
        if not isinstance(value, list) or (shape and not value):
            return [f"{path}: {value!r} is no list or empty"]
        pairs = ((shape[0], entry) for entry in value) if shape else iter(())
        return [found for n, (one, entry) in enumerate(pairs) for found in differences(one, entry, f"{path}[{n}]")]
    if isinstance(shape, str) and shape in _TYPES:
        right = isinstance(value, _TYPES[shape]) and not isinstance(value, bool)
    elif isinstance(shape, str) and shape.endswith("-*"):
        right = isinstance(value, str) and fnmatch.fnmatchcase(value, shape)
    else:
        right = value == shape and type(value) is type(shape)
    return [] if right else [f"{path}: {value!r} is not {shape!r}"]


def _of_objects(shape: dict[str, Any], value: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no object"]
    if list(shape) == ["*"]:
        return [found for key, entry in value.items() for found in differences(shape["*"], entry, f"{path}.{key}")]
    found = [f"{path}.{key} is missing" for key in shape.keys() - value.keys()]
    found += [f"{path}.{key} is not in the shape" for key in value.keys() - shape.keys()]
    for key in shape.keys() & value.keys():
        found += differences(shape[key], value[key], f"{path}.{key}")
    return found


def metric_kinds(text: str, prefix: str = "") -> dict[str, set[str]]:
    """Return the names of a Prometheus text by kind, without the prefix and without *_created."""
    kinds: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE ") and not line.split()[2].endswith("_created"):
            _, _, name, kind = line.split()
            assert name.startswith(prefix)
            kinds.setdefault(kind, set()).add(name.removeprefix(prefix))
    return kinds
