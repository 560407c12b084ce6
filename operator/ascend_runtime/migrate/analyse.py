"""Analyse a project: read and resolve each file, on several cores where that pays, then judge all of them together."""

from __future__ import annotations

import gc
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ascend_runtime.migrate import dynamic, surroundings
from ascend_runtime.migrate.apis import ApiRows, judge_uses
from ascend_runtime.migrate.findings import Finding, in_order
from ascend_runtime.migrate.native import CustomOp, custom_ops
from ascend_runtime.migrate.project import Project
from ascend_runtime.migrate.scan import scan_tree
from ascend_runtime.migrate.tables import ApiTable
from ascend_runtime.migrate.thirdparty import Affected, affected_functions
from ascend_runtime.migrate.tree import Found, Skipped, find_files, module_name, parse_python, read_python, read_text
from ascend_runtime.migrate.uses import FileScan
from ascend_runtime.migrate.verdict import Assessment, assess

_WORTH_A_POOL = 3_000_000
"""Bytes of Python below which starting processes costs more than they save."""
_PYTHON = ("python", "notebook")


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that is known of a project after analysis; write.write_analysis puts it into files."""

    torch_version: str
    chip: str
    files: int
    lines: int
    skipped: tuple[Skipped, ...]
    ops: tuple[CustomOp, ...]
    rows: ApiRows
    affected: Affected
    shapes: tuple[dynamic.Row, ...]
    findings: tuple[Finding, ...]
    assessment: Assessment


@dataclass(slots=True)
class _Read:
    """What one file gave: a scan or operators, findings, its lines; or the reason why it gave nothing."""

    found: Found
    lines: int = 0
    scan: FileScan | None = None
    ops: tuple[CustomOp, ...] = ()
    findings: tuple[Finding, ...] = ()
    reason: str = ""


def analyse(
    root: Path, torch_version: str, *, chip: str = "", jobs: int = 0, progress: Callable[[int, int], None] | None = None
) -> Analysis:
    """Analyse the project in a folder for a PyTorch version (tables.VERSIONS) and, if given, a chip (tables.CHIPS).

    `jobs` processes read files, 0 means as many as there are cores and work for; `progress` is told files done and
    their total. Raises ValueError for a version without a table, NotADirectoryError if there is no such folder.
    """
    table = ApiTable(torch_version)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder")
    found, skipped = find_files(root)
    read = list(_read_all(found, jobs, progress))
    skipped += [Skipped(one.found.name, one.reason) for one in read if one.reason]
    return _judge(read, skipped, table, torch_version, chip)


def _read_all(found: Sequence[Found], jobs: int, progress: Callable[[int, int], None] | None) -> Iterator[_Read]:
    size = sum(one.size for one in found if one.kind in _PYTHON)
    jobs = jobs or (min(len(os.sched_getaffinity(0)), 16) if size > _WORTH_A_POOL else 1)
    collects = gc.isenabled()
    gc.disable()
    try:
        for done, one in enumerate(_read_in_pool(found, jobs) if jobs > 1 else map(_read, found), 1):
            if progress:
                progress(done, len(found))
            yield one
    finally:
        if collects:
            gc.enable()


def _read_in_pool(found: Sequence[Found], jobs: int) -> Iterator[_Read]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("fork"), initializer=gc.disable) as pool:
        yield from pool.map(_read, found, chunksize=4)


def _read(found: Found) -> _Read:
    """Read one file; whatever is wrong with it becomes its reason and stops nothing."""
    result = _Read(found)
    try:
        if found.kind in _PYTHON:
            _read_python(result)
        else:
            _read_other(result)
    except (ValueError, OSError) as err:
        result.reason = str(err)
    except (RecursionError, MemoryError) as err:
        result.reason = f"nested too deep to analyse ({type(err).__name__})"
    return result


def _read_python(result: _Read) -> None:
    found = result.found
    text = read_python(found)
    result.findings = tuple(surroundings.text_findings(found.name, found.kind, text))
    tree = parse_python(text)
    result.lines = text.count("\n") + 1
    module, is_package = module_name(found.name, found.package)
    result.scan = scan_tree(tree, module, is_package=is_package)
    result.findings += tuple(surroundings.library_findings(found.name, result.scan))


def _read_other(result: _Read) -> None:
    found = result.found
    text = read_text(found)
    if found.kind == "native":
        result.ops = tuple(custom_ops(found.name, text))
        result.findings = tuple(surroundings.native_findings([(found.name, text)]))
    else:
        result.findings = tuple(surroundings.text_findings(found.name, found.kind, text))


def _judge(read: Sequence[_Read], skipped: list[Skipped], table: ApiTable, version: str, chip: str) -> Analysis:
    files = [(one.found.name, one.scan) for one in read if one.scan is not None]
    ops = [op for one in read for op in one.ops]
    project = Project((scan for _, scan in files), table.lists)
    rows = judge_uses(files, project, table, _by_name(ops), chip)
    shapes = dynamic.dynamic_shapes(files, project)
    names = {scan.module: file for file, scan in files}
    affected = affected_functions(names, project, rows.hits)
    findings = in_order(
        [*rows.findings, *dynamic.findings_of(shapes), *(finding for one in read for finding in one.findings)]
    )
    return Analysis(
        torch_version=version,
        chip=chip,
        files=len(files),
        lines=sum(one.lines for one in read),
        skipped=tuple(skipped),
        ops=tuple(ops),
        rows=rows,
        affected=affected,
        shapes=tuple(shapes),
        findings=tuple(findings),
        assessment=assess(findings, [one.name for one in skipped]),
    )


def _by_name(ops: Sequence[CustomOp]) -> dict[str, list[CustomOp]]:
    named: dict[str, list[CustomOp]] = defaultdict(list)
    for op in ops:
        named[op.name.rpartition(".")[2]].append(op)
    return named
