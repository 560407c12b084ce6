"""Rules for calls: devices given as numbers, arguments the NPU profiler does not take; and what is left to people."""

from __future__ import annotations

import ast
import re

from ascend_runtime.migrate.convert.context import Context

_INDEX_NAME = re.compile(r"(?:^|_)(?:rank|gpu|gpu_id|device_id|local_rank)$")
_LEFT = {
    "torch.nn.DataParallel": (
        "major",
        "torch.nn.DataParallel does not run on Ascend",
        "use DistributedDataParallel: `ascendctl migrate convert --distributed` writes it for a single-card script",
    ),
    "torch.load": (
        "info",
        "torch.load without map_location fails on checkpoints that were saved from CUDA",
        "add map_location='cpu', then move the model",
    ),
    "torch.jit.script": ("info", "transfer_to_npu switches torch.jit.script off", "see that the code runs without it"),
    "torch.backends.cudnn.benchmark": ("info", "cuDNN settings have no effect on Ascend", "nothing has to be done"),
    "torch.utils.cpp_extension.CUDAExtension": (
        "major",
        "CUDA sources cannot be built for Ascend",
        "rewrite the operator in Ascend C, or use one of torch_npu",
    ),
    "torch.utils.cpp_extension.load": (
        "major",
        "CUDA sources cannot be built for Ascend",
        "rewrite the operator in Ascend C, or use one of torch_npu",
    ),
}
_LIBRARIES = {
    "amp_C": "use torch_npu's fused optimizers",
    "apex": "use torch.amp and torch_npu.optim (apex for Ascend is a package of its own)",
    "flash_attn": "use torch.nn.functional.scaled_dot_product_attention or torch_npu.npu_fusion_attention",
    "xformers": "use torch.nn.functional.scaled_dot_product_attention",
    "bitsandbytes": "take the quantized optimizer or layer out",
    "nvidia": "use torchvision or OpenCV for loading data",
    "pynvml": "use npu-smi info",
    "tensorrt": "use ATC and MindIE for deployment",
    "pycuda": "rewrite in Ascend C",
    "cupy": "use numpy or torch",
}
_NCCL_REMEDY = "HCCL has its own settings: HCCL_SOCKET_IFNAME, HCCL_CONNECT_TIMEOUT, HCCL_EXEC_TIMEOUT"


def call(context: Context, node: ast.Call) -> None:
    """Look at one call."""
    dotted = context.names.dotted(node.func) or ""
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if dotted in ("torch.profiler.profile", "torch.autograd.profiler.profile", "torch_npu.profiler.profile"):
        _profile(context, node, dotted)
    if dotted == "torch.device" or (method in ("to", "to_empty") and not dotted):
        if len(node.args) == 1:
            _index(context, node.args[0], dotted or f".{method}")
        _keyword_index(context, node, dotted or f".{method}")
    elif dotted.startswith("torch."):
        _keyword_index(context, node, dotted)
    left(context, node)


def _keyword_index(context: Context, node: ast.Call, name: str) -> None:
    for keyword in node.keywords:
        if keyword.arg in ("device", "map_location"):
            _index(context, keyword.value, name)


def _index(context: Context, value: ast.expr, name: str) -> None:
    """Write a literal number as 'npu:N'; a variable that is likely a number is a finding."""
    if isinstance(value, ast.Constant) and type(value.value) is int and value.value >= 0:
        text = f"'npu:{value.value}'"
        context.replace(
            "device-index", value, context.source.span(value), text, f"change device {value.value} to {text}"
        )
        return
    last = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
    if _INDEX_NAME.search(last) and context.project.torch_version < (2, 5):
        remedy = f"write f'npu:{{{context.source.segment(value)}}}' if it is a number"
        context.leave(
            "device-index", value, name, "a number as device is not taken by torch_npu of this version", remedy
        )


def _profile(context: Context, node: ast.Call, dotted: str) -> None:
    for keyword in node.keywords:
        if keyword.arg == "experimental_config" and dotted == "torch.profiler.profile":
            if not _is_npu_config(context, keyword.value):
                _delete(context, node, keyword)
        elif keyword.arg == "use_cuda":
            context.leave("profiler", keyword, "use_cuda", "use_cuda is not taken on Ascend", "write use_device='npu'")


def _is_npu_config(context: Context, node: ast.AST) -> bool:
    """Tell whether the value is already torch_npu's own configuration."""
    func = node.func if isinstance(node, ast.Call) else node
    return (context.names.dotted(func) or "").startswith("torch_npu.")


def _delete(context: Context, node: ast.Call, keyword: ast.keyword) -> None:
    """Delete an argument with the comma that goes with it."""
    text = context.source.text
    start, end = context.source.span(keyword)
    rest = re.compile(r"\s*,[ \t]*").match(text, end)
    before = re.compile(r",\s*$").search(text, context.source.span(node.func)[1], start)
    if rest and text[rest.end() : rest.end() + 1] != ")":
        end = rest.end()
    elif before:
        start = before.start()
    context.replace("profiler", keyword, (start, end), "", f"delete the argument {keyword.arg}")


def left(context: Context, node: ast.Call) -> None:
    """Report a call that does not work on Ascend as it is, or differently."""
    dotted = context.names.dotted(node.func) or ""
    known = _LEFT.get(dotted)
    if known is None or (dotted == "torch.load" and any(k.arg in ("map_location", None) for k in node.keywords)):
        return
    if dotted == "torch.load" and len(node.args) > 1:
        return
    severity, message, remedy = known
    context.leave("unsupported", node, dotted, message, remedy, severity)


def library(context: Context, node: ast.Import | ast.ImportFrom) -> None:
    """Report an import of a library that has no build for Ascend, or another one."""
    modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    for module in modules:
        root = module.split(".")[0]
        if root in _LIBRARIES and not getattr(node, "level", 0):
            context.leave("library", node, module, f"{module} needs CUDA", _LIBRARIES[root], "major")


def nccl_setting(context: Context, node: ast.Constant) -> None:
    """Report an NCCL_ setting: it has no effect on HCCL."""
    if isinstance(node.value, str) and re.fullmatch(r"(TORCH_)?NCCL_[A-Z_]+", node.value):
        context.leave("environment", node, node.value, f"{node.value} has no effect on Ascend", _NCCL_REMEDY, "info")
