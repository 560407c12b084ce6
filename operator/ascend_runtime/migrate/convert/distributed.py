"""DistributedDataParallel from a single-card script: the start of the process group, the model, its loaders.

Everything that is added asks whether a process group runs, so that the script still works on one card without
torchrun. Sources: PyTorch's DDP notes; which statements are looked at: msfmktransplt's `distributed` sub-command.
"""

from __future__ import annotations

import ast

from ascend_runtime.migrate.convert.auto import after_statement
from ascend_runtime.migrate.convert.context import Context
from ascend_runtime.migrate.convert.edits import Edit, Operation
from ascend_runtime.migrate.convert.rewrite import torch_imports

RANK = "_ascend_local_rank"
_ACTIVE = "torch.distributed.is_initialized()"
_LOADER = ("dataset", "batch_size", "shuffle", "sampler", "batch_sampler")
"""Leading parameters of torch.utils.data.DataLoader, in order (PyTorch API reference)."""
_MODULE_API = frozenset(
    {
        "train",
        "eval",
        "parameters",
        "named_parameters",
        "zero_grad",
        "to",
        "npu",
        "cuda",
        "cpu",
        "half",
        "float",
        "double",
        "forward",
        "requires_grad_",
        "modules",
        "named_modules",
        "children",
        "named_children",
        "apply",
        "training",
        "buffers",
        "named_buffers",
        "module",
        "no_sync",
    }
)
"""What DistributedDataParallel answers itself or through torch.nn.Module; the rest is asked of the model inside."""


def distribute(context: Context, model: str) -> bool:
    """Make an entry file distributed, after the other rules ran; False and a finding if the model is not found."""
    if any(isinstance(node, ast.Name) and node.id == RANK for node in context.names.parents):
        return True
    wrapped = _wrap_model(context, model)
    if not wrapped:
        message = f"no assignment of {model} was found at which DistributedDataParallel could be put in"
        context.leave("distributed-model", context.source.tree.body[0], model, message, "name the model with --model")
        return False
    _start_group(context)
    for node in list(context.names.parents):
        if isinstance(node, ast.Assign) and _is_loader(context, node.value):
            _distribute_loader(context, node)
    return True


def _start_group(context: Context) -> None:
    """Start the process group after the imports of torch, where torchrun has set the world's size."""
    first = next(iter(torch_imports(context.names)), None)
    if first is None:
        return
    last = _last_import(context, first)
    lines = [
        "import os",
        "import torch",
        "import torch_npu",
        "import torch.distributed",
        f'{RANK} = int(os.environ.get("LOCAL_RANK", "0"))',
        'if __name__ == "__main__" and int(os.environ.get("WORLD_SIZE", "1")) > 1:',
        f"    torch.npu.set_device({RANK})",
        '    torch.distributed.init_process_group("hccl")',
    ]
    at, text = after_statement(context.source, last, lines)
    if text.startswith(";"):
        at, text = context.source.line_span(last.end_lineno or last.lineno)[1], _block(context, lines)
    _insert(context, "distributed-start", last, at, text, "start the process group under torchrun")


def _block(context: Context, lines: list[str]) -> str:
    return "".join(f"{line}{context.source.newline}" for line in lines)


def _last_import(context: Context, first: ast.stmt) -> ast.stmt:
    """Return the last of the imports that stand in a row at module level from the first one of torch on."""
    body = context.source.tree.body
    last = first if first in body else next(node for node in body if isinstance(node, ast.stmt))
    for node in body[body.index(last) :]:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            break
        last = node
    return last


def _wrap_model(context: Context, model: str) -> bool:
    """Put the wrapper after the last assignment to the model in the block of its first one."""
    assigned = [
        node
        for node in context.names.parents
        if isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and context.source.segment(node.targets[0]) == model
        and not (isinstance(node.value, ast.Constant) and node.value.value is None)
    ]
    if not assigned:
        return False
    assigned.sort(key=lambda node: node.lineno)
    block = context.names.parents[assigned[0]]
    last = [node for node in assigned if context.names.parents[node] is block][-1]
    data_parallel = (
        isinstance(last.value, ast.Call) and context.names.dotted(last.value.func) == "torch.nn.DataParallel"
    )
    wrapper = (
        f"torch.nn.parallel.DistributedDataParallel({{}}.npu({RANK}), device_ids=[{RANK}], broadcast_buffers=False)"
    )
    if data_parallel and isinstance(last.value, ast.Call) and last.value.args:
        inner = context.new_text(last.value.args[0])
        text = f"{wrapper.format(f'({inner})')} if {_ACTIVE} else {context.new_text(last.value)}"
        context.replace("distributed-model", last, context.source.span(last.value), text, "DataParallel to DDP")
    else:
        at, text = after_statement(context.source, last, [f"if {_ACTIVE}:", f"    {model} = {wrapper.format(model)}"])
        if text.startswith(";"):
            return False
        _insert(context, "distributed-model", last, at, text, f"wrap {model} in DistributedDataParallel")
    _inner_attributes(context, model, last, data_parallel=data_parallel)
    return True


def _inner_attributes(context: Context, model: str, after: ast.Assign, *, data_parallel: bool) -> None:
    """Ask the model inside for what the wrapper does not have: its state, and its own attributes."""
    if data_parallel:
        return
    scope = next(context.names.scopes(after))
    for node in context.names.parents:
        if not isinstance(node, ast.Attribute) or node.attr in _MODULE_API or node.lineno <= (after.end_lineno or 0):
            continue
        if context.source.segment(node.value) != model or next(context.names.scopes(node)) is not scope:
            continue
        if isinstance(node.ctx, ast.Load):
            text = f'getattr({model}, "module", {model})'
            context.replace("distributed-inner", node, context.source.span(node.value), text, f"ask {text}")


def _is_loader(context: Context, value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and context.names.dotted(value.func) == "torch.utils.data.DataLoader"


def _distribute_loader(context: Context, node: ast.Assign) -> None:
    """Give a shuffling loader a DistributedSampler, by keyword whatever way its arguments were given."""
    call = node.value
    assert isinstance(call, ast.Call)  # _is_loader() saw it
    given: dict[str, ast.expr] = dict(zip(_LOADER, call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    starred = any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)
    dataset, shuffle = given.get("dataset"), given.get("shuffle")
    if starred or "sampler" in given or "batch_sampler" in given or not isinstance(dataset, ast.Name | ast.Attribute):
        message = "the loader's arguments do not let its sampler be set by a rule"
        context.leave("distributed-loader", node, "DataLoader", message, "give it a DistributedSampler")
        return
    if shuffle is None or (isinstance(shuffle, ast.Constant) and not shuffle.value):
        message = "a loader that does not shuffle stays: each process reads all of its data"
        context.leave("distributed-loader", node, "DataLoader", message, "nothing for evaluation on each rank", "info")
        return
    _set_sampler(context, node, call, context.source.segment(dataset), shuffle)
    _set_epochs(context, node)


def _set_sampler(context: Context, node: ast.Assign, call: ast.Call, dataset: str, shuffle: ast.expr) -> None:
    old = context.new_text(shuffle)
    text = f"({old}) and not {_ACTIVE}"
    context.replace("distributed-loader", node, context.source.span(shuffle), text, "the sampler shuffles")
    end = context.source.span(call)[1] - 1
    before = context.source.text[:end].rstrip()
    sampler = f"sampler=torch.utils.data.DistributedSampler({dataset}) if {_ACTIVE} else None"
    lead = " " if before.endswith(",") else ", "
    at = len(before)
    _insert(context, "distributed-loader", node, at, f"{lead}{sampler}", "give the loader a DistributedSampler")


def _set_epochs(context: Context, node: ast.Assign) -> None:
    """Tell the sampler the epoch at the head of each loop over epochs in the loader's scope."""
    loader = context.source.segment(node.targets[0])
    scope = next(context.names.scopes(node))
    loops = [
        loop
        for loop in context.names.parents
        if isinstance(loop, ast.For)
        and isinstance(loop.target, ast.Name)
        and "epoch" in loop.target.id.lower()
        and next(context.names.scopes(loop)) is scope
        and loop.body[0].lineno > loop.lineno
    ]
    if not loops:
        message = f"no loop over epochs was found beside {loader}"
        context.leave("distributed-epoch", node, loader, message, f"call {loader}.sampler.set_epoch(epoch) each epoch")
    for loop in loops:
        start, _ = context.source.span(loop.body[0])
        lead = context.source.text[context.source.line_span(loop.body[0].lineno)[0] : start]
        if lead.strip() or not isinstance(loop.target, ast.Name):
            continue
        line = f"if {_ACTIVE}:{context.source.newline}{lead}    {loader}.sampler.set_epoch({loop.target.id})"
        text = f"{line}{context.source.newline}{lead}"
        _insert(context, "distributed-epoch", loop, start, text, f"tell {loader} the epoch")


def _insert(context: Context, rule: str, node: ast.stmt, at: int, text: str, message: str) -> None:
    context.edits.append(Edit(at, at, text, rule, Operation.INSERT, message, node.lineno, node.lineno))


LAUNCHER = """\
#!/bin/bash
# Start the training on the NPUs of this machine: NPUS=8 ./run_distributed_npu.sh ARGUMENTS
set -eu
cd "$(dirname "$0")"
exec torchrun --nproc_per_node "${{NPUS:-8}}" {main} "$@"
"""
"""The script beside a distributed project, with a place for the entry file."""
