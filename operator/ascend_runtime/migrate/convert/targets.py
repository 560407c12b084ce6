"""What each CUDA name becomes on Ascend: the one table the rules of the source rewrite look into.

Sources: the conversion rules of Huawei's msfmktransplt (which names), the native API tables of Ascend/pytorch
(docs, CC-BY-4.0; which of them exist as torch.npu.*) and torch_npu's own modules (profiler, distributed).
"""

from __future__ import annotations

NPU_NAMES = frozenset(
    {
        "Event",
        "ExternalStream",
        "Stream",
        "StreamContext",
        "amp",
        "caching_allocator_alloc",
        "caching_allocator_delete",
        "can_device_access_peer",
        "current_blas_handle",
        "current_device",
        "current_stream",
        "default_stream",
        "device",
        "device_count",
        "device_of",
        "empty_cache",
        "get_allocator_backend",
        "get_device_capability",
        "get_device_name",
        "get_device_properties",
        "get_rng_state",
        "get_rng_state_all",
        "get_sync_debug_mode",
        "graph",
        "graph_pool_handle",
        "init",
        "initial_seed",
        "ipc_collect",
        "is_available",
        "is_bf16_supported",
        "is_current_stream_capturing",
        "is_initialized",
        "make_graphed_callables",
        "manual_seed",
        "manual_seed_all",
        "max_memory_allocated",
        "max_memory_cached",
        "max_memory_reserved",
        "mem_get_info",
        "memory",
        "memory_allocated",
        "memory_cached",
        "memory_reserved",
        "memory_snapshot",
        "memory_stats",
        "memory_stats_as_nested_dict",
        "memory_summary",
        "random",
        "reset_accumulated_memory_stats",
        "reset_max_memory_allocated",
        "reset_max_memory_cached",
        "reset_peak_memory_stats",
        "seed",
        "seed_all",
        "set_device",
        "set_per_process_memory_fraction",
        "set_rng_state",
        "set_rng_state_all",
        "set_stream",
        "set_sync_debug_mode",
        "stream",
        "streams",
        "synchronize",
        "utilization",
        "host_memory_stats",
        "host_memory_stats_as_nested_dict",
        "reset_accumulated_host_memory_stats",
        "reset_peak_host_memory_stats",
        "FloatTensor",
        "HalfTensor",
        "BFloat16Tensor",
        "IntTensor",
        "LongTensor",
        "ShortTensor",
        "CharTensor",
        "ByteTensor",
        "BoolTensor",
        "DoubleTensor",
    }
)
"""Names under torch.cuda that torch.npu has as well, as first part after the module."""

RENAMED = {
    "CUDAGraph": "NPUGraph",
    "CUDAPluggableAllocator": "NPUPluggableAllocator",
}
"""Names under torch.cuda that torch.npu has under another name."""

PROFILER_NAMES = frozenset({"profile", "schedule", "tensorboard_trace_handler", "ProfilerActivity", "ProfilerAction"})
"""Names of torch.profiler that torch_npu.profiler has; record_function is the same for both and stays."""

OTHERS = {"torch.distributed.is_nccl_available": "torch_npu.distributed.is_hccl_available"}

ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_LAUNCH_BLOCKING": "ASCEND_LAUNCH_BLOCKING",
    "PYTORCH_CUDA_ALLOC_CONF": "PYTORCH_NPU_ALLOC_CONF",
}
"""Environment settings that mean the same on Ascend, with the same values (CANN and torch_npu environment lists)."""


def npu_name(dotted: str) -> str | None:
    """Return what a torch name becomes (`torch.cuda.x` as `torch_npu.npu.x`); None if it has no counterpart."""
    if dotted == "torch.cuda":
        return "torch_npu.npu"
    if dotted.startswith("torch.cuda."):
        head, *rest = dotted.removeprefix("torch.cuda.").split(".")
        if head not in NPU_NAMES and head not in RENAMED:
            return None
        return ".".join(["torch_npu.npu", RENAMED.get(head, head), *rest])
    if dotted.startswith("torch.profiler."):
        head, *rest = dotted.removeprefix("torch.profiler.").split(".")
        return ".".join(["torch_npu.profiler", head, *rest]) if head in PROFILER_NAMES else None
    return OTHERS.get(dotted)


def rule_of(dotted: str) -> str:
    """Return the id of the rule that rewrites this name."""
    if ".amp" in dotted:
        return "amp"
    if "seed" in dotted or "rng_state" in dotted:
        return "seed"
    if dotted.startswith("torch.profiler"):
        return "profiler"
    return "hccl-available" if dotted in OTHERS else "cuda-module"
