"""Operators that a project builds from C++ and CUDA: names and argument counts from their registrations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PYBIND = re.compile(r"\bPYBIND11_MODULE\s*\(")
_LIBRARY = re.compile(r"\bTORCH_LIBRARY(?:_FRAGMENT|_IMPL)?\s*\(\s*(\w+)")
_DEF = re.compile(
    r"\.\s*(?:def|impl|class_\s*<[^>]{0,200}>)\s*"
    r"\(\s*(?:TORCH_SELECTIVE_NAME\s*\(\s*)?\"([^\"\n]{1,300})\""
)
_PY_CLASS = re.compile(r"\bpy::class_\s*<[^;(]{0,300}>\s*\(\s*\w+\s*,\s*\"(\w{1,200})\"")
_ARGUMENT = re.compile(r"\bpy::arg\s*\(\s*\"\w+\"\s*\)(\s*=)?")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_MANY = 10**6


@dataclass(frozen=True, slots=True)
class CustomOp:
    """An operator: its name in Python (`ns.op`), the fewest and the most positional arguments that it takes."""

    file: str
    name: str
    fewest: int = 0
    most: int = _MANY

    def takes(self, count: int) -> bool:
        """Tell whether a call with so many positional arguments can be one of this operator."""
        return self.fewest <= count <= self.most


def custom_ops(file: str, text: str) -> list[CustomOp]:
    """Return the operators that a C++ or CUDA file registers, each once, in order; text without any gives none."""
    if "PYBIND11_MODULE" not in text and "TORCH_LIBRARY" not in text:
        return []
    bare = _COMMENT.sub("", text)
    found: dict[str, CustomOp] = {}
    for name, rest in _registrations(bare):
        op = CustomOp(file, name, *_arity(name, rest, bare))
        found.setdefault(op.name, op)
    return list(found.values())


def _registrations(text: str) -> Iterator[tuple[str, str]]:
    libraries = [(match.start(), match.group(1)) for match in _LIBRARY.finditer(text)]
    starts = [*libraries, *((match.start(), "") for match in _PYBIND.finditer(text))]
    first = min((start for start, _ in starts), default=len(text))
    for match in _DEF.finditer(text, first):
        schema = match.group(1).strip()
        name = schema.partition("(")[0].replace("::", ".").strip()
        if name and not name.startswith("__"):
            space = max((start for start in starts if start[0] <= match.start()), default=(0, ""))[1]
            yield _qualified(name, space), schema + text[match.end() : _end(text, match.end())]
    for match in _PY_CLASS.finditer(text, first):
        yield match.group(1), ""


def _qualified(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _end(text: str, start: int) -> int:
    end = text.find(";", start)
    return min(end if end >= 0 else len(text), start + 4000)


def _arity(name: str, rest: str, text: str) -> tuple[int, int]:
    """Return the least and greatest count of arguments, from py::arg, the schema, or the C++ function's prototype."""
    given = _ARGUMENT.findall(rest)
    if given:
        return sum(not default for default in given), len(given)
    schema = re.match(r"[\w.:]+\(([^)]*)\)", rest)
    if schema:
        parameters = [part for part in schema.group(1).split(",") if part.strip() not in ("", "*")]
        return sum("=" not in part for part in parameters), len(parameters)
    target = re.search(r"&\s*(?:\w+::)*(\w+)", rest)
    return _prototype(target.group(1), text) if target else (0, _MANY)


def _prototype(function: str, text: str) -> tuple[int, int]:
    found = re.search(rf"[\w>&*]\s+{re.escape(function)}\s*\(([^;{{}}]{{0,4000}}?)\)\s*(?:const\s*)?[;{{]", text)
    if not found:
        return 0, _MANY
    parameters = [part for part in re.sub(r"<[^<>]*>", "", found.group(1)).split(",") if part.strip()]
    return sum("=" not in part for part in parameters), len(parameters)
