"""Automatic migration: entry files load torch_npu's transfer_to_npu, everything else stays as it is.

Source of the rule: Ascend's PyTorch migration guide (FrameworkPTAdapter 26.0.0): up to PyTorch 2.4 `import torch_npu`
comes first; later versions load it by themselves and only the transfer import is needed, after `import torch`.
"""

from __future__ import annotations

import ast

from ascend_runtime.migrate.convert import rules_calls
from ascend_runtime.migrate.convert.binding import Names
from ascend_runtime.migrate.convert.context import Context, Project
from ascend_runtime.migrate.convert.edits import Edit, Operation
from ascend_runtime.migrate.convert.rewrite import Converted, finish
from ascend_runtime.migrate.convert.rules_strings import visible_devices
from ascend_runtime.migrate.convert.source import Source, parse_source

TRANSFER = "from torch_npu.contrib import transfer_to_npu"
_RULE = "transfer-to-npu"


def rewrite_auto(path: str, raw: bytes, project: Project, entries: frozenset[str]) -> Converted:
    """Convert one file: the transfer import if it is an entry, and the settings transfer_to_npu does not see.

    `entries` are paths in the project; if it is empty, a file with a `__main__` guard that imports something is one.
    Raises Unreadable and NotCompiling as rewrite() does.
    """
    source = parse_source(path, raw)
    context = Context(source, Names(source.tree, path), project)
    for node in list(context.names.parents):
        _look(context, node)
    if path in entries or (not entries and is_entry(source)):
        insert_transfer(context)
    return finish(context, raw)


def _look(context: Context, node: ast.AST) -> None:
    if isinstance(node, ast.Constant):
        visible_devices(context, node)
        rules_calls.nccl_setting(context, node)
        if node.value == "nccl" and isinstance(context.names.parents.get(node), ast.Compare):
            message = "transfer_to_npu does not change a comparison with 'nccl'"
            context.leave("backend-string", node, "nccl", message, "compare with 'hccl' as well")
    elif isinstance(node, ast.Call):
        rules_calls.left(context, node)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        rules_calls.library(context, node)


def is_entry(source: Source) -> bool:
    """Tell whether a file is meant to be started: it has a `__main__` guard at module level, and is no set-up file."""
    if source.path.rsplit("/", 1)[-1] in ("setup.py", "conftest.py"):
        return False
    return any(isinstance(node, ast.If) and _is_guard(node.test) for node in source.tree.body)


def _is_guard(test: ast.expr) -> bool:
    if not isinstance(test, ast.Compare) or len(test.comparators) != 1:
        return False
    sides = (test.left, test.comparators[0])
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    return names == {"__name__"} and any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)


def insert_transfer(context: Context) -> None:
    """Put the lines after `import torch` where that comes before all other imports that could take names of torch.

    Otherwise they go before the first import that is neither of the standard library nor of the future.
    """
    if any(isinstance(node, ast.ImportFrom) and node.module == "torch_npu.contrib" for node in context.names.parents):
        return
    lines = [TRANSFER] if context.project.torch_version >= (2, 5) else ["import torch_npu", TRANSFER]
    first = next((node for node in context.source.tree.body if _is_third_party(node)), None)
    if first is None:
        return
    if isinstance(first, ast.Import) and [(a.name, a.asname) for a in first.names] == [("torch", None)]:
        at, text = after_statement(context.source, first, lines)
    else:
        lines = ["import torch", *lines]
        at, text = _before(context.source, first, lines)
    context.edits.append(Edit(at, at, text, _RULE, Operation.INSERT, "; ".join(lines), first.lineno, first.lineno))


def _is_third_party(node: ast.stmt) -> bool:
    import sys

    names: list[str] = []
    if isinstance(node, ast.ImportFrom):
        names = ["."] if node.level else [node.module or ""]
    elif isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.Try | ast.If):
        return any(_is_third_party(child) for child in node.body)
    return any(name.split(".")[0] not in sys.stdlib_module_names for name in names)


def after_statement(source: Source, node: ast.stmt, lines: list[str]) -> tuple[int, str]:
    """Return where and what to insert so that lines of code run just after a simple statement, in its block."""
    start, end = source.span(node)
    line_start, line_end = source.line_span(node.lineno)[0], source.line_span(node.end_lineno or node.lineno)[1]
    lead, rest = source.text[line_start:start], source.text[end:line_end].strip()
    if lead.strip() or (rest and not rest.startswith("#")):
        return end, "".join(f"; {line}" for line in lines)
    ended = source.text[line_end - 1 : line_end] in ("\n", "\r")
    if not ended:
        return line_end, "".join(f"{source.newline}{lead}{line}" for line in lines)
    return line_end, "".join(f"{lead}{line}{source.newline}" for line in lines)


def _before(source: Source, node: ast.stmt, lines: list[str]) -> tuple[int, str]:
    start, _ = source.span(node)
    if source.text[source.line_span(node.lineno)[0] : start].strip():
        return start, "".join(f"{line}; " for line in lines)
    return start, "".join(f"{line}{source.newline}" for line in lines)
