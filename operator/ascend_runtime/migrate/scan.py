"""Resolve every name use of one Python file: imports, aliases, assignments, self attributes, simple types.

One walk over the tree gives the uses (with exact positions in the original text) and what other files need to know of
this one: what its names are bound to, its classes and its functions. Nothing here raises on a parsed tree, however
odd; what cannot be told is the path `?`. Function bodies are visited after the module's own statements, as they run.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ascend_runtime.migrate.paths import FORWARD, UNKNOWN, Scope, path_of, path_of_annotation
from ascend_runtime.migrate.uses import ClassInfo, FileScan, FunctionInfo, Use, UseKind

_SHAPED = frozenset(
    {"view", "reshape", "expand", "repeat", "zeros", "ones", "empty", "full", "arange", "narrow", "pad"}
)


def scan_tree(tree: ast.Module, module: str, *, is_package: bool = False) -> FileScan:
    """Resolve a parsed file whose dotted name is `module` (`pkg.sub.file`; that of its folder for `__init__.py`)."""
    result = FileScan(module, is_package)
    _Scanner(result).run(tree)
    return result


@dataclass(slots=True)
class _Frame:
    """Where the walk is: the scope, the dotted name around, the class whose body or method it is, the branch."""

    scope: Scope
    within: str
    owner: ClassInfo | None = None
    owner_name: str = ""
    function: FunctionInfo | None = None
    selves: tuple[str, ...] = ()
    is_fallback: bool = False
    is_optional: bool = False


class _Scanner:
    def __init__(self, result: FileScan) -> None:
        self._result = result
        self._later: deque[tuple[ast.FunctionDef | ast.AsyncFunctionDef, _Frame]] = deque()

    def run(self, tree: ast.Module) -> None:
        scope = Scope(self._result.module)
        self._statements(tree.body, _Frame(scope, ""))
        while self._later:
            function, frame = self._later.popleft()
            self._statements(function.body, frame)
        self._result.names = scope.names

    # Statements

    def _statements(self, statements: Iterable[ast.stmt], frame: _Frame) -> None:
        for statement in statements:
            visit = _STATEMENTS.get(type(statement))
            if visit is None:
                self._parts(statement, frame)
            else:
                visit(self, statement, frame)

    def _parts(self, statement: ast.AST, frame: _Frame) -> None:
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.stmt):
                self._statements((child,), frame)
            elif isinstance(child, ast.expr):
                self._expression(child, frame)
            elif isinstance(child, ast.pattern):
                self._pattern(child, frame)
            else:
                self._parts(child, frame)

    def _pattern(self, pattern: ast.pattern, frame: _Frame) -> None:
        for node in ast.walk(pattern):
            if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
                frame.scope.names[node.name] = UNKNOWN

    def _import(self, node: ast.Import, frame: _Frame) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            self._bind(bound, alias.name if alias.asname else bound, frame)
            self._note_import(alias.name, alias, frame)

    def _import_from(self, node: ast.ImportFrom, frame: _Frame) -> None:
        source = self._absolute(node)
        for alias in node.names:
            if alias.name == "*":
                self._result.stars.append(source)
                self._note_import(source, alias, frame)
                continue
            whole = f"{source}.{alias.name}" if source else alias.name
            self._bind(alias.asname or alias.name, whole, frame)
            self._note_import(whole, alias, frame)

    def _note_import(self, whole: str, alias: ast.alias, frame: _Frame) -> None:
        optional = frame.is_optional or frame.is_fallback
        self._result.imports.append((whole, alias.lineno, "optional" if optional else ""))

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self._result.module.split(".") if self._result.module else []
        drop = node.level - 1 if self._result.is_package else node.level
        parts = parts[: len(parts) - drop] if drop <= len(parts) else []
        return ".".join([*parts, node.module] if node.module else parts)

    def _class(self, node: ast.ClassDef, frame: _Frame) -> None:
        name = f"{frame.within}.{node.name}" if frame.within else node.name
        info = ClassInfo(node.lineno, tuple(path_of(base, frame.scope) for base in node.bases))
        self._result.classes.setdefault(name, info)
        self._decorators(node.decorator_list, frame)
        for base, path in zip(node.bases, info.bases, strict=True):
            self._use(UseKind.BASE, path, base, frame)
            self._inner_of(base, frame)
        for keyword in node.keywords:
            self._expression(keyword.value, frame)
        self._bind(node.name, self._own(name), frame)
        inner = _Frame(Scope(self._result.module, _enclosing_scope(frame)), name, info, name)
        self._statements(node.body, inner)
        for attribute, path in inner.scope.names.items():
            info.attributes.setdefault(attribute, path)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: _Frame) -> None:
        name = f"{frame.within}.{node.name}" if frame.within else node.name
        arguments = node.args
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        parameters = tuple(argument.arg for argument in every)
        function = FunctionInfo(node.lineno, node.end_lineno or node.lineno, parameters)
        function.returns = path_of_annotation(node.returns, frame.scope)
        self._result.functions.setdefault(name, function)
        self._decorators(node.decorator_list, frame)
        for default in (*arguments.defaults, *(value for value in arguments.kw_defaults if value)):
            self._expression(default, frame)
        in_class = frame.owner is not None and frame.function is None
        if in_class and frame.owner is not None:
            frame.owner.methods.setdefault(node.name, parameters)
        self._bind(node.name, self._own(name), frame)
        scope = Scope(self._result.module, _enclosing_scope(frame))
        inner = _Frame(scope, name, frame.owner, frame.owner_name, function, frame.selves)
        self._parameters(node, inner, is_method=in_class)
        self._later.append((node, inner))

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: _Frame, *, is_method: bool) -> None:
        names = frame.scope.names
        positional = [*node.args.posonlyargs, *node.args.args]
        kinds = {decorator.id for decorator in node.decorator_list if isinstance(decorator, ast.Name)}
        if is_method and positional and "staticmethod" not in kinds:
            first = positional.pop(0).arg
            whole = self._own(frame.owner_name)
            names[first] = whole if "classmethod" in kinds else f"{whole}()"
            frame.selves = (*frame.selves, first)
        is_forward = is_method and node.name == "forward"
        for argument in (*positional, *node.args.kwonlyargs):
            path = path_of_annotation(argument.annotation, frame.scope)
            if path == UNKNOWN and is_forward and argument.annotation is None:
                path = f"{self._own(frame.owner_name)}().{FORWARD}"
            names[argument.arg] = path
        for star in (node.args.vararg, node.args.kwarg):
            if star:
                names[star.arg] = UNKNOWN

    def _own(self, name: str) -> str:
        return f"{self._result.module}.{name}" if self._result.module else name

    def _decorators(self, decorators: list[ast.expr], frame: _Frame) -> None:
        for decorator in decorators:
            if isinstance(decorator, ast.Call):
                self._expression(decorator, frame)
            else:
                self._use(UseKind.DECORATOR, path_of(decorator, frame.scope), decorator, frame)
                self._inner_of(decorator, frame)

    def _assign(self, node: ast.Assign, frame: _Frame) -> None:
        self._expression(node.value, frame)
        path = path_of(node.value, frame.scope)
        for target in node.targets:
            self._target(target, path, frame, node.value)
            if _is_mask_write(target, node.value):
                self._result.masks.append((node.lineno, node.end_lineno or node.lineno))

    def _annotated(self, node: ast.AnnAssign, frame: _Frame) -> None:
        path = path_of_annotation(node.annotation, frame.scope)
        if node.value:
            self._expression(node.value, frame)
            path = path if path != UNKNOWN else path_of(node.value, frame.scope)
        self._target(node.target, path, frame, node.value)

    def _augmented(self, node: ast.AugAssign, frame: _Frame) -> None:
        self._expression(node.value, frame)
        if not isinstance(node.target, ast.Name):
            self._expression(node.target, frame)

    def _for(self, node: ast.For | ast.AsyncFor, frame: _Frame) -> None:
        self._expression(node.iter, frame)
        self._target(node.target, UNKNOWN, frame, None)
        self._statements((*node.body, *node.orelse), frame)

    def _with(self, node: ast.With | ast.AsyncWith, frame: _Frame) -> None:
        for item in node.items:
            self._expression(item.context_expr, frame)
            if item.optional_vars:
                path = path_of(item.context_expr, frame.scope)
                self._target(item.optional_vars, path, frame, item.context_expr)
        self._statements(node.body, frame)

    def _if(self, node: ast.If, frame: _Frame) -> None:
        """Visit a chain of elif in a loop: real ones have hundreds of branches."""
        self._expression(node.test, frame)
        self._statements(node.body, frame)
        while len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            node = node.orelse[0]
            self._expression(node.test, frame)
            self._fallback(node.body, frame)
        self._fallback(node.orelse, frame)

    def _try(self, node: ast.Try, frame: _Frame) -> None:
        before, frame.is_optional = frame.is_optional, bool(node.handlers)
        self._statements(node.body, frame)
        frame.is_optional = before
        for handler in node.handlers:
            if handler.type:
                self._expression(handler.type, frame)
            if handler.name:
                frame.scope.names[handler.name] = UNKNOWN
            self._fallback(handler.body, frame)
        self._statements((*node.orelse, *node.finalbody), frame)

    def _fallback(self, statements: list[ast.stmt], frame: _Frame) -> None:
        before, frame.is_fallback = frame.is_fallback, True
        self._statements(statements, frame)
        frame.is_fallback = before

    def _return(self, node: ast.Return, frame: _Frame) -> None:
        if node.value is None:
            return
        self._expression(node.value, frame)
        if frame.function is not None and frame.function.returns == UNKNOWN:
            frame.function.returns = path_of(node.value, frame.scope)

    # Bindings

    def _bind(self, name: str, path: str, frame: _Frame) -> None:
        """Bind a name; in a fallback branch (else, except) what is already known stays."""
        if frame.is_fallback and frame.scope.names.get(name, UNKNOWN) != UNKNOWN:
            return
        frame.scope.names[name] = path

    def _target(self, target: ast.expr, path: str, frame: _Frame, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, path, frame)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target, frame, value)
        elif isinstance(target, ast.Starred):
            self._target(target.value, UNKNOWN, frame, None)
        elif isinstance(target, ast.Attribute):
            if isinstance(target.value, ast.Name) and target.value.id in frame.selves and frame.owner is not None:
                known = frame.owner.attributes
                if known.get(target.attr, UNKNOWN) == UNKNOWN:
                    known[target.attr] = path
            self._inner_of(target, frame)
        else:
            self._expression(target, frame)

    def _unpack(self, target: ast.Tuple | ast.List, frame: _Frame, value: ast.expr | None) -> None:
        pairs = value.elts if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts) else None
        paths = [path_of(element, frame.scope) for element in pairs] if pairs else [UNKNOWN] * len(target.elts)
        for index, element in enumerate(target.elts):
            self._target(element, paths[index], frame, pairs[index] if pairs else None)

    # Expressions

    def _expression(self, node: ast.expr, frame: _Frame) -> None:
        """Note the uses in an expression; depth is held on a list, so that nesting costs no recursion."""
        pending: list[ast.AST] = [node]
        while pending:
            current = pending.pop()
            if isinstance(current, ast.Call):
                self._call(current, frame)
                pending.extend(_below(current.func))
                pending.extend(current.args)
                pending.extend(keyword.value for keyword in current.keywords)
            elif isinstance(current, ast.Attribute):
                self._use(UseKind.REFERENCE, path_of(current, frame.scope), current, frame)
                pending.extend(_below(current))
            elif isinstance(current, ast.Name):
                if isinstance(current.ctx, ast.Load):
                    self._use(UseKind.REFERENCE, frame.scope.lookup(current.id), current, frame)
            elif isinstance(current, ast.Constant):
                continue
            else:
                pending.extend(self._inside(current, frame))

    def _inside(self, node: ast.AST, frame: _Frame) -> Iterable[ast.AST]:
        if isinstance(node, ast.NamedExpr) and isinstance(node.target, ast.Name):
            frame.scope.names[node.target.id] = path_of(node.value, frame.scope)
            return (node.value,)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and _is_mask(node.slice):
            self._result.shapes.append((node.lineno, node.end_lineno or node.lineno, "mask"))
        if isinstance(node, ast.comprehension):
            for name in ast.walk(node.target):
                if isinstance(name, ast.Name):
                    self._bind(name.id, UNKNOWN, frame)
        return ast.iter_child_nodes(node)

    def _inner_of(self, node: ast.expr, frame: _Frame) -> None:
        for part in _below(node):
            self._expression(part, frame)

    def _call(self, node: ast.Call, frame: _Frame) -> None:
        use = self._use(UseKind.CALL, path_of(node.func, frame.scope), node.func, frame)
        use.last_line = node.end_lineno or use.end_line
        if use.name in _SHAPED and any(_is_item(argument) for argument in node.args):
            self._result.shapes.append((use.line, use.last_line, "item"))
        if node.args:
            use.positional = tuple(_literal(argument) for argument in node.args)
        if node.keywords:
            use.keywords = {keyword.arg or "**": _literal(keyword.value) for keyword in node.keywords}

    def _use(self, kind: UseKind, path: str, node: ast.expr, frame: _Frame) -> Use:
        use = Use(kind, path, node, frame.within)
        if kind is not UseKind.REFERENCE or not path.startswith(UNKNOWN):
            self._result.uses.append(use)
        return use


def _enclosing_scope(frame: _Frame) -> Scope:
    """Return the scope that a function or class written here looks into: never that of a class body."""
    in_class = frame.owner is not None and frame.function is None
    return frame.scope.outer if in_class and frame.scope.outer else frame.scope


def _below(node: ast.expr) -> list[ast.expr]:
    """Return what hangs below a chain of attributes: nothing for `a.b.c`, the call for `f(x).y`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return [] if isinstance(node, ast.Name) else [node]


def _literal(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return repr(node.value) if not isinstance(node.value, str) or len(node.value) < 200 else UNKNOWN
    return "*" if isinstance(node, ast.Starred) else UNKNOWN


def _is_mask(index: ast.expr) -> bool:
    if isinstance(index, ast.UnaryOp):
        return isinstance(index.op, ast.Invert)
    return isinstance(index, ast.Compare) and not isinstance(index.ops[0], ast.Is | ast.IsNot | ast.In | ast.NotIn)


def _is_item(node: ast.expr) -> bool:
    """Tell whether an argument is `x.item()`, also inside a tuple or `int()`."""
    if isinstance(node, ast.Tuple | ast.List):
        return any(_is_item(element) for element in node.elts)
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr == "item"
    return isinstance(node.func, ast.Name) and node.func.id == "int" and any(_is_item(one) for one in node.args)


def _is_mask_write(target: ast.expr, value: ast.expr) -> bool:
    """Tell whether an assignment is `name[name] = name`, which may be a write through a boolean mask."""
    return (
        isinstance(target, ast.Subscript)
        and isinstance(target.value, ast.Name)
        and isinstance(target.slice, ast.Name)
        and isinstance(value, ast.Name)
    )


_STATEMENTS: Mapping[type[ast.stmt], Callable[[_Scanner, Any, _Frame], None]] = {
    ast.Import: _Scanner._import,
    ast.ImportFrom: _Scanner._import_from,
    ast.ClassDef: _Scanner._class,
    ast.FunctionDef: _Scanner._function,
    ast.AsyncFunctionDef: _Scanner._function,
    ast.Assign: _Scanner._assign,
    ast.AnnAssign: _Scanner._annotated,
    ast.AugAssign: _Scanner._augmented,
    ast.For: _Scanner._for,
    ast.AsyncFor: _Scanner._for,
    ast.With: _Scanner._with,
    ast.AsyncWith: _Scanner._with,
    ast.If: _Scanner._if,
    ast.Try: _Scanner._try,
    ast.TryStar: _Scanner._try,
    ast.Return: _Scanner._return,
}
