"""Is a folder a model that transformers can load? Found out without torch, before an NPU is taken."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.folders import read_json

FIELD = "spec.model.uri"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_HEADER_LIMIT = 100 << 20
"""Longest safetensors header in bytes (the format's own limit)."""


def check_model(folder: Path) -> dict[str, Any]:
    """Return config.json of a complete model folder; raises InvalidInput (ModelInvalid) that says what is missing."""
    if not folder.is_dir():
        raise _invalid(f"{folder} is no folder; it must hold config.json, the tokenizer and the weights")
    config = read_json(folder / "config.json")
    if config is None or not isinstance(config.get("model_type"), str):
        raise _invalid("config.json is missing, no JSON object or without model_type")
    if not (folder / "tokenizer.json").is_file() and not any(folder.glob("tokenizer.model")):
        raise _invalid("the tokenizer is missing (tokenizer.json or tokenizer.model)")
    weight_files(folder)
    return config


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that hold the weights, all present; raises InvalidInput (ModelInvalid)."""
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return (folder / name,)
        index = read_json(folder / f"{name}.index.json")
        if index is not None:
            return _shards(folder, name, index)
    raise _invalid("the weights are missing (model.safetensors or its shards with model.safetensors.index.json)")


def missing_modules(folder: Path, targets: Collection[str]) -> tuple[str, ...]:
    """Return those of the LoRA target names that no weight of the model has; none when the weights are no safetensors.

    A target matches as in peft: the module's full name, or its end after a dot.
    """
    files = weight_files(folder)
    if not all(file.suffix == ".safetensors" for file in files):
        return ()
    modules = {name.removesuffix(".weight") for file in files for name in _tensor_names(file)}
    return tuple(t for t in targets if not any(module == t or module.endswith(f".{t}") for module in modules))


def _shards(folder: Path, name: str, index: dict[str, Any]) -> tuple[Path, ...]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _invalid(f"{name}.index.json has no weight_map")
    shards = sorted({str(shard) for shard in weight_map.values()})
    absent = [shard for shard in shards if not (folder / shard).is_file()]
    if absent:
        raise _invalid(f"{len(absent)} of {len(shards)} weight files are missing, the first is {absent[0]}")
    return tuple(folder / shard for shard in shards)


def _tensor_names(file: Path) -> Iterator[str]:
    return iter(read_tensors(file))


@dataclass(frozen=True)
class TensorEntry:
    """A tensor as a safetensors header has it: number format (BF16, F32, I8, ...), shape, bytes."""

    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def values(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)


def read_tensors(file: Path) -> dict[str, TensorEntry]:
    """Read a safetensors header: u64 length, then a JSON object by tensor name; raises InvalidInput (ModelInvalid).

    The file has to be as long as the header says: one that was cut short, or is still being copied, is not.
    """
    header, start = _header(file)
    tensors, end = {}, 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            first, last = (int(offset) for offset in entry["data_offsets"])
            tensors[name] = TensorEntry(str(entry["dtype"]), tuple(int(n) for n in entry["shape"]), last - first)
        except (KeyError, TypeError, ValueError) as error:
            raise _invalid(f"{file.name} is no safetensors file: its header has no place for {name[:80]}") from error
        end = max(end, last)
    if start + end > file.stat().st_size:
        raise _invalid(f"{file.name} is cut short")
    return tensors


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Return a safetensors header and where the data begin."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 0 < size <= _HEADER_LIMIT:
            raise _invalid(f"{file.name} is no safetensors file")
        try:
            header = json.loads(stream.read(size))
        except ValueError as error:
            raise _invalid(f"{file.name} is cut short or no safetensors file") from error
    if not isinstance(header, dict):
        raise _invalid(f"{file.name} is no safetensors file")
    return header, 8 + size


def _invalid(sentence: str) -> InvalidInput:
    return InvalidInput(Reason.MODEL_INVALID, FIELD, sentence)
