"""What the rewrite asks of a file's names: the scan's paths at each node, and who stands around a node."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ascend_runtime.migrate.scan import scan_tree

_PROJECT = "<project>"
"""Root of the project's own modules: no name of it can be taken for one of torch."""

_Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_CANONICAL = {
    "torch.cuda.amp.autocast_mode.": "torch.cuda.amp.",
    "torch.cuda.amp.grad_scaler.": "torch.cuda.amp.",
    "torch.profiler.profiler.": "torch.profiler.",
    "torch.distributed.distributed_c10d.": "torch.distributed.",
    "torch.nn.parallel.data_parallel.DataParallel": "torch.nn.DataParallel",
    "torch.nn.parallel.DataParallel": "torch.nn.DataParallel",
    "torch.utils.data.dataloader.": "torch.utils.data.",
}


class Names:
    """Names of one file; raises nothing on a parsed tree but RecursionError for one nested beyond Python's limit."""

    def __init__(self, tree: ast.Module, path: str = "file.py") -> None:
        """Scan the tree; `path` is the file's place in the project."""
        parts = [_PROJECT, *path.removesuffix(".py").split("/")]
        is_package = parts[-1] == "__init__"
        self.scan = scan_tree(tree, ".".join(parts[:-1] if is_package else parts), is_package=is_package)
        self._paths = {(use.line, use.column, use.end_line, use.end_column): use.path for use in self.scan.uses}
        self.parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}

    def path(self, node: ast.AST | None) -> str | None:
        """Return the scan's path of a name or a chain of attributes; None if it is not known."""
        dropped = 0
        while isinstance(node, ast.Attribute | ast.Name):
            place = (node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)
            if place in self._paths:
                parts = self._paths[place].rsplit(".", dropped)
                return parts[0] if len(parts) == dropped + 1 else None
            parent = self.parents.get(node)
            if not isinstance(parent, ast.Attribute):
                return self._outside(node, dropped)
            node, dropped = parent, dropped + 1
        return None

    def dotted(self, node: ast.AST | None) -> str | None:
        """Return the canonical dotted name of an expression (`torch.cuda.amp.autocast`), if it comes from an import."""
        path = self.path(node)
        if path is None or path.startswith(("?", _PROJECT)) or "(" in path or "[" in path:
            return None
        return canonical(path)

    def scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the scopes around a node, innermost first; a class counts only for its own body."""
        first = True
        current = self.parents.get(node)
        while current is not None:
            if isinstance(current, _Scope) and (first or not isinstance(current, ast.ClassDef)):
                yield current
                first = False
            current = self.parents.get(current)

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """Return the innermost statement around a node."""
        current: ast.AST | None = node
        while current is not None and not isinstance(current, ast.stmt):
            current = self.parents.get(current)
        return current

    def assigned(self, name: str) -> list[ast.expr]:
        """Return all values the file assigns to a plain name, in any scope."""
        return [
            node.value
            for node in self.parents
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        ]

    def is_torch_object(self, node: ast.AST) -> bool:
        """Tell whether an expression surely gives a tensor or a module: made by torch, or by a module of this file."""
        path = self.path(node) or ""
        if path.startswith(("torch.Tensor()", "torch.nn.")) or path.endswith(".<forward>"):
            return "()" in path or path.endswith(".<forward>")
        maker, made, _ = path.partition("()")
        own = self.scan.classes.get(maker.removeprefix(f"{self.scan.module}."))
        if made and own and any(base.startswith("torch.nn.") for base in own.bases):
            return path == f"{maker}()"
        return bool(made) and maker.startswith("torch.") and maker.rpartition(".")[2] in _FACTORIES

    def _outside(self, node: ast.AST, dropped: int) -> str | None:
        """Return the path of a chain the scan does not visit (an annotation), by the module's own names."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or not self._is_annotation(node):
            return None
        whole = ".".join([self.scan.names.get(node.id, "?"), *reversed(attributes)])
        return whole.rsplit(".", dropped)[0]

    def _is_annotation(self, node: ast.AST) -> bool:
        current, parent = node, self.parents.get(node)
        while isinstance(parent, ast.expr):
            current, parent = parent, self.parents.get(parent)
        return current in (getattr(parent, "annotation", None), getattr(parent, "returns", None))


_FACTORIES = frozenset(
    {"zeros", "ones", "rand", "randn", "empty", "full", "tensor", "arange", "zeros_like", "ones_like"}
)


def canonical(dotted: str) -> str:
    """Return the one name torch documents for a thing it exports under several."""
    for long, short in _CANONICAL.items():
        if dotted.startswith(long):
            return short + dotted[len(long) :]
    return dotted
