"""A peft LoRA folder -> a GGUF adapter for a converted base model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from ascend_runtime.folders import read_json
from ascend_runtime.modelfolder import weight_files
from ascend_runtime.serve.convert.architecture import Architecture, arrange, gguf_name
from ascend_runtime.serve.convert.tensors import Tensor, read_tensors
from ascend_runtime.serve.failures import CannotServe, adapter_invalid

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])(?:\.default)?\.weight")
_Halves = dict[str, dict[str, Tensor]]


def read_adapter(name: str, folder: Path, max_rank: int) -> dict[str, Any]:
    """Return adapter_config.json; raises CannotServe (AdapterInvalid) for what is no plain LoRA or above max_rank."""
    config = read_json(folder / CONFIG)
    if config is None or not (folder / WEIGHTS).is_file():
        raise adapter_invalid(name, f"{folder} is no peft adapter: it must hold {CONFIG} and {WEIGHTS}")
    if config.get("peft_type") != "LORA":
        raise adapter_invalid(name, f"adapter {name} is {config.get('peft_type')}, only LORA can be served")
    for key in ("use_dora", "modules_to_save"):
        if config.get(key):
            raise adapter_invalid(name, f"adapter {name} has {key}; merge it into its model and serve that")
    rank = max([int(config.get("r", 0)), *(config.get("rank_pattern") or {}).values()])
    if rank > max_rank:
        raise adapter_invalid(name, f"LoRA rank {rank} of {name} is greater than max_lora_rank {max_rank}")
    return config


def write_adapter(
    name: str, folder: Path, config: Mapping[str, Any], base: tuple[Path, Architecture], target: Path
) -> None:
    """Write the adapter to `target`, or raise CannotServe (AdapterInvalid) when it does not fit the base model.

    The scaling of each module (alpha / r, with the patterns and rank-stabilised form of peft) goes into its B half:
    GGUF has one alpha for all.
    """
    base_folder, architecture = base
    try:
        shapes = {key: tensor.shape for key, tensor in read_tensors(weight_files(base_folder)).items()}
        halves = _halves(name, read_tensors([folder / WEIGHTS]))
        writer = gguf.GGUFWriter(target, architecture.name)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 0.0)  # 0: B is used as it is
        for module, pair in halves.items():
            _check_fit(name, module, pair, shapes)
            _add_module(writer, architecture, module, pair, _scaling(config, module))
    except CannotServe as error:
        raise adapter_invalid(name, f"adapter {name}: {error}") from error
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _halves(name: str, tensors: Mapping[str, Tensor]) -> _Halves:
    halves: _Halves = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise adapter_invalid(name, f"{key} is no half of a LoRA module; merge the adapter and serve the model")
        halves.setdefault(match["module"], {})[match["half"]] = tensor
    return halves


def _check_fit(name: str, module: str, pair: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    base = shapes.get(f"{module}.weight")
    if base is None:
        raise adapter_invalid(name, f"it tunes {module}, which the base model has not: it is made for another")
    if set(pair) != {"A", "B"}:
        raise adapter_invalid(name, f"{module} has only one half of its LoRA")
    (rank, inward), (outward, rank_b) = pair["A"].shape, pair["B"].shape
    if (outward, inward) != base or rank != rank_b:
        wanted = f"{base[0]} x {base[1]}"
        raise adapter_invalid(
            name, f"{module} is {outward} x {inward}, in the base model {wanted}: it is made for another"
        )


def _add_module(
    writer: gguf.GGUFWriter, architecture: Architecture, module: str, pair: Mapping[str, Tensor], scaling: float
) -> None:
    target = gguf_name(architecture, f"{module}.weight")
    outward = arrange(architecture, f"{module}.", pair["B"].read() * np.float32(scaling))
    writer.add_tensor(f"{target}.lora_a", pair["A"].read())
    writer.add_tensor(f"{target}.lora_b", np.ascontiguousarray(outward))


def _scaling(config: Mapping[str, Any], module: str) -> float:
    rank = _pattern(config.get("rank_pattern"), module, config["r"])
    alpha = _pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _pattern(pattern: Mapping[str, float] | None, module: str, default: float) -> float:
    """Return the value of the first pattern that the module's name ends with, as peft matches them."""
    for key, value in (pattern or {}).items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return default
