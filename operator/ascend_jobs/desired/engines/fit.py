"""Does a model fit the way in which it is to be served or trained? Specs turned into shapes for domain/footprint.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ascend_jobs.api.finetunejob import Dtype, FineTuneJob, Method
from ascend_jobs.api.inferenceservice import Engine
from ascend_jobs.desired.engines.mindieconfig import mindie_parallelism
from ascend_jobs.desired.engines.shape import EngineInput, Problem
from ascend_jobs.desired.engines.vllm import parallelism
from ascend_jobs.domain.footprint import Footprint, ServingShape, TrainingShape, gib, serving_footprint
from ascend_jobs.domain.modelfacts import ModelFacts

_LONGER = ("hf-overrides", "rope-scaling")
"""Options of vLLM by which a model takes more positions than its config says."""


def serving_shape(given: EngineInput, hbm_gib: int, adapter_bytes: int = 0) -> ServingShape | None:
    """Return how a replica uses its NPUs; None for engines of which that is not known (cpu, custom)."""
    if given.engine in (Engine.CPU, Engine.CUSTOM):
        return None
    arguments, mindie = given.serving.engine_args, given.engine is Engine.MINDIE
    tensor, pipeline = mindie_parallelism(given) if mindie else parallelism(given)
    share = 0.8 if mindie else _number(arguments, "gpu-memory-utilization", 0.9)
    return ServingShape(
        hbm_gib=hbm_gib,
        tensor=tensor,
        pipeline=pipeline,
        max_length=given.serving.max_length,
        max_concurrency=given.serving.max_concurrency,
        memory_share=min(1.0, share),
        batched_tokens=int(_number(arguments, "maxPrefillTokens" if mindie else "max-num-batched-tokens", 8192)),
        adapter_bytes=adapter_bytes,
    )


def training_shape(job: FineTuneJob, hbm_gib: int) -> TrainingShape:
    """Return how the native trainer uses each NPU."""
    training, parameters = job.spec.training, job.spec.training.hyperparameters
    return TrainingShape(
        hbm_gib=hbm_gib,
        full=training.method is Method.FULL,
        lora_rank=training.lora.rank,
        lora_targets=training.lora.target_modules,
        batch=parameters.batch_size_per_npu,
        length=job.spec.dataset.tokenize.max_length,
        compute_bytes=4 if parameters.dtype is Dtype.FP32 else 2,
    )


def fit_problems(given: EngineInput, facts: ModelFacts, hbm_gib: int, adapter_bytes: int = 0) -> tuple[Problem, ...]:
    """Return why a model cannot be served like this, each with its field and what would help; empty when it can."""
    shape = serving_shape(given, hbm_gib, adapter_bytes)
    found = list(_shape_problems(given, facts))
    if shape is not None:
        footprint = serving_footprint(facts, shape)
        if not footprint.fits:
            found.append(("spec.npusPerNode", too_large(footprint)))
    return tuple(found)


def too_large(footprint: Footprint) -> str:
    """Return the sentence that says by how much something does not fit, and what would help."""
    largest = max(footprint.terms, key=lambda term: term.bytes)
    help_ = f"fits with {', or '.join(footprint.advice)}" if footprint.advice else "no single change would be enough"
    return (
        f"needs {gib(footprint.total)} of each NPU, of which {gib(footprint.available)} may be used; the largest part: "
        f"{largest.name}, {gib(largest.bytes)}; {help_}"
    )


def _shape_problems(given: EngineInput, facts: ModelFacts) -> Iterator[Problem]:
    """Yield what vLLM and what speaks like it checks of the model when they start."""
    if given.engine in (Engine.MINDIE, Engine.CUSTOM):
        return
    longest, arguments = facts.max_positions, given.serving.engine_args
    if longest is not None and given.serving.max_length > longest and not any(name in arguments for name in _LONGER):
        yield (
            "spec.serving.maxLength",
            f"is {given.serving.max_length}; the model has {longest} positions: at most those",
        )
    tensor, _ = parallelism(given)
    if given.engine is Engine.VLLM_ASCEND and facts.heads % tensor:
        fitting = ", ".join(str(n) for n in (1, 2, 4, 8, 16) if facts.heads % n == 0)
        yield (
            "spec.serving.parallelism.tensor",
            f"is {tensor}; the model's {facts.heads} attention heads have to be a multiple of it: {fitting}",
        )


def _number(arguments: Mapping[str, Any], name: str, default: float) -> float:
    found = arguments.get(name, default)
    try:
        return float(found)
    except (TypeError, ValueError):
        return default
