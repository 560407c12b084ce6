"""HBM that serving or training takes on one NPU: terms with their formulas, whether they fit, and what would make them.

The terms are lower bounds but for activations and runtime, which are estimates; so "does not fit" is certain, and
"fits" leaves the allocator's fragmentation out. Sources: KV cache: Kwon et al., PagedAttention (SOSP 2023), 2.2;
optimizer: Rajbhandari et al., ZeRO (SC 2020), 3.1; activations: Korthikanti et al., Reducing Activation Recomputation
(MLSys 2023), 4.1, without the attention matrix, which fused attention does not keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ascend_jobs.domain.modelfacts import ModelFacts

GIB = 1 << 30
SYSTEM_BYTES = 3379 << 20
"""HBM that an idle NPU's firmware and driver hold: npu-smi shows 3379 of 65536 MB on an idle 910B3."""
RUNTIME_BYTES = 1 * GIB
"""CANN's context and kernels, HCCL's buffers (2 x HCCL_BUFFSIZE of 200 MB a group): an estimate."""
CACHE_BYTES = 2
"""Bytes of a value in the KV cache: 16 bits, the engines' default."""
_STEP = 256
"""Lengths are proposed in multiples of this."""


@dataclass(frozen=True)
class Term:
    """A part of the memory of one NPU."""

    name: str
    bytes: int
    formula: str


@dataclass(frozen=True)
class Footprint:
    """All parts, what there is, and what would help if it is too little."""

    terms: tuple[Term, ...]
    available: int
    """Bytes of one NPU that the program may use."""
    hbm_bytes: int
    notes: tuple[str, ...] = ()
    """What is true though it fits: how many requests fit, and such."""
    advice: tuple[str, ...] = ()
    """Changes that make it fit, each enough by itself; empty when it fits."""

    @property
    def total(self) -> int:
        """Return the bytes of all terms."""
        return sum(term.bytes for term in self.terms)

    @property
    def fits(self) -> bool:
        """Say whether the terms fit into what may be used."""
        return self.total <= self.available


@dataclass(frozen=True)
class ServingShape:
    """How a model is served; NPUs of a replica are tensor x pipeline."""

    hbm_gib: int
    tensor: int = 1
    pipeline: int = 1
    max_length: int = 4096
    max_concurrency: int = 64
    bytes_per_parameter: float | None = None
    """Of the weights as they are served; as they are stored when None."""
    memory_share: float = 0.9
    """Part of the HBM that the engine takes: vLLM 0.9 (gpu-memory-utilization), MindIE 0.8 (NPU_MEMORY_FRACTION)."""
    batched_tokens: int = 8192
    """Tokens that are computed in one pass at most (max-num-batched-tokens, maxPrefillTokens)."""
    adapter_bytes: int = 0
    """LoRA adapters in memory."""


@dataclass(frozen=True)
class TrainingShape:
    """How a model is trained by the native trainer: each NPU holds the whole model (DistributedDataParallel)."""

    hbm_gib: int
    full: bool = False
    lora_rank: int = 8
    lora_targets: tuple[str, ...] = ()
    """Names of adapted layers; all linear ones when empty."""
    batch: int = 1
    """Examples that an NPU takes at once."""
    length: int = 1024
    """Tokens of the longest example."""
    compute_bytes: int = 2
    """Of a value in the computation: 2 for bf16 and fp16, 4 for fp32."""

    def learned(self, facts: ModelFacts) -> int:
        """Return the number of parameters that are learned."""
        return facts.parameters if self.full else facts.lora_parameters(self.lora_rank, self.lora_targets)


def kv_bytes_per_token(facts: ModelFacts, *, tensor: int = 1, pipeline: int = 1) -> int:
    """Return the bytes that a token takes in the KV cache of one NPU.

    Heads are shared by tensor parallelism until each NPU has one; compressed caches (MLA) are held by each NPU whole.
    """
    layers = -(-facts.layers // pipeline)
    if facts.latent_size:
        return layers * facts.latent_size * CACHE_BYTES
    heads = max(1, -(-facts.kv_heads // tensor))
    return 2 * layers * heads * facts.head_dim * CACHE_BYTES


def serving_footprint(facts: ModelFacts, shape: ServingShape) -> Footprint:
    """Return the memory of one NPU of a replica: weights, a request of max_length, activations, runtime."""
    found = _serving(facts, shape)
    per_token = kv_bytes_per_token(facts, tensor=shape.tensor, pipeline=shape.pipeline)
    if found.fits:
        room = 1 + (found.available - found.total) // (per_token * shape.max_length)
        note = f"{room} requests of maxLength {shape.max_length:,} have room at once"
        if room < shape.max_concurrency:
            note += f"; of maxConcurrency {shape.max_concurrency} the others wait unless they are shorter"
        return replace(found, notes=(note,))
    return replace(found, advice=tuple(_serving_advice(facts, shape)))


def training_footprint(facts: ModelFacts, shape: TrainingShape) -> Footprint:
    """Return the memory of one NPU of the native trainer; more NPUs make it faster, not smaller."""
    found = _training(facts, shape)
    return found if found.fits else replace(found, advice=tuple(_training_advice(facts, shape)))


def checkpoint_bytes(facts: ModelFacts, shape: TrainingShape) -> int:
    """Return the size of a checkpoint: what is learned and AdamW's two states, 4 bytes each."""
    return 12 * shape.learned(facts)


def output_bytes(facts: ModelFacts, shape: TrainingShape) -> int:
    """Return the size of the result: an adapter of 32 bits, or the model in the precision of the computation."""
    return facts.parameters * shape.compute_bytes if shape.full else 4 * shape.learned(facts)


def gib(size: float) -> str:
    """Return bytes as people read them."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / (1 << 20):.1f} MiB"


def _serving(facts: ModelFacts, shape: ServingShape) -> Footprint:
    parts, width = shape.tensor * shape.pipeline, shape.bytes_per_parameter or facts.bytes_per_parameter
    per_token = kv_bytes_per_token(facts, tensor=shape.tensor, pipeline=shape.pipeline)
    tokens = min(shape.batched_tokens, max(shape.max_length, 1))
    inner = facts.intermediate_size // shape.tensor
    terms = [
        Term(
            "weights",
            int(facts.parameters * width / parts),
            f"{facts.parameters:,} parameters x {width:g} bytes" + (f" / {parts} NPUs" if parts > 1 else ""),
        ),
        Term(
            "KV cache of one request",
            per_token * shape.max_length,
            f"{per_token:,} bytes a token ({_cache_formula(facts, shape)}) x maxLength {shape.max_length:,}",
        ),
        Term(
            "activations",
            tokens * 2 * (6 * facts.hidden_size + 2 * inner) + shape.max_concurrency * facts.vocab_size * 4,
            f"{tokens:,} tokens x 2 bytes x (6 x {facts.hidden_size:,} + 2 x {inner:,})"
            f" + {shape.max_concurrency} x vocabulary {facts.vocab_size:,} x 4 bytes (estimate)",
        ),
        Term("runtime", RUNTIME_BYTES, "CANN, kernels, HCCL buffers (estimate)"),
    ]
    if shape.adapter_bytes:
        terms.insert(1, Term("adapters", shape.adapter_bytes // shape.tensor, f"files / tensor {shape.tensor}"))
    hbm = shape.hbm_gib * GIB
    return Footprint(tuple(terms), min(int(hbm * shape.memory_share), hbm - SYSTEM_BYTES), hbm)


def _cache_formula(facts: ModelFacts, shape: ServingShape) -> str:
    layers = -(-facts.layers // shape.pipeline)
    if facts.latent_size:
        return f"{layers} layers x {facts.latent_size} x {CACHE_BYTES} bytes"
    heads = max(1, -(-facts.kv_heads // shape.tensor))
    return f"2 x {layers} layers x {heads} heads x {facts.head_dim} x {CACHE_BYTES} bytes"


def _training(facts: ModelFacts, shape: TrainingShape) -> Footprint:
    learned, width = shape.learned(facts), shape.compute_bytes
    kept = 4 if shape.full else width
    tokens = shape.batch * shape.length
    gates = 2 if facts.gated else 1
    layer = tokens * (18 * facts.hidden_size + 4 * gates * facts.intermediate_size) * width // 2
    terms = [
        Term("weights", facts.parameters * kept, f"{facts.parameters:,} parameters x {kept} bytes"),
        Term("gradients", learned * 4, f"{learned:,} learned x 4 bytes"),
        Term("optimizer", learned * 8, f"{learned:,} learned x 8 bytes (AdamW: two states of 32 bits)"),
        Term(
            "activations",
            facts.layers * layer,
            f"{facts.layers} layers x {tokens:,} tokens x (18 x {facts.hidden_size:,} + {4 * gates} x "
            f"{facts.intermediate_size:,}) bytes" + (" x 2" if width == 4 else ""),
        ),
        Term(
            "logits",
            tokens * facts.vocab_size * (width + 12),
            f"{tokens:,} tokens x vocabulary {facts.vocab_size:,} x ({width} + 4 + 4 + 4) bytes (copy of 32 bits, "
            "its log-softmax, its gradient)",
        ),
        Term("runtime", RUNTIME_BYTES, "CANN, kernels, HCCL buffers (estimate)"),
    ]
    if width < 4:
        cast = Term("weights cast", learned * width, f"{learned:,} learned x {width} bytes (autocast's copies)")
        terms.insert(1, cast)
    hbm = shape.hbm_gib * GIB
    return Footprint(tuple(terms), hbm - SYSTEM_BYTES, hbm)


def _serving_advice(facts: ModelFacts, shape: ServingShape) -> Iterator[str]:
    """Yield single changes with which it fits."""
    found = _serving(facts, shape)
    per_token = kv_bytes_per_token(facts, tensor=shape.tensor, pipeline=shape.pipeline)
    free = found.available - found.total + per_token * shape.max_length
    longest = _longest(free // per_token, lambda length: _serving(facts, replace(shape, max_length=length)).fits)
    if longest:
        yield f"spec.serving.maxLength {longest}"
    for tensor in (2, 4, 8, 16, 32, 64):
        bigger = replace(shape, tensor=tensor)
        if tensor > shape.tensor and facts.heads % tensor == 0 and _serving(facts, bigger).fits:
            total = tensor * shape.pipeline
            yield f"{total} NPUs a replica (tensor {tensor}" + _stages(shape) + ")"
            break
    stored = shape.bytes_per_parameter or facts.bytes_per_parameter
    if stored > 1 and _serving(facts, replace(shape, bytes_per_parameter=1.0)).fits:
        yield "weights quantized to 8 bits (spec.model.quantization)"


def _stages(shape: ServingShape) -> str:
    return f" x pipeline {shape.pipeline}" if shape.pipeline > 1 else ""


def _training_advice(facts: ModelFacts, shape: TrainingShape) -> Iterator[str]:
    """Yield single changes with which it fits, or the two strongest together."""

    def fits(changed: TrainingShape) -> bool:
        return _training(facts, changed).fits

    for batch in range(shape.batch - 1, 0, -1):
        if fits(replace(shape, batch=batch)):
            yield f"spec.training.hyperparameters.batchSizePerNpu {batch}"
            break
    longest = _longest(shape.length - 1, lambda length: fits(replace(shape, length=length)))
    if longest:
        yield f"spec.dataset.tokenize.maxLength {longest}"
    if shape.full and fits(replace(shape, full=False)):
        yield "spec.training.method lora"
    elif shape.full and fits(replace(shape, full=False, batch=1)):
        yield "spec.training.method lora with batchSizePerNpu 1"


def _longest(at_most: int, fits: Callable[[int], bool]) -> int:
    """Return the longest length, in steps of 256, that fits; 0 when none does. What is shorter always fits, too."""
    low, high = 0, max(0, at_most) // _STEP
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * _STEP) else (low, middle - 1)
    return low * _STEP
