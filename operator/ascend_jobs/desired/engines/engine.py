"""The engines behind one door: what a replica's pods are made of, and what in a spec an engine would refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ascend_jobs.api.inferenceservice import Engine
from ascend_jobs.desired.engines.cpu import cpu_parts
from ascend_jobs.desired.engines.custom import custom_parts, custom_problems
from ascend_jobs.desired.engines.mindie import mindie_parts
from ascend_jobs.desired.engines.mindieconfig import config_problems
from ascend_jobs.desired.engines.shape import EngineInput, EngineParts, MetricsSource, Problem, ServedAdapter
from ascend_jobs.desired.engines.vllm import vllm_parts, vllm_problems

__all__ = [
    "EngineInput",
    "EngineParts",
    "MetricsSource",
    "Problem",
    "ServedAdapter",
    "engine_parts",
    "engine_problems",
]

_PARTS: dict[Engine, Callable[[EngineInput], EngineParts]] = {
    Engine.VLLM_ASCEND: vllm_parts,
    Engine.MINDIE: mindie_parts,
    Engine.CPU: cpu_parts,
    Engine.CUSTOM: custom_parts,
}
_PROBLEMS: dict[Engine, Callable[[EngineInput], Iterator[Problem]]] = {
    Engine.VLLM_ASCEND: vllm_problems,
    Engine.MINDIE: config_problems,
    Engine.CPU: vllm_problems,
    Engine.CUSTOM: custom_problems,
}


def engine_parts(given: EngineInput) -> EngineParts:
    """Return what the engine adds to a pod; only sound when engine_problems has nothing to say."""
    return _PARTS[given.engine](given)


def engine_problems(given: EngineInput) -> tuple[Problem, ...]:
    """Return what the engine would refuse, each with its field and what to do; empty when nothing."""
    return (*_PROBLEMS[given.engine](given), *_adapter_problems(given))


def _adapter_problems(given: EngineInput) -> Iterator[Problem]:
    """Yield adapters that could not be told apart in requests."""
    taken = {given.served_name: "the model"}
    for index, adapter in enumerate(given.adapters):
        if adapter.name in taken:
            yield f"spec.model.adapters[{index}].name", f"{adapter.name} is already the name of {taken[adapter.name]}"
        taken.setdefault(adapter.name, f"adapter {index}")
