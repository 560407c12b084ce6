"""What a rule sees of a file, and how it says what it wants: edit() or leave()."""

from __future__ import annotations

import ast
import dataclasses
from dataclasses import dataclass, field

from ascend_runtime.migrate.convert.binding import Names
from ascend_runtime.migrate.convert.edits import Edit, Operation, apply_edits, compatible
from ascend_runtime.migrate.convert.source import Source
from ascend_runtime.migrate.findings import Finding


@dataclass(frozen=True)
class Project:
    """What the whole project says that matters to each file."""

    stored_attributes: frozenset[str] = frozenset()
    """Names among `cuda`, `is_cuda` and `npu` that the project itself assigns on objects."""
    torch_version: tuple[int, int] = (2, 7)


@dataclass
class Context:
    """One file under the rules; `edits` and `findings` grow."""

    source: Source
    names: Names
    project: Project = Project()
    edits: list[Edit] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def replace(self, rule: str, node: ast.AST, span: tuple[int, int], text: str, message: str) -> None:
        """Replace a part of a node's text."""
        operation = Operation.MODIFY if text else Operation.DELETE
        if span[0] == span[1]:
            operation = Operation.INSERT
        line, end_line = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        self.edits.append(Edit(*span, text, rule, operation, message, line, end_line))

    def leave(self, rule: str, node: ast.AST, name: str, message: str, remedy: str, severity: str = "minor") -> None:
        """Record what is not safe to edit."""
        line, end_line = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        self.findings.append(Finding(rule, severity, self.source.path, line, end_line, name, message, remedy))

    def new_text(self, node: ast.AST) -> str:
        """Return a node's text with the edits made so far that lie within it."""
        start, end = self.source.span(node)
        inside = [edit for edit in compatible(self.edits) if start <= edit.start and edit.end <= end]
        moved = [dataclasses.replace(edit, start=edit.start - start, end=edit.end - start) for edit in inside]
        return apply_edits(self.source.text[start:end], moved)

    def tail(self, node: ast.Attribute) -> tuple[int, int] | None:
        """Return the span of the attribute's own identifier; None if the text there is something else."""
        end = self.source.span(node)[1]
        start = end - len(node.attr)
        return (start, end) if self.source.text[start:end] == node.attr else None
