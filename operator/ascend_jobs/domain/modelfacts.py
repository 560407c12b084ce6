"""What of a language model decides how much memory it takes: from its config.json, or from an inspection's result.

Decoder models of the Llama kind (also with experts) are counted from config.json alone; of others the number of
parameters has to come from the weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

_QKV_BIAS = {"qwen2", "qwen2_moe"}
"""Model types whose query, key and value projections have a bias though their config does not say so."""
_HEAD_NORMS = {"qwen3", "qwen3_moe"}
"""Model types with a norm over each query and key head."""
_COUNTED = {"llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe"}
"""Model types whose parameters follow from config.json."""
_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "float8_e4m3fn": 1.0, "int8": 1.0}


class FactsMissing(ValueError):
    """Something that the calculation needs is not there; the message names it."""


@dataclass(frozen=True)
class ModelFacts:
    """A model's numbers; sizes are numbers of values, not bytes."""

    architecture: str
    parameters: int
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    intermediate_size: int
    """Width of the feed-forward network through which a token goes; of all its experts together."""
    bytes_per_parameter: float
    max_positions: int | None = None
    latent_size: int = 0
    """Values that a token keeps in the cache of a layer when keys and values are compressed (MLA); 0 when not."""
    gated: bool = True
    """The feed-forward network has a gate (SwiGLU): three matrices instead of two."""

    @property
    def cache_values(self) -> int:
        """Return the values that a token keeps in one layer's KV cache."""
        return self.latent_size or 2 * self.kv_heads * self.head_dim

    def projections(self) -> Mapping[str, tuple[int, int]]:
        """Return the linear layers of a decoder layer by name: (inputs, outputs). What LoRA adapts."""
        hidden, query, key = self.hidden_size, self.heads * self.head_dim, self.kv_heads * self.head_dim
        found = {
            "q_proj": (hidden, query),
            "k_proj": (hidden, key),
            "v_proj": (hidden, key),
            "o_proj": (query, hidden),
            "up_proj": (hidden, self.intermediate_size),
            "down_proj": (self.intermediate_size, hidden),
        }
        return {**found, "gate_proj": (hidden, self.intermediate_size)} if self.gated else found

    def lora_parameters(self, rank: int, targets: Collection[str] = ()) -> int:
        """Return what LoRA learns: rank x (inputs + outputs) of each adapted layer; all linear layers by default."""
        shapes = self.projections()
        chosen = [shapes[name] for name in shapes if not targets or name in targets]
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in chosen)


def facts_from_config(
    config: Mapping[str, Any], *, parameters: int | None = None, bytes_per_parameter: float | None = None
) -> ModelFacts:
    """Read a Hugging Face config.json; raise FactsMissing with the name of what is not there.

    What the weights themselves say (parameters, bytes of one) goes before what follows from the config.
    """
    text = config.get("text_config")
    given = {**config, **text} if isinstance(text, dict) else dict(config)
    hidden, heads = _count(given, "hidden_size"), _count(given, "num_attention_heads")
    facts = ModelFacts(
        architecture=_architecture(config),
        parameters=parameters or 0,
        layers=_count(given, "num_hidden_layers"),
        hidden_size=hidden,
        heads=heads,
        kv_heads=_count(given, "num_key_value_heads", heads),
        head_dim=_count(given, "head_dim", hidden // heads),
        vocab_size=_count(given, "vocab_size"),
        intermediate_size=_active_width(given),
        bytes_per_parameter=bytes_per_parameter or _stored_bytes(given),
        max_positions=_count(given, "max_position_embeddings", 0) or None,
        latent_size=_latent(given),
        gated=_is_gated(given),
    )
    if parameters is not None:
        return facts
    return _with_parameters(facts, given)


def facts_from_inspection(found: Mapping[str, Any]) -> ModelFacts:
    """Read `model` of what `python -m ascend_runtime inspect` says; raise FactsMissing."""
    return ModelFacts(
        architecture=str(found.get("architecture", "")),
        parameters=_count(found, "parameters"),
        layers=_count(found, "layers"),
        hidden_size=_count(found, "hiddenSize"),
        heads=_count(found, "heads", max(1, _count(found, "hiddenSize") // _count(found, "headDim"))),
        kv_heads=_count(found, "kvHeads"),
        head_dim=_count(found, "headDim"),
        vocab_size=_count(found, "vocabSize"),
        intermediate_size=_count(found, "intermediateSize"),
        bytes_per_parameter=_positive(found, "bytesPerParameter"),
        max_positions=_count(found, "maxPositions", 0) or None,
        latent_size=_count(found, "latentSize", 0),
        gated=found.get("gated") is not False,
    )


def _with_parameters(facts: ModelFacts, given: Mapping[str, Any]) -> ModelFacts:
    kind = str(given.get("model_type", ""))
    if kind not in _COUNTED:
        raise FactsMissing(f"parameters: they do not follow from the config of model_type {kind or '(none)'}")
    return ModelFacts(**{**facts.__dict__, "parameters": _counted(facts, given, kind)})


def _counted(facts: ModelFacts, given: Mapping[str, Any], kind: str) -> int:
    """Return embeddings + layers x (attention + feed-forward + norms) + last norm."""
    hidden = facts.hidden_size
    query, key = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    attention = hidden * (2 * query + 2 * key)
    if kind in _QKV_BIAS or given.get("attention_bias") is True:
        attention += query + 2 * key
    if kind in _HEAD_NORMS:
        attention += 2 * facts.head_dim
    experts, width = _experts(given), _expert_width(given)
    feed = 3 * hidden * width * max(1, experts) + hidden * experts
    tables = 1 if given.get("tie_word_embeddings") is True else 2
    return tables * facts.vocab_size * hidden + facts.layers * (attention + feed + 2 * hidden) + hidden


def _experts(given: Mapping[str, Any]) -> int:
    return _count(given, "num_local_experts", _count(given, "num_experts", _count(given, "n_routed_experts", 0)))


def _expert_width(given: Mapping[str, Any]) -> int:
    """Return the width of one expert, or of the only feed-forward network."""
    if _experts(given):
        return _count(given, "moe_intermediate_size", _count(given, "intermediate_size", 1))
    return _count(given, "intermediate_size", _count(given, "n_inner", 4 * _count(given, "hidden_size")))


def _active_width(given: Mapping[str, Any]) -> int:
    """Return the width through which one token goes."""
    if not _experts(given):
        return _expert_width(given)
    shared = _count(given, "n_shared_experts", 0)
    return _expert_width(given) * (_count(given, "num_experts_per_tok", 1) + shared)


def _latent(given: Mapping[str, Any]) -> int:
    rank = _count(given, "kv_lora_rank", 0)
    return rank + _count(given, "qk_rope_head_dim", 0) if rank else 0


def _is_gated(given: Mapping[str, Any]) -> bool:
    """Say whether the feed-forward network has a gate: all present families but those that name GELU or ReLU alone."""
    return str(given.get("hidden_act", given.get("activation_function", "silu"))).startswith(("silu", "swi"))


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else str(config.get("model_type", ""))


def _stored_bytes(given: Mapping[str, Any]) -> float:
    name = given.get("dtype") or given.get("torch_dtype") or "bfloat16"
    return _BYTES.get(str(name).removeprefix("torch."), 2.0)


def _count(given: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a whole number of at least 0; a given default also stands for null."""
    found = given.get(name)
    if found is None and default is not None:
        return default
    if isinstance(found, bool) or not isinstance(found, int) or found < 0 or (found == 0 and default is None):
        raise FactsMissing(f"{name} is {found!r}, not a number")
    return found


def _positive(given: Mapping[str, Any], name: str) -> float:
    found = given.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
        raise FactsMissing(f"{name} is {found!r}, not a number")
    return float(found)
