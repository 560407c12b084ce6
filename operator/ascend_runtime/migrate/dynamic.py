"""Static signs of shapes that change from step to step: each one costs a compilation or a wait for the chip."""

from __future__ import annotations

from collections.abc import Iterable

from ascend_runtime.migrate.apis import argument
from ascend_runtime.migrate.findings import Finding, note
from ascend_runtime.migrate.project import Project, api_name
from ascend_runtime.migrate.uses import FileScan, Use, UseKind

Row = tuple[str, int, int, str, str]

_CALLS = {
    "nonzero": "The result is as long as there are hits; use torch.where with three arguments or a multiplied mask.",
    "argwhere": "The result is as long as there are hits; use a multiplied mask.",
    "masked_select": "The result is as long as the mask has hits; use torch.where or masked_fill.",
    "unique": "The result is as long as there are values; do it on the CPU or pad the result.",
    "unique_consecutive": "The result is as long as there are values; do it on the CPU or pad the result.",
    "bincount": "The result is as long as the largest value; give minlength and bound the input.",
    "repeat_interleave": "With a tensor of counts the result's length depends on data; give output_size.",
}
_SIGNS = {
    "mask": ("boolean mask", "Elements chosen by a comparison have a changing count; use torch.where."),
    "item": ("item in a shape", "A shape read from the chip makes it wait and compile anew; keep it a Python number."),
}


def dynamic_shapes(files: Iterable[tuple[str, FileScan]], project: Project) -> list[Row]:
    """Return rows (file, lines, the sign, what to do) of files that import torch."""
    rows: list[Row] = []
    for file, scan in files:
        if not any(name.split(".")[0] in ("torch", "torchvision") for name, _, _ in scan.imports):
            continue
        rows.extend((file, first, last, *_SIGNS[sign]) for first, last, sign in scan.shapes)
        for use in scan.uses:
            tip = _tip(use, project) if use.kind is UseKind.CALL else None
            if tip:
                rows.append((file, use.line, use.last_line, *tip))
    return rows


def _tip(use: Use, project: Project) -> tuple[str, str] | None:
    name = use.name
    if name == "DataLoader" and argument(use, 6, "collate_fn") not in ("", "None"):
        return "collate_fn", "If batches are padded to their longest sample, pad to a fixed length or to few lengths."
    if name == "where" and len(use.positional) == 1 and project.resolve(use.path).startswith("torch."):
        return "torch.where", _CALLS["nonzero"]
    if name not in _CALLS:
        return None
    resolved = project.resolve(use.path)
    if not resolved.startswith(("torch.", "?")) or (name == "unique" and resolved.startswith("?")):
        return None
    return api_name(resolved).removeprefix("?."), _CALLS[name]


def findings_of(rows: Iterable[Row]) -> list[Finding]:
    """Return rows of dynamic_shapes as findings."""
    return [note("dynamic-shape", row[0], (row[1], row[2]), row[3], row[4]) for row in rows]
