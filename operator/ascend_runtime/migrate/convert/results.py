"""What a conversion leaves: the converted tree, change_list.csv, findings.json, or a unified diff."""

from __future__ import annotations

import csv
import difflib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ascend_runtime.migrate.convert.folder import Outcome, project_files
from ascend_runtime.migrate.convert.rewrite import Converted

REPORTS = "transplant_result_file"
"""Folder of the reports in the converted tree, under the upstream tool's name."""

COLUMNS = ("File", "Start Line", "End Line", "Operation Type", "Message")
_FORMULA = ("=", "+", "-", "@", "%")


def write_tree(root: Path, target: Path, outcome: Outcome) -> None:
    """Copy the project with the converted files in place; raises FileExistsError if the target is there.

    Links are copied as links if they stay inside the project, and noted as skipped otherwise.
    """
    target.mkdir(parents=True)
    changed = {item.path: item for item in outcome.changed}
    for path in project_files(root):
        source, copy = root / path, target / path
        if source.is_symlink() and not _stays_inside(root, source):
            outcome.skipped[path] = "a link that leaves the project; not copied"
        elif source.is_symlink() or source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            _write(source, copy, changed.get(path))


def _write(source: Path, copy: Path, item: Converted | None) -> None:
    if source.is_symlink():
        copy.symlink_to(source.readlink())
    elif item is None or item.after is None:
        shutil.copy2(source, copy)
    else:
        copy.write_bytes(item.after)
        shutil.copymode(source, copy)


def _stays_inside(root: Path, link: Path) -> bool:
    target = link.readlink()
    return not target.is_absolute() and Path(os.path.normpath(link.parent / target)).is_relative_to(root)


def write_reports(folder: Path, outcome: Outcome) -> None:
    """Write change_list.csv in the upstream tool's columns, and findings.json with all that was not edited."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "change_list.csv").open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for item in outcome.changed:
            for edit in item.edits:
                rows.writerow([_safe(item.path), edit.line, edit.end_line, str(edit.operation), _safe(edit.message)])
    text = json.dumps(summary(outcome), indent=2, ensure_ascii=True)
    (folder / "findings.json").write_text(text + "\n", encoding="utf-8")


def summary(outcome: Outcome) -> dict[str, object]:
    """Return counts, findings, skipped files, and the changes with their rule, as JSON takes them."""
    changes = [{"path": item.path, **_change(edit)} for item in outcome.changed for edit in item.edits]
    return {
        "files": outcome.files,
        "changedFiles": len(outcome.changed),
        "changes": changes,
        "findings": [asdict(finding) for finding in outcome.findings],
        "skipped": outcome.skipped,
    }


def _change(edit: object) -> dict[str, object]:
    fields = asdict(edit)  # type: ignore[call-overload]
    return {
        "line": fields["line"],
        "rule": fields["rule"],
        "operation": str(fields["operation"]),
        "message": fields["message"],
    }


def _safe(cell: str) -> str:
    """Keep a spreadsheet from taking a cell for a formula, as the upstream tool does."""
    return f" {cell}" if cell.startswith(_FORMULA) else cell


def unified_diff(changed: Iterable[Converted]) -> bytes:
    """Return the changes as a diff that `git apply` and `patch -p1` take, whatever the encodings and line ends."""
    return b"".join(line for item in changed for line in _diff(item))


def _diff(item: Converted) -> Iterable[bytes]:
    name = os.fsencode(item.path)
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        _lines(item.before),
        _lines(item.after or b""),
        _quoted(b"a/" + name),
        _quoted(b"b/" + name),
    )
    for line in lines:
        yield line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"


def _lines(raw: bytes) -> list[bytes]:
    """Split at line feeds alone, as git does."""
    parts = raw.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _quoted(name: bytes) -> bytes:
    """Return a path as git writes it in a diff: quoted with octal escapes if it holds anything unusual."""
    if all(32 <= byte < 127 and byte not in b'"\\' for byte in name):
        return name + b"\t" if b" " in name else name
    escaped = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in name)
    return f'"{escaped}"'.encode()
