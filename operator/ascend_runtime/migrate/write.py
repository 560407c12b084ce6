"""Write the tables under the names and columns that readers of the upstream tool's output know, and findings.json.

Cells that a spreadsheet would take for a formula get a leading blank. Rows are sorted: equal input gives equal files.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ascend_runtime.migrate.analyse import Analysis

_PLACE = ("File", "Start Line", "End Line")
_OP = (*_PLACE, "OP", "Tips")
_AFFECTED = ("Torch API", "Affected 3rd-party API")
_FORMULA = ("=", "+", "-", "@", "%", "＝", "＋", "－", "＠", "％")


def write_analysis(result: Analysis, folder: Path) -> list[str]:
    """Write all files of an analysis into a folder, which is made if need be; return their names.

    Raises OSError if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = _tables(result)
    for name, (columns, rows) in tables.items():
        _write_table(folder / name, columns, rows)
    (folder / "findings.json").write_text(findings_json(result), encoding="utf-8")
    return [*tables, "findings.json"]


def _tables(result: Analysis) -> dict[str, tuple[Sequence[str], Iterable[Sequence[object]]]]:
    rows, affected = result.rows, result.affected
    return {
        "unsupported_api.csv": (_OP, _sorted(rows.unsupported)),
        "unknown_api.csv": (_OP, _sorted(rows.unknown)),
        "cuda_op_list.csv": (("File", "Api"), [(op.file, op.name) for op in result.ops]),
        "api_precision_advice.csv": (_OP, _sorted(rows.precision)),
        "api_performance_advice.csv": (_OP, _performance(rows.performance)),
        "affinity_api_call.csv": (
            (*_PLACE, "Api Type", "Api Call Name", "Affinity Api Name"),
            _sorted(rows.affinity),
        ),
        "framework_unsupported_op.csv": (_AFFECTED, affected.unsupported),
        "unknown_op.csv": (_AFFECTED, affected.unknown),
        "migration_needed_op.csv": (_AFFECTED, affected.migration),
        "cuda_op.csv": (("OP Name", "Affected 3rd-party API"), affected.custom),
        "full_unsupported_results.csv": (("File", "3rd-party API", "Message"), affected.full),
        "dynamic_shape_advice.csv": ((*_PLACE, "Sign", "Tips"), _sorted(result.shapes)),
    }


def _sorted(rows: Iterable[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return sorted(set(rows), key=_order)


def _order(row: tuple[object, ...]) -> tuple[str, int, str]:
    return str(row[0]), row[1] if isinstance(row[1], int) else 0, str(row[3:])


def _performance(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Keep the settings of the whole project where upstream has them: three first, no_sync last."""
    last = [row for row in rows[3:] if row[0] == "NA"]
    return [*rows[:3], *_sorted(row for row in rows[3:] if row[0] != "NA"), *last]


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_guarded(cell) for cell in row] for row in rows)


def _guarded(cell: object) -> object:
    return f" {cell}" if isinstance(cell, str) and cell != "-" and cell.startswith(_FORMULA) else cell


def findings_json(result: Analysis) -> str:
    """Return the whole analysis as JSON: verdict, counts, files, findings, with stable order and line breaks."""
    assessment = result.assessment
    document = {
        "torchVersion": result.torch_version,
        "chip": result.chip or None,
        "verdict": assessment.feasibility.value,
        "reasons": list(assessment.reasons),
        "effortHours": assessment.hours,
        "counts": assessment.counts,
        "files": result.files,
        "lines": result.lines,
        "skipped": [asdict(skipped) for skipped in result.skipped],
    }
    head = json.dumps(document, indent=1, ensure_ascii=False)
    found = ",\n  ".join(
        json.dumps(
            {
                "rule": one.rule,
                "severity": one.severity,
                "file": one.file,
                "line": one.line,
                "endLine": one.end_line,
                "subject": one.subject,
                "message": one.message,
                "remedy": one.remedy,
                "minutes": one.minutes,
                "source": one.source,
            },
            ensure_ascii=False,
        )
        for one in result.findings
    )
    return f'{head[:-2]},\n "findings": [\n  {found}\n ]\n}}\n' if found else f'{head[:-2]},\n "findings": []\n}}\n'
