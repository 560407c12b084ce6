"""The project seen as a library: which of its functions lead to an API that Ascend lacks, through whatever calls."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ascend_runtime.migrate.project import Project
from ascend_runtime.migrate.uses import FileScan, Use, UseKind

_MOST = 100
"""Affected functions in one cell; more are split over rows, as upstream does."""
_DEVICE_WORDS = ("torch.cuda", ".cuda", "mlu", "mps")


@dataclass(slots=True)
class Affected:
    """Rows of the third-party tables: an API and the functions that reach it (cells of lines)."""

    unsupported: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    migration: list[tuple[str, str]] = field(default_factory=list)
    custom: list[tuple[str, str]] = field(default_factory=list)
    full: list[tuple[str, str, str]] = field(default_factory=list)


def affected_functions(
    files: Mapping[str, str], project: Project, hits: Iterable[tuple[FileScan, Use, str, str]]
) -> Affected:
    """Follow hits (scan, use, API, kind) to all callers, cycles too; `files` gives a module's file name."""
    callers = _callers(project)
    reached: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    places: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for scan, use, api, kind in hits:
        function = _enclosing(scan, use.within)
        if function is None:
            continue
        for one in _all_callers(function, callers):
            reached[kind][api].add(one)
            if kind != "unknown":
                places[one].append((files[scan.module], use.line, api))
    short = _short_names(project)
    return _rows(reached, places, project, files, short)


def _callers(project: Project) -> dict[str, set[str]]:
    callers: dict[str, set[str]] = defaultdict(set)
    for scan in project.modules.values():
        for use in scan.uses:
            if use.kind is not UseKind.CALL or not use.within:
                continue
            caller = _enclosing(scan, use.within)
            if caller is not None:
                callee = _function_called(project, project.resolve(use.path))
                if callee:
                    callers[callee].add(caller)
    return callers


def _function_called(project: Project, resolved: str) -> str | None:
    """Return the function that a call of a resolved path runs: itself, or __init__ of a class, forward of a module."""
    if resolved in project.functions:
        return resolved
    owner = resolved.removesuffix("()")
    if owner in project.classes:
        method = f"{owner}.{'forward' if owner != resolved else '__init__'}"
        return method if method in project.functions else None
    return None


def _enclosing(scan: FileScan, within: str) -> str | None:
    """Return the full name of the innermost function around, None at module or class level."""
    while within and within not in scan.functions:
        within = within.rpartition(".")[0]
    return f"{scan.module}.{within}" if within else None


def _all_callers(function: str, callers: Mapping[str, set[str]]) -> set[str]:
    seen = {function}
    pending = deque(seen)
    while pending:
        for caller in callers.get(pending.popleft(), ()):
            if caller not in seen:
                seen.add(caller)
                pending.append(caller)
    return seen


def _short_names(project: Project) -> dict[str, list[str]]:
    """Return for what packages re-export in their __init__ the short names."""
    short: dict[str, list[str]] = defaultdict(list)
    for scan in project.modules.values():
        if scan.is_package:
            for name, path in scan.names.items():
                whole = project.resolve(path)
                if whole in project.functions or whole in project.classes:
                    short[whole].append(f"{scan.module}.{name}")
    return short


def _rows(
    reached: Mapping[str, Mapping[str, set[str]]],
    places: Mapping[str, list[tuple[str, int, str]]],
    project: Project,
    files: Mapping[str, str],
    short: Mapping[str, list[str]],
) -> Affected:
    result = Affected()
    for api, functions in sorted(reached.get("unsupported", {}).items()):
        is_device = any(word in api for word in _DEVICE_WORDS) or not api.startswith("torch.")
        (result.migration if is_device else result.unsupported).extend(_cells(api, functions, short))
    for api, functions in sorted(reached.get("unknown", {}).items()):
        if not api.startswith("torch.npu"):
            result.unknown.extend(_cells(api, functions, short))
    for api, functions in sorted(reached.get("custom", {}).items()):
        result.custom.extend(_cells(api, functions, short))
    for function in sorted(places):
        message = "\n".join(f"{file}, {line}, {api}" for file, line, api in sorted(set(places[function])))
        result.full.extend((_file_of(function, project, files), name, message) for name in _named(function, short))
    return result


def _cells(api: str, functions: Iterable[str], short: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    names = sorted({name for function in functions for name in _named(function, short)})
    return [(api, "\n".join(names[start : start + _MOST])) for start in range(0, len(names), _MOST)]


def _named(function: str, short: Mapping[str, list[str]]) -> list[str]:
    """Return a function's full name and those a package re-exports it by, alone or with its class."""
    owner, _, method = function.rpartition(".")
    return [function, *short.get(function, ()), *(f"{name}.{method}" for name in short.get(owner, ()))]


def _file_of(function: str, project: Project, files: Mapping[str, str]) -> str:
    name = function
    while name and name not in project.modules:
        name = name.rpartition(".")[0]
    return files.get(name, "")
