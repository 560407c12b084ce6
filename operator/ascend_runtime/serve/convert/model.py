"""A Hugging Face model folder -> one GGUF file, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

from ascend_runtime.modelfolder import weight_files
from ascend_runtime.serve.convert.architecture import Architecture, arrange, gguf_name, rope_factors
from ascend_runtime.serve.convert.tensors import Tensor, read_tensors
from ascend_runtime.serve.convert.vocabulary import add_vocabulary
from ascend_runtime.serve.failures import model_invalid

PRECISIONS = ("auto", "f32", "f16", "bf16", "q8_0")
"""auto: f32 stays, 16 bits become f16, with which CPUs compute 1.4 times as fast as with bf16 (SmolLM2-135M, AVX2)."""
_KINDS = {"f32": Kind.F32, "f16": Kind.F16, "bf16": Kind.BF16, "q8_0": Kind.Q8_0}
_STORED = {"F64": Kind.F32, "F32": Kind.F32, "F16": Kind.F16, "BF16": Kind.F16}
_F16_MAX = 65504.0
_Q8_BLOCK = 32
"""Values that share a scale in Q8_0; a row must be a multiple."""


@dataclass(frozen=True)
class _Part:
    """A tensor on its way: where it comes from and what becomes of it."""

    tensor: Tensor
    name: str
    kind: Kind

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape in bytes for kinds that numpy does not have, else in values."""
        block, size = gguf.GGML_QUANT_SIZES[self.kind]
        *rows, row = self.tensor.shape
        return (*rows, row // block * size)

    @property
    def numpy_type(self) -> np.dtype:
        """Return the type that the file's bytes are written as."""
        return {Kind.F32: np.dtype("<f4"), Kind.F16: np.dtype("<f2")}.get(self.kind, np.dtype(np.uint8))

    @property
    def size_bytes(self) -> int:
        """Return the size in the GGUF file in bytes."""
        block, size = gguf.GGML_QUANT_SIZES[self.kind]
        return math.prod(self.tensor.shape) // int(block) * int(size)


def write_model(folder: Path, architecture: Architecture, precision: str, target: Path) -> None:
    """Write the model to `target`; raises CannotServe or InvalidInput (ModelInvalid), OSError when the disk is full."""
    parts = _parts(read_tensors(weight_files(folder)), architecture, precision)
    writer = gguf.GGUFWriter(target, architecture.name)
    _add_measures(writer, architecture)
    add_vocabulary(writer, folder, architecture.vocabulary)
    factors = rope_factors(architecture)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    for part in parts:
        raw = None if part.numpy_type != np.uint8 else part.kind
        shape = part.tensor.shape if raw is None else part.shape
        writer.add_tensor_info(part.name, shape, part.numpy_type, part.size_bytes, raw_dtype=raw)
    _write(writer, parts, architecture, factors)


def _write(
    writer: gguf.GGUFWriter, parts: Sequence[_Part], architecture: Architecture, factors: np.ndarray | None
) -> None:
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(factors)
        for part in parts:
            writer.write_tensor_data(_converted(part, architecture))
    finally:
        writer.close()


def _converted(part: _Part, architecture: Architecture) -> np.ndarray:
    values = np.ascontiguousarray(arrange(architecture, part.tensor.name, part.tensor.read()))
    if part.kind == Kind.F16 and values.size and np.abs(values).max() > _F16_MAX:
        raise model_invalid(f"{part.tensor.name} has values beyond 16-bit floats; serve with --dtype bfloat16")
    stored: np.ndarray = gguf.quants.quantize(values, part.kind)
    return stored


def _parts(tensors: dict[str, Tensor], architecture: Architecture, precision: str) -> list[_Part]:
    parts = []
    for name, tensor in tensors.items():
        renamed = gguf_name(architecture, name)
        if renamed is not None:
            parts.append(_Part(tensor, renamed, _kind(tensor, precision)))
    _check_complete(parts, architecture)
    return parts


def _kind(tensor: Tensor, precision: str) -> Kind:
    if len(tensor.shape) == 1:
        return Kind.F32  # norms and biases: llama.cpp computes with them in full
    kind = _KINDS.get(precision, _STORED[tensor.dtype])
    return Kind.F16 if kind == Kind.Q8_0 and tensor.shape[-1] % _Q8_BLOCK else kind


def _check_complete(parts: Sequence[_Part], architecture: Architecture) -> None:
    shapes = {part.name: part.tensor.shape for part in parts}
    wanted = {"token_embd.weight": (architecture.vocabulary, architecture.hidden)}
    for layer in range(architecture.layers):
        width, kv_width = (architecture.head_dim * n for n in (architecture.heads, architecture.kv_heads))
        wanted[f"blk.{layer}.attn_q.weight"] = (width, architecture.hidden)
        wanted[f"blk.{layer}.attn_k.weight"] = (kv_width, architecture.hidden)
        wanted[f"blk.{layer}.ffn_down.weight"] = (architecture.hidden, architecture.intermediate)
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            raise model_invalid(
                f"weights and config.json differ: {name} is {shapes.get(name)}, config.json says {shape}"
            )


def _add_measures(writer: gguf.GGUFWriter, architecture: Architecture) -> None:
    writer.add_context_length(architecture.context)
    writer.add_embedding_length(architecture.hidden)
    writer.add_block_count(architecture.layers)
    writer.add_feed_forward_length(architecture.intermediate)
    writer.add_head_count(architecture.heads)
    writer.add_head_count_kv(architecture.kv_heads)
    writer.add_key_length(architecture.head_dim)
    writer.add_value_length(architecture.head_dim)
    writer.add_layer_norm_rms_eps(architecture.epsilon)
    writer.add_vocab_size(architecture.vocabulary)
    writer.add_rope_dimension_count(architecture.head_dim)
    writer.add_rope_freq_base(float(architecture.rope["rope_theta"]))
    if architecture.rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(architecture.rope["factor"]))
