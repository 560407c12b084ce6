"""Which architectures the CPU engine knows, and how their Hugging Face names and weights become llama.cpp's."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np

from ascend_runtime.serve.failures import model_invalid

_KNOWN = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}
_ARCHES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}


@dataclass(frozen=True)
class Architecture:
    """The measures of a model, as its config.json says them."""

    name: str
    """llama or qwen2: the key under which llama.cpp keeps the measures."""
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    """Rows of the embedding."""
    context: int
    """Longest sequence in tokens (max_position_embeddings)."""
    epsilon: float
    rope: Mapping[str, Any]
    """rope_type, rope_theta and what the type needs."""

    @property
    def kv_bytes_a_token(self) -> int:
        """Return the KV cache of one token in bytes: keys and values of every layer in 16 bits."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Read config.json; raises CannotServe (ModelInvalid) for what this engine cannot compute."""
    kind = next(iter(config.get("architectures") or ["(none)"]))
    if kind not in _KNOWN:
        raise model_invalid(f"architecture {kind}: the CPU engine serves {' and '.join(_KNOWN)}; use an NPU engine")
    try:
        return _architecture(_KNOWN[kind], config)
    except (KeyError, TypeError, ValueError) as error:
        raise model_invalid(f"config.json: {error} is missing or no number") from error


def _architecture(name: str, config: Mapping[str, Any]) -> Architecture:
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    return Architecture(
        name=name,
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        intermediate=int(config["intermediate_size"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        vocabulary=int(config["vocab_size"]),
        context=int(config.get("max_position_embeddings") or 2048),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        rope=_rope(config),
    )


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rope's parameters; transformers before 5 kept them as rope_theta and rope_scaling."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope.setdefault("rope_type", rope.get("type", "default"))
    rope.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    if rope["rope_type"] not in ("default", "linear", "llama3"):
        raise model_invalid(f"rope type {rope['rope_type']}: the CPU engine computes default, linear and llama3")
    return rope


@functools.cache
def _names(architecture: str, layers: int) -> gguf.TensorNameMap:
    return gguf.get_tensor_name_map(_ARCHES[architecture], layers)


def gguf_name(architecture: Architecture, name: str) -> str | None:
    """Return llama.cpp's name of a weight, None for one that it computes itself (inverse frequencies)."""
    if name.endswith("rotary_emb.inv_freq"):
        return None
    found = _names(architecture.name, architecture.layers).get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise model_invalid(f"weight {name} does not belong to the architecture that config.json names")
    return str(found)


def arrange(architecture: Architecture, name: str, values: np.ndarray) -> np.ndarray:
    """Return a weight's rows in llama.cpp's order.

    Hugging Face rotates the two halves of a head against each other, llama.cpp's llama rotates neighbours: rows of q
    and k are interleaved again (transformers, convert_llama_weights_to_hf.py does the inverse). Qwen2 keeps the halves.
    """
    if architecture.name != "llama":
        return values
    if ".q_proj." in name:
        return interleave(values, architecture.heads)
    if ".k_proj." in name:
        return interleave(values, architecture.kv_heads)
    return values


def interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """Return rows a0 a1 .. b0 b1 .. of each head as a0 b0 a1 b1 .."""
    rows, *rest = values.shape
    return values.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(rows, *rest)


def rope_factors(architecture: Architecture) -> np.ndarray | None:
    """Return by what each frequency is divided under llama3 scaling, None under another (Llama 3.1 model card)."""
    rope = architecture.rope
    if rope["rope_type"] != "llama3":
        return None
    width = architecture.head_dim
    wave = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, width, 2, dtype=np.float64) / width)
    factor, original = rope["factor"], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = np.clip((original / wave - low) / (high - low), 0.0, 1.0)
    factors: np.ndarray = (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return factors
