"""What an expression denotes, as text: the path by which a reader would come to it.

`torch.nn.Linear` is the class, `torch.nn.Linear()` an instance (or a call's result), `x.y[]` an element, `?` unknown.
Paths are symbolic: what depends on another file (`pkg.models.make()`) is left as it stands until the whole project is
known (project.py). They are plain strings, so a file's scan travels between processes for the price of its text.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping

UNKNOWN = "?"
FORWARD = "<forward>"
"""Attribute of an instance that stands for a parameter without annotation of its `forward`: a tensor in modules."""

_LONGEST = 400
"""Characters; a longer path is unknown, so that `x = x.a().b()` repeated for ever cannot grow without end."""
_BUILTINS = frozenset(dir(builtins))
_TRANSPARENT = ("Optional", "Annotated", "Final", "ClassVar")


class Scope:
    """Names bound in a module, class or function, and the scope around it (classes are skipped as Python does)."""

    __slots__ = ("module", "names", "outer")

    def __init__(self, module: str, outer: Scope | None = None) -> None:
        """Start empty inside `outer`; `module` is the dotted name of the file."""
        self.module = module
        self.names: dict[str, str] = {}
        self.outer = outer

    def lookup(self, name: str) -> str:
        """Return the path bound to a name; one not bound in this file is looked for in its star imports later."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.names.get(name)
            if found is not None:
                return found
            scope = scope.outer
        return UNKNOWN if name in _BUILTINS else f"{self.module}.{name}"


def path_of(node: ast.expr, scope: Scope) -> str:
    """Return the path of an expression in a scope, without visiting what does not decide it; never raises."""
    suffixes: list[str] = []
    current: ast.expr = node
    while True:
        step = _STEPS.get(type(current))
        if step is None:
            break
        current, suffix = step(current)
        suffixes.append(suffix)
    if isinstance(current, ast.Name):
        root = scope.lookup(current.id)
    else:
        chosen = _CHOICES.get(type(current))
        root = chosen(current, scope) if chosen else UNKNOWN
    whole = root + "".join(reversed(suffixes))
    return whole if len(whole) <= _LONGEST else UNKNOWN


def _attribute(node: ast.expr) -> tuple[ast.expr, str]:
    assert isinstance(node, ast.Attribute)
    return node.value, f".{node.attr}"


def _call(node: ast.expr) -> tuple[ast.expr, str]:
    assert isinstance(node, ast.Call)
    return node.func, "()"


def _subscript(node: ast.expr) -> tuple[ast.expr, str]:
    assert isinstance(node, ast.Subscript)
    return node.value, "[]"


def _value(node: ast.expr) -> tuple[ast.expr, str]:
    assert isinstance(node, ast.Await | ast.NamedExpr | ast.Starred)
    return node.value, ""


def _left(node: ast.expr) -> tuple[ast.expr, str]:
    assert isinstance(node, ast.BinOp)
    return node.left, ""


def _operand(node: ast.expr) -> tuple[ast.expr, str]:
    assert isinstance(node, ast.UnaryOp)
    return node.operand, ""


_STEPS: Mapping[type[ast.expr], Callable[[ast.expr], tuple[ast.expr, str]]] = {
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.Subscript: _subscript,
    ast.Await: _value,
    ast.NamedExpr: _value,
    ast.BinOp: _left,
    ast.UnaryOp: _operand,
}


def _if_expression(node: ast.expr, scope: Scope) -> str:
    assert isinstance(node, ast.IfExp)
    body = path_of(node.body, scope)
    return body if body != UNKNOWN else path_of(node.orelse, scope)


def _bool_operation(node: ast.expr, scope: Scope) -> str:
    assert isinstance(node, ast.BoolOp)
    for value in node.values:
        path = path_of(value, scope)
        if path != UNKNOWN:
            return path
    return UNKNOWN


_CHOICES: Mapping[type[ast.expr], Callable[[ast.expr, Scope], str]] = {
    ast.IfExp: _if_expression,
    ast.BoolOp: _bool_operation,
}


def path_of_annotation(node: ast.expr | None, scope: Scope) -> str:
    """Return the path of an instance of an annotated type: `Optional[X]`, `X | None` and quoted types count as X."""
    while node is not None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < _LONGEST:
            node = _parse_quoted(node.value)
        elif isinstance(node, ast.BinOp):
            none_first = isinstance(node.left, ast.Constant) and node.left.value is None
            node = node.right if none_first else node.left
        elif isinstance(node, ast.Subscript):
            name = path_of(node.value, scope).rpartition(".")[2]
            if name not in (*_TRANSPARENT, "Union"):
                return UNKNOWN
            node = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
        elif isinstance(node, ast.Name | ast.Attribute):
            path = path_of(node, scope)
            return UNKNOWN if path.startswith(UNKNOWN) else f"{path}()"
        else:
            break
    return UNKNOWN


def _parse_quoted(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
