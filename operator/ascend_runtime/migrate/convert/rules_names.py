"""Rules for names: torch.cuda.*, .cuda(), is_cuda, the profiler, and the imports of all these."""

from __future__ import annotations

import ast
import re

from ascend_runtime.migrate.convert.context import Context
from ascend_runtime.migrate.convert.targets import npu_name, rule_of

_NO_COUNTERPART = "has no counterpart in torch_npu"
_REMEDIES = {
    "torch.cuda.nvtx": "use torch_npu.npu.mstx for marks, or take them out",
    "torch.cuda.comm": "use torch.distributed.scatter and gather",
    "torch.cuda.nccl": "use torch.distributed with the backend hccl",
    "torch.cuda.memory_usage": "use torch.npu.utilization or npu-smi info",
    "torch.cuda.OutOfMemoryError": "catch RuntimeError, or torch.OutOfMemoryError from PyTorch 2.5 on",
    "torch.cuda.jiterator": "write the kernel in Ascend C or Triton-Ascend",
}
_MODULE = re.compile(r"from\s+(?P<module>[\w.]+)\s+import\b")


def attribute(context: Context, node: ast.Attribute) -> None:
    """Rewrite one attribute if its name is known to need it."""
    dotted = context.names.dotted(node)
    if dotted == "torch.cuda":
        _cuda_module(context, node)
    elif dotted and dotted.startswith("torch.profiler.ProfilerActivity.") and node.attr == "CUDA":
        _rename(context, node, "NPU", "profiler")
    elif dotted and (dotted.startswith("torch.profiler.") or dotted == "torch.distributed.is_nccl_available"):
        _whole(context, node, dotted)
    elif node.attr == "is_cuda" and isinstance(node.ctx, ast.Load):
        _is_cuda(context, node)
    elif node.attr == "cuda" and isinstance(node.ctx, ast.Load) and not dotted:
        _cuda_method(context, node)


def _cuda_module(context: Context, node: ast.Attribute) -> None:
    """torch.cuda -> torch.npu where what follows exists there."""
    if not isinstance(node.ctx, ast.Load):
        return
    parent = context.names.parents.get(node)
    if not isinstance(parent, ast.Attribute):
        _rename(context, node, "npu", "cuda-module")
        return
    name = f"torch.cuda.{parent.attr}"
    target = npu_name(name)
    if target is None:
        context.leave("cuda-module", parent, name, f"{name} {_NO_COUNTERPART}", _remedy(name), "major")
        return
    _rename(context, node, "npu", rule_of(name))
    if (new := target.rsplit(".", 1)[1]) != parent.attr:
        _rename(context, parent, new, rule_of(name))


def _remedy(name: str) -> str:
    return next((text for key, text in _REMEDIES.items() if name.startswith(key)), "take the call out or replace it")


def _rename(context: Context, node: ast.Attribute, new: str, rule: str) -> None:
    if span := context.tail(node):
        context.replace(rule, node, span, new, f"change {node.attr} to {new}")


def _whole(context: Context, node: ast.Attribute, dotted: str) -> None:
    """Replace a full name that is written out from `torch` on; one that comes from its own import follows that."""
    root: ast.AST = node
    while isinstance(root, ast.Attribute):
        root = root.value
    target = npu_name(dotted)
    if target and isinstance(root, ast.Name) and context.names.dotted(root) in ("torch", "torch.distributed"):
        context.replace(rule_of(dotted), node, context.source.span(node), target, f"change {dotted} to {target}")


def _is_cuda(context: Context, node: ast.Attribute) -> None:
    if context.names.dotted(node):
        return
    if "is_cuda" in context.project.stored_attributes:
        remedy = "if it is a tensor's, write is_npu; the project's own attribute may stay"
        context.leave("is-cuda", node, "is_cuda", "the project defines an attribute is_cuda itself", remedy)
        return
    _rename(context, node, "is_npu", "is-cuda")


def _cuda_method(context: Context, node: ast.Attribute) -> None:
    """x.cuda() -> x.npu(); without a call only where the object is surely a tensor or a module."""
    parent = context.names.parents.get(node)
    called = isinstance(parent, ast.Call) and parent.func is node
    chosen = isinstance(parent, ast.IfExp) and _is_function(context, parent)
    if called or chosen or context.names.is_torch_object(node.value):
        _rename(context, node, "npu", "cuda-call")


def _is_function(context: Context, node: ast.IfExp) -> bool:
    parent = context.names.parents.get(node)
    return isinstance(parent, ast.Call) and parent.func is node


def class_body(context: Context, node: ast.ClassDef) -> None:
    """Give a class with its own method `cuda` the name `npu` beside it, so that converted calls find it."""
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    known = {
        t.id for item in node.body if isinstance(item, ast.Assign) for t in item.targets if isinstance(t, ast.Name)
    }
    method = methods.get("cuda")
    if method is None or "npu" in methods or "npu" in known:
        return
    source = context.source
    start = source.line_span(method.lineno)[0]
    indent = source.text[start : source.offset(method.lineno, method.col_offset)]
    if indent.strip() or method.end_lineno is None:
        return
    at = source.line_span(method.end_lineno)[1]
    lead = "" if source.text[at - 1 : at] in ("\n", "\r") else source.newline
    text = f"{lead}{source.newline}{indent}npu = cuda{source.newline}"
    context.replace("cuda-method", node, (at, at), text, f"give class {node.name} npu beside its own cuda")


def import_names(context: Context, node: ast.Import) -> None:
    """`import torch.cuda.amp as amp` -> torch_npu.npu.amp; without a new name `import torch` binds the same."""
    names: list[str] = []
    for alias in node.names:
        target = npu_name(alias.name)
        if alias.name.split(".")[:2] != ["torch", "cuda"]:
            names.append(_alias(alias))
        elif target is None:
            context.leave(
                "cuda-import", node, alias.name, f"{alias.name} {_NO_COUNTERPART}", _remedy(alias.name), "major"
            )
            return
        else:
            names.append(f"{target} as {alias.asname}" if alias.asname else "torch")
    text = "import " + ", ".join(dict.fromkeys(names))
    if names != [_alias(alias) for alias in node.names]:
        context.replace("cuda-import", node, context.source.span(node), text, f"change the import to {text}")


def import_from(context: Context, node: ast.ImportFrom) -> None:
    """`from torch.cuda.amp import autocast` -> `from torch_npu.npu.amp import autocast`, and so on."""
    if node.level or not node.module or node.module.split(".")[0] != "torch":
        return
    if node.names[0].name == "*":
        target = npu_name(node.module)
        if target:
            _module_text(context, node, target)
        return
    moved = {alias: _moved(context, node, alias) for alias in node.names}
    targets = {alias: target for alias, target in moved.items() if target}
    if not targets:
        return
    modules = {target.rsplit(".", 1)[0] for target in targets.values()}
    same = all(target.rsplit(".", 1)[1] == alias.name for alias, target in targets.items())
    if len(targets) == len(moved) and len(modules) == 1 and same:
        _module_text(context, node, modules.pop())
    else:
        _split(context, node, targets)


def _moved(context: Context, node: ast.ImportFrom, alias: ast.alias) -> str | None:
    """Return the new full name of an imported name; None if it stays."""
    dotted = f"{node.module}.{alias.name}"
    if dotted == "torch.profiler":
        return None if _uses_other(context, alias, "torch.profiler") else "torch_npu.profiler"
    target = npu_name(dotted)
    if target is None and (dotted.startswith("torch.cuda.")):
        context.leave("cuda-import", node, dotted, f"{dotted} {_NO_COUNTERPART}", _remedy(dotted), "major")
    if dotted == "torch.cuda" and _uses_other(context, alias, "torch.cuda"):
        message = "torch.cuda is imported, and not all that is used of it exists in torch_npu"
        context.leave(
            "cuda-import", node, dotted, message, "import torch, and write torch.npu.x where it exists", "major"
        )
        return None
    return target


def _uses_other(context: Context, alias: ast.alias, module: str) -> bool:
    """Tell whether the file uses a name of the imported module that has no counterpart."""
    name = alias.asname or alias.name
    return any(
        isinstance(use, ast.Attribute)
        and isinstance(use.value, ast.Name)
        and use.value.id == name
        and context.names.dotted(use.value) == module
        and npu_name(f"{module}.{use.attr}") != f"{npu_name(module) or 'torch_npu.profiler'}.{use.attr}"
        for use in context.names.parents
    )


def _module_text(context: Context, node: ast.ImportFrom, module: str) -> None:
    start = context.source.span(node)[0]
    found = _MODULE.match(context.source.text, start)
    if found:
        context.replace("cuda-import", node, found.span("module"), module, f"change module {node.module} to {module}")


def _split(context: Context, node: ast.ImportFrom, targets: dict[ast.alias, str]) -> None:
    """Write an import of several names as one statement for each module."""
    groups: dict[str, list[str]] = {}
    for alias in node.names:
        module, name = targets[alias].rsplit(".", 1) if alias in targets else (str(node.module), alias.name)
        bound = alias.asname or alias.name
        groups.setdefault(module, []).append(name if name == bound else f"{name} as {bound}")
    text = "; ".join(f"from {module} import {', '.join(names)}" for module, names in groups.items())
    context.replace("cuda-import", node, context.source.span(node), text, f"change the import to {text}")


def _alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name
