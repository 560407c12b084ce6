"""Rules for string literals: devices, communication backends, tensor types, environment names.

Only whole values count: `cuda`, `cuda:0`, `nccl`, `cpu:gloo,cuda:nccl`, never a word inside a sentence, a docstring
or a bytes literal. A string that may be a key of the user's own is a finding.
"""

from __future__ import annotations

import ast
import re

from ascend_runtime.migrate.convert.context import Context
from ascend_runtime.migrate.convert.targets import ENVIRONMENT

DEVICE = re.compile(r"cuda(?::(?:\d+|%[sd]|\{\w*\})?)?")
BACKEND = re.compile(r"nccl|NCCL|(?:(?:cpu|cuda|npu):\w+)(?:,(?:cpu|cuda|npu):\w+)*")
_TENSOR = re.compile(r"torch\.cuda\.(?:Float|Half|BFloat16|Int|Long|Short|Char|Byte|Bool|Double)Tensor")
_FORMATTED = re.compile(r"[rR]?[fF][rR]?(?:'''|\"\"\"|'|\")(cuda)(?=:?\{|:?\d)")
_OWN_KEYS = frozenset(
    {"get", "pop", "add_argument", "add_option", "setdefault", "getattr", "hasattr", "setattr", "delattr"}
)
_NOT_TORCH = ("onnxruntime", "tensorrt", "cupy", "jax", "tensorflow", "numba", "cv2", "paddle", "mxnet", "triton")
_KEY_REMEDY = "if it names a device, write npu; if it is a key or an option of the project, leave it"


def constant(context: Context, node: ast.Constant) -> None:
    """Rewrite one plain string literal, in any of its spellings and concatenations."""
    value = node.value
    if not isinstance(value, str) or _is_documentation(context, node):
        return
    visible_devices(context, node)
    if DEVICE.fullmatch(value):
        if _is_own_key(context, node):
            context.leave("device-string", node, value, f"{value!r} may be a key of the project's own", _KEY_REMEDY)
        elif not _is_foreign(context, node) and not _has_twin(context, node):
            _swap(context, node, "cuda", "npu", _device_rule(context, node))
    elif BACKEND.fullmatch(value) and ("nccl" in value.lower() or "cuda:" in value):
        if _is_own_key(context, node):
            context.leave("backend-string", node, value, f"{value!r} may be a key of the project's own", _KEY_REMEDY)
        else:
            _backend(context, node, value)
    elif _TENSOR.fullmatch(value):
        _swap(context, node, "torch.cuda", "torch.npu", "device-string")


def visible_devices(context: Context, node: ast.Constant) -> None:
    """Rewrite the name of an environment setting that has the same meaning on Ascend under another name."""
    value = node.value
    if isinstance(value, str) and value in ENVIRONMENT and not _is_documentation(context, node):
        _swap(context, node, value, ENVIRONMENT[value], "environment")
        _hidden_devices(context, node, value)


def formatted(context: Context, node: ast.JoinedStr) -> None:
    """Rewrite f"cuda:{index}": the text begins with the device and holds nothing else but numbers put in."""
    head = node.values[0] if node.values else None
    if not isinstance(head, ast.Constant) or head.value not in ("cuda", "cuda:"):
        return
    if any(isinstance(part, ast.Constant) and not str(part.value).isalnum() for part in node.values[1:]):
        return
    start = context.source.span(node)[0]
    if found := _FORMATTED.match(context.source.text, start):
        context.replace("device-string", node, found.span(1), "npu", "replace string cuda with npu")


def _swap(context: Context, node: ast.Constant, old: str, new: str, rule: str) -> None:
    """Replace the one place of `old` in the literal's own text."""
    start, end = context.source.span(node)
    segment = context.source.text[start:end]
    if segment.count(old) != 1:
        context.leave(rule, node, old, f"the text {node.value!r} is written in pieces", f"write {new} there")
        return
    at = start + segment.index(old)
    context.replace(rule, node, (at, at + len(old)), new, f"replace string {old} with {new}")


def _backend(context: Context, node: ast.Constant, value: str) -> None:
    new = value.replace("nccl", "hccl").replace("NCCL", "HCCL").replace("cuda:", "npu:")
    _swap(context, node, value, new, "backend-string")


def _is_documentation(context: Context, node: ast.Constant) -> bool:
    parent = context.names.parents.get(node)
    return isinstance(parent, ast.Expr | ast.JoinedStr)


def _is_own_key(context: Context, node: ast.Constant) -> bool:
    """Tell whether the string names something of the project: a key, an attribute, an option."""
    parent = context.names.parents.get(node)
    if isinstance(parent, ast.Subscript):
        return parent.slice is node and not _is_device_table(context, parent.value)
    if isinstance(parent, ast.Dict) and node in parent.keys:
        return ":" not in str(node.value) and not _has_devices(parent)
    if isinstance(parent, ast.keyword):
        return parent.arg in ("dest", "name")
    if isinstance(parent, ast.Call) and node in parent.args:
        return _is_key_argument(context, parent, node)
    return False


def _is_key_argument(context: Context, call: ast.Call, node: ast.Constant) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in _OWN_KEYS:
        return False
    if name in ("getattr", "hasattr"):
        return call.args[0] is not node and context.names.dotted(call.args[0]) not in ("torch", "torch.backends")
    return call.args[0] is node


def _is_device_table(context: Context, node: ast.expr) -> bool:
    values: list[ast.expr] = context.names.assigned(node.id) if isinstance(node, ast.Name) else [node]
    return bool(values) and all(isinstance(value, ast.Dict) and _has_devices(value) for value in values)


def _has_devices(table: ast.Dict) -> bool:
    """Tell whether the keys are devices: another of them is one that is no common word."""
    keys = {key.value for key in table.keys if isinstance(key, ast.Constant)}
    return bool(keys & {"cpu", "mps", "npu", "xpu"}) or any(str(key).startswith("cuda:") for key in keys)


def _has_twin(context: Context, node: ast.Constant) -> bool:
    """Tell whether the same list or table already names the NPU beside it: the project knows Ascend there."""
    parent = context.names.parents.get(node)
    others = parent.keys if isinstance(parent, ast.Dict) and node in parent.keys else getattr(parent, "elts", [])
    new = str(node.value).replace("cuda", "npu")
    return any(isinstance(other, ast.Constant) and other.value == new for other in others)


def _is_foreign(context: Context, node: ast.AST) -> bool:
    """Tell whether the string goes to a library that is not torch, or to a build."""
    if context.source.path.rsplit("/", 1)[-1] == "setup.py":
        return True
    current = context.names.parents.get(node)
    while current is not None and not isinstance(current, ast.stmt):
        if isinstance(current, ast.Call) and (context.names.dotted(current.func) or "").split(".")[0] in _NOT_TORCH:
            return True
        current = context.names.parents.get(current)
    return False


def _device_rule(context: Context, node: ast.AST) -> str:
    """Return the id: a device given to AMP or a DataLoader is counted with these."""
    parent = context.names.parents.get(node)
    call = context.names.parents.get(parent) if isinstance(parent, ast.keyword) else parent
    dotted = context.names.dotted(call.func) if isinstance(call, ast.Call) else None
    if dotted in ("torch.autocast", "torch.amp.autocast", "torch.amp.GradScaler"):
        return "amp"
    return "dataloader" if dotted == "torch.utils.data.DataLoader" else "device-string"


def _hidden_devices(context: Context, node: ast.Constant, name: str) -> None:
    statement = context.names.statement(node)
    value = statement.value if isinstance(statement, ast.Assign) else None
    if name == "CUDA_VISIBLE_DEVICES" and isinstance(value, ast.Constant) and value.value in ("-1", ""):
        message = f"devices are hidden by {name}={value.value!r}"
        context.leave(
            "environment", node, name, message, "choose the device cpu in the code: CANN may refuse this value"
        )
