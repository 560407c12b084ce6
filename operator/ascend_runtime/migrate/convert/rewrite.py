"""One Python file in, its edits, its findings and its new text out."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ascend_runtime.migrate.convert import rules_calls, rules_names, rules_strings
from ascend_runtime.migrate.convert.binding import Names
from ascend_runtime.migrate.convert.context import Context, Project
from ascend_runtime.migrate.convert.edits import Edit, Operation, apply_edits, compatible
from ascend_runtime.migrate.convert.source import Source, parse_source, parse_text
from ascend_runtime.migrate.findings import Finding, in_order

_LAUNCH_ONLY = frozenset({"device-string", "backend-string", "environment"})
"""Rules whose result needs no torch_npu in the same file."""


@dataclass(frozen=True)
class Converted:
    """What became of a file; `after` is None if nothing has to change."""

    path: str
    before: bytes
    after: bytes | None
    edits: tuple[Edit, ...] = ()
    findings: tuple[Finding, ...] = ()


class NotCompiling(Exception):
    """The edited text does not parse: a fault of the rules; the file is left as it was."""


def rewrite(path: str, raw: bytes, project: Project) -> Converted:
    """Convert one file; raises Unreadable for a file that cannot be read and NotCompiling for a fault of ours."""
    source = parse_source(path, raw)
    context = Context(source, Names(source.tree, path), project)
    visit(context)
    insert_import(context)
    return finish(context, raw)


def finish(context: Context, raw: bytes) -> Converted:
    """Apply the edits and see that the result parses; raises NotCompiling."""
    source = context.source
    edits = compatible(context.edits)
    findings = tuple(in_order(context.findings))
    if not edits:
        return Converted(source.path, raw, None, (), findings)
    text = apply_edits(source.text, edits)
    try:
        parse_text(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        raise NotCompiling(str(err)) from err
    return Converted(source.path, raw, source.encoded(text), tuple(edits), findings)


def visit(context: Context) -> None:
    """Show every node to the rules that look at its kind."""
    for node in list(context.names.parents):
        if isinstance(node, ast.Attribute):
            rules_names.attribute(context, node)
        elif isinstance(node, ast.Constant):
            rules_strings.constant(context, node)
            rules_calls.nccl_setting(context, node)
        elif isinstance(node, ast.JoinedStr):
            rules_strings.formatted(context, node)
        elif isinstance(node, ast.Call):
            rules_calls.call(context, node)
        elif isinstance(node, ast.ClassDef):
            rules_names.class_body(context, node)
        elif isinstance(node, ast.Import):
            rules_names.import_names(context, node)
            rules_calls.library(context, node)
        elif isinstance(node, ast.ImportFrom):
            rules_names.import_from(context, node)
            rules_calls.library(context, node)


def insert_import(context: Context) -> None:
    """Put `import torch_npu` before the first import of torch of a file that needs it.

    torch_npu imports torch itself, and registers torch.npu, which the imports after it may name. From PyTorch 2.5 on
    torch loads it by itself; the line stays right there, and is needed for names written as torch_npu.*.
    """
    if binds_torch_npu(context.names) or all(edit.rule in _LAUNCH_ONLY for edit in context.edits):
        return
    for first in torch_imports(context.names):
        start, text = before_statement(context.source, first, "import torch_npu")
        line = first.lineno
        context.edits.append(
            Edit(start, start, text, "import-torch-npu", Operation.INSERT, "import torch_npu", line, line)
        )


def binds_torch_npu(names: Names) -> bool:
    """Tell whether the file says `import torch_npu` itself."""
    imports = (node for node in names.parents if isinstance(node, ast.Import))
    return any(alias.name == "torch_npu" and not alias.asname for node in imports for alias in node.names)


def torch_imports(names: Names) -> list[ast.Import | ast.ImportFrom]:
    """Return the module's first import of torch; if it has none, the first one of each function that has.

    Imports for type checkers alone do not count.
    """
    firsts: dict[ast.AST | None, ast.Import | ast.ImportFrom] = {}
    for node in names.parents:
        if isinstance(node, ast.Import | ast.ImportFrom) and _is_torch(node) and not _is_for_types(node, names):
            scope = next(names.scopes(node), None)
            known = firsts.get(scope)
            if known is None or (node.lineno, node.col_offset) < (known.lineno, known.col_offset):
                firsts[scope] = node
    module = [node for scope, node in firsts.items() if isinstance(scope, ast.Module)]
    return module or list(firsts.values())


def before_statement(source: Source, node: ast.stmt, line: str) -> tuple[int, str]:
    """Return where and what to insert so that a line of code runs just before a statement, in its block."""
    start, _ = source.span(node)
    lead = source.text[source.line_span(node.lineno)[0] : start]
    return start, f"{line}; " if lead.strip() else f"{line}{source.newline}{lead}"


def _is_torch(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.ImportFrom):
        return not node.level and (node.module or "").split(".")[0] == "torch"
    return any(alias.name.split(".")[0] == "torch" for alias in node.names)


def _is_for_types(node: ast.AST, names: Names) -> bool:
    current = names.parents.get(node)
    while current is not None:
        if isinstance(current, ast.If) and "TYPE_CHECKING" in ast.unparse(current.test):
            return True
        current = names.parents.get(current)
    return False
