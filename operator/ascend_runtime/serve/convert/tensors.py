"""Tensors of safetensors files, one at a time: a model is converted in the memory of its largest tensor.

Without torch, which takes seconds and hundreds of megabytes to import. The format: u64 length of the header, a JSON
object by tensor name with dtype, shape and the place of the bytes, then the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ascend_runtime.serve.failures import model_invalid

_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_HEADER_LIMIT = 100 << 20
"""Longest header in bytes (the format's own limit)."""


@dataclass(frozen=True)
class Tensor:
    """A tensor's place in a file; `read` brings it into memory."""

    name: str
    dtype: str
    """As safetensors spells it: F32, F16, BF16, ..."""
    shape: tuple[int, ...]
    file: Path
    start: int
    """First byte in the file."""

    def read(self) -> np.ndarray:
        """Return the values as float32."""
        raw: np.ndarray = np.memmap(self.file, dtype=_NUMPY[self.dtype], mode="r", offset=self.start, shape=self.shape)
        if self.dtype == "BF16":  # the upper half of a float32
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        values: np.ndarray = np.array(raw, dtype=np.float32)
        return values


def read_tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    """Return the tensors of a model's or an adapter's files by name; raises CannotServe (ModelInvalid)."""
    found: dict[str, Tensor] = {}
    for file in files:
        for tensor in _tensors_of(file):
            found[tensor.name] = tensor
    return found


def _tensors_of(file: Path) -> list[Tensor]:
    if file.suffix != ".safetensors":
        raise model_invalid(f"{file.name} is no safetensors file; save the model with safe_serialization=True")
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(_HEADER_LIMIT, size):
            raise model_invalid(f"{file.name} is no safetensors file")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise model_invalid(f"{file.name} is cut short or no safetensors file") from error
    header.pop("__metadata__", None)
    return [_tensor(file, name, entry, 8 + length, size) for name, entry in header.items()]


def _tensor(file: Path, name: str, entry: dict[str, Any], base: int, size: int) -> Tensor:
    begin, end = entry["data_offsets"]
    if base + end > size:
        raise model_invalid(f"{file.name} is cut short: {name} ends at byte {base + end} of {size}")
    if entry["dtype"] not in _NUMPY:
        raise model_invalid(f"{name} is {entry['dtype']}; the CPU engine reads {', '.join(_NUMPY)}")
    return Tensor(name, entry["dtype"], tuple(entry["shape"]), file, base + begin)
