"""A whole project: every file converted on its own, and what became of each; nothing is written here."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ascend_runtime.migrate.convert.context import Project
from ascend_runtime.migrate.convert.launchers import is_launcher, rewrite_launcher
from ascend_runtime.migrate.convert.rewrite import Converted, NotCompiling, rewrite
from ascend_runtime.migrate.convert.source import MAX_BYTES, Unreadable, parse_text
from ascend_runtime.migrate.findings import Finding

_SKIPPED = frozenset({".git", ".hg", ".svn", "__pycache__"})
_WATCHED = frozenset({"cuda", "is_cuda", "npu"})


@dataclass
class Outcome:
    """What became of a project; `skipped` gives a sentence for each file that was left alone for a reason."""

    changed: list[Converted] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    files: int = 0
    """Files that were looked at."""


def project_files(root: Path) -> Iterator[str]:
    """Yield the paths of the regular files and links below a folder, relative, sorted; folders of git are left out."""
    for folder, names, files in os.walk(root):
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        names[:] = sorted(name for name in names if name not in _SKIPPED and name not in links)
        for name in sorted(files + links):
            yield (Path(folder) / name).relative_to(root).as_posix()


def read_project(root: Path, torch_version: tuple[int, int]) -> Project:
    """Return what the files say together; files that cannot be parsed say nothing."""
    stored: set[str] = set()
    for path in project_files(root):
        if path.endswith(".py") and (raw := read_file(root / path)) and b"cuda" in raw:
            stored |= _stored(raw)
    return Project(frozenset(stored), torch_version)


def convert_folder(root: Path, project: Project, one: Callable[[str, bytes], Converted] | None = None) -> Outcome:
    """Convert each file below a folder; one that fails is noted and the rest goes on."""
    outcome = Outcome()
    for path in project_files(root):
        if not path.endswith(".py") and not is_launcher(path):
            continue
        outcome.files += 1
        try:
            raw = read_file(root / path)
            if raw is None:
                raise Unreadable("not a regular file, or too large, or not readable")
            take(outcome, _convert(path, raw, project, one))
        except Unreadable as err:
            outcome.skipped[path] = str(err)
        except NotCompiling as err:
            outcome.skipped[path] = f"the converted text does not compile ({err}); left as it is"
        except RecursionError:
            outcome.skipped[path] = "nested too deeply"
    return outcome


def take(outcome: Outcome, converted: Converted) -> None:
    """Add one file."""
    outcome.findings += converted.findings
    if converted.after is not None:
        outcome.changed.append(converted)


def read_file(path: Path) -> bytes | None:
    """Return the bytes of a regular file that is no link and not over 10 MiB; None for anything else."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _convert(path: str, raw: bytes, project: Project, one: Callable[[str, bytes], Converted] | None) -> Converted:
    if is_launcher(path):
        return rewrite_launcher(path, raw)
    return one(path, raw) if one else rewrite(path, raw, project)


def _stored(raw: bytes) -> set[str]:
    try:
        tree = parse_text(raw.decode("utf-8", "replace").lstrip("\ufeff"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    attributes = (n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
    return {node.attr for node in attributes} & _WATCHED
