"""What the names in a file stand for, as far as the rewrite needs to be sure: a scope of each node, and its imports.

A name is known if it is bound in one way only in its scope: by an import, or by one plain assignment from a known
name. A parameter, a loop variable or a second binding makes it unknown, and unknown names are not edited.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Scope = ast.Module | ast.ClassDef | _Function
_Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler
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
    """Names of one file; raises nothing."""

    def __init__(self, tree: ast.Module) -> None:
        self.parents: dict[ast.AST, ast.AST] = {}
        self._bound: dict[tuple[ast.AST, str], list[ast.AST | str | None]] = {}
        self.imported: set[str] = set()
        for parent in ast.walk(tree):
            for child in ast.iter_child_nodes(parent):
                self.parents[child] = parent
        for node in ast.walk(tree):
            for scope, name, value in self._bindings(node):
                self._bound.setdefault((scope, name), []).append(value)

    def dotted(self, node: ast.AST | None, depth: int = 0) -> str | None:
        """Return the canonical dotted name of an expression (`torch.cuda.amp.autocast`), or None if unknown."""
        if depth > 20:
            return None
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value, depth + 1)
            return canonical(f"{base}.{node.attr}") if base else None
        if not isinstance(node, ast.Name):
            return None
        values = self.values(node)
        if len({value if isinstance(value, str) else id(value) for value in values}) != 1:
            return None
        value = values[0]
        return canonical(value) if isinstance(value, str) else self.dotted(value, depth + 1)

    def values(self, name: ast.Name) -> list[ast.AST | str | None]:
        """Return all that is bound to the name in the innermost scope that binds it."""
        for scope in self.scopes(name):
            if found := self._bound.get((scope, name.id)):
                return found
        return []

    def scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the scopes a name in this place is looked up in, innermost first; classes count for their own body."""
        first = True
        current: ast.AST | None = self.parents.get(node)
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

    def _bindings(self, node: ast.AST) -> Iterator[tuple[ast.AST, str, ast.AST | str | None]]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from self._imports(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield self._scope(node), node.id, self._assigned(node)
        elif isinstance(node, ast.arg):
            yield self.parents[self.parents[node]], node.arg, None
        elif isinstance(node, _Named) and node.name:
            yield self._scope(node), node.name, None

    def _imports(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[ast.AST, str, str]]:
        scope = self._scope(node)
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            self.imported.add(module)
            for alias in node.names:
                yield scope, alias.asname or alias.name, f"{module}.{alias.name}"
            return
        for alias in node.names:
            self.imported.add(alias.name)
            yield scope, *((alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2)

    def _assigned(self, node: ast.Name) -> ast.AST | None:
        parent = self.parents[node]
        return parent.value if isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr) else None

    def _scope(self, node: ast.AST) -> ast.AST:
        return next(self.scopes(node), node)


def canonical(dotted: str) -> str:
    """Return the one name torch documents for a thing it exports under several."""
    for long, short in _CANONICAL.items():
        if dotted.startswith(long):
            return short + dotted[len(long) :]
    return dotted
