"""Engine inputs for tests: a valid default, and keywords for what a case is about."""

from __future__ import annotations

from typing import Any

from ascend_jobs.api.inferenceservice import Engine, QuantizationMethod, Serving
from ascend_jobs.desired.engines.engine import EngineInput, ServedAdapter


def make_input(**given: Any) -> EngineInput:
    """An input; `serving` as users write it, `adapters` as objects with name, path and rank."""
    quantization = given.get("quantization")
    return EngineInput(
        engine=Engine(given.get("engine", "vllm-ascend")),
        version=given.get("version"),
        model_path=given.get("model_path", "/volumes/models/m"),
        served_name=given.get("served_name", "faq"),
        adapters=tuple(ServedAdapter(**adapter) for adapter in given.get("adapters", [])),
        serving=Serving.model_validate(given.get("serving", {})),
        nodes=given.get("nodes", 1),
        npus=given.get("npus", 1),
        quantization=QuantizationMethod(quantization) if quantization else None,
        head=given.get("head", "faq-aisvc-1-0-0.faq-aisvc.team-a.svc"),
        files_name=given.get("files_name", "faq-aisvc-1"),
    )
