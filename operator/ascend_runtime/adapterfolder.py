"""Is a folder a LoRA adapter that fits a model? Found out from headers alone, before an NPU is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.folders import MANIFEST, read_json, read_manifest
from ascend_runtime.modelfolder import TensorEntry, read_tensors

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""What peft puts before the name of the adapted module (peft, docs/source/developer_guides/checkpoint.md)."""


@dataclass(frozen=True)
class AdapterFacts:
    """What an engine needs to know of an adapter."""

    name: str
    rank: int
    size_bytes: int
    base: str
    """What its config names as its base model; only shown."""


class _Misfit(Exception):
    """Something that keeps the adapter from being served, as a sentence."""


def check_adapter(
    name: str, folder: Path, model: Mapping[str, TensorEntry], field: str = "spec.model.adapters"
) -> AdapterFacts:
    """Return an adapter's facts; raises InvalidInput (AdapterInvalid) when it is none, or one of another model.

    `model` are the model's tensors by name; empty when they are not known, and the fit is then not checked.
    """
    try:
        return _checked(name, folder, model)
    except _Misfit as error:
        raise InvalidInput(Reason.ADAPTER_INVALID, field, f"adapter {name}: {error}") from error
    except InvalidInput as error:
        raise InvalidInput(Reason.ADAPTER_INVALID, field, f"adapter {name}: {error.message}") from error


def _checked(name: str, folder: Path, model: Mapping[str, TensorEntry]) -> AdapterFacts:
    if not folder.is_dir():
        raise _Misfit(f"{folder} is no folder; it must hold adapter_config.json and {WEIGHTS}")
    config = read_json(folder / "adapter_config.json")
    if config is None:
        raise _Misfit("adapter_config.json is missing or no JSON object")
    if not (folder / WEIGHTS).is_file():
        raise _Misfit(f"{WEIGHTS} is missing")
    if (folder / MANIFEST).is_file() and read_manifest(folder, hashes=False) is None:
        raise _Misfit("its files are not those of its manifest.json; it is being copied, or was changed")
    _check_kind(config)
    tensors = read_tensors(folder / WEIGHTS)
    rank, base = _rank(tensors), str(config.get("base_model_name_or_path") or "")[:200]
    if model:
        _check_fit(tensors, model, base)
    return AdapterFacts(name, rank, (folder / WEIGHTS).stat().st_size, base)


def _check_kind(config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise _Misfit(f"peft_type is {str(config.get('peft_type'))[:40]}; only LORA is served")
    if config.get("use_dora"):
        raise _Misfit("is a DoRA adapter, which engines do not serve; merge it into the model")
    if config.get("modules_to_save"):
        raise _Misfit("has whole layers (modules_to_save), which engines do not serve; merge it into the model")


def _rank(tensors: Mapping[str, TensorEntry]) -> int:
    ranks = [entry.shape[0] for key, entry in tensors.items() if key.endswith(".lora_A.weight") and entry.shape]
    if not ranks:
        raise _Misfit(f"{WEIGHTS} has no lora_A weights")
    return max(ranks)


def _check_fit(tensors: Mapping[str, TensorEntry], model: Mapping[str, TensorEntry], base: str) -> None:
    """Compare the shape that each pair of matrices makes with that of the weight which it is added to."""
    made_for = f"; it was made for {base}" if base else ""
    for key, first in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        module = key.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
        second = tensors.get(key.replace(".lora_A.weight", ".lora_B.weight"))
        target = model.get(f"{module}.weight")
        if target is None:
            raise _Misfit(f"the model has no layer {module[:120]}{made_for}")
        if second is None or len(first.shape) != 2 or len(second.shape) != 2 or first.shape[0] != second.shape[1]:
            raise _Misfit(f"the two matrices of {module[:120]} do not belong together")
        wanted = (second.shape[0], first.shape[1])
        if target.shape != wanted and not _is_packed(target):
            there = " x ".join(map(str, target.shape))
            raise _Misfit(
                f"{module[:120]} is {there} in the model and {wanted[0]} x {wanted[1]} in the adapter{made_for}"
            )


def _is_packed(entry: TensorEntry) -> bool:
    """Say whether a weight is kept in integers, several values in one: its shape then tells nothing."""
    return entry.dtype.startswith(("I", "U"))
