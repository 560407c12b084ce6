"""Whether a model that was looked at fits the NPUs, before any of them is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice import Engine
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.domain.accelerators import chip_hbm, family_of
from ascend_jobs.domain.footprint import ServingShape, gib, serving_footprint
from ascend_jobs.domain.modelfacts import FactsMissing, facts_from_inspection

_MINDIE_SHARE = 0.8
"""NPU_MEMORY_FRACTION of MindIE; vLLM takes 0.9."""
_QUANTIZED_BYTES = 1.0
"""Bytes of a weight in w8a8 and, nearly, in q8_0."""


def misfit(observed: ServiceObserved, found: dict[str, Any], engine: Engine) -> str | None:
    """Return why the largest chip that is there cannot hold its part of the model, None when it can or nobody knows.

    `found` is what the pod that looked at the model said of it.
    """
    spec = observed.service.spec
    chips = {size for node in observed.nodes if (size := _hbm(node.labels))}
    if not chips:
        return None
    try:
        facts = facts_from_inspection(found)
    except FactsMissing:
        return None
    pipeline = spec.serving.parallelism.pipeline or spec.nodes
    total = spec.nodes * spec.npus_per_node
    shape = ServingShape(
        hbm_gib=max(chips),
        tensor=spec.serving.parallelism.tensor or max(1, total // pipeline),
        pipeline=pipeline,
        max_length=spec.serving.max_length,
        max_concurrency=spec.serving.max_concurrency,
        bytes_per_parameter=_QUANTIZED_BYTES if spec.model.quantization else None,
        memory_share=_MINDIE_SHARE if engine is Engine.MINDIE else 0.9,
    )
    footprint = serving_footprint(facts, shape)
    if footprint.fits:
        return None
    parts = ", ".join(f"{term.name} {gib(term.bytes)}" for term in footprint.terms)
    needed = f"an NPU would need {gib(footprint.total)} ({parts}) and has {gib(footprint.available)} for it"
    return f"spec.npusPerNode: {needed}; {' or '.join(footprint.advice) or 'take a smaller model'}"


def _hbm(labels: Mapping[str, str]) -> int | None:
    """Return the HBM of a node's NPUs in GiB: its chip's, else its family's."""
    family = family_of(labels)
    return chip_hbm(labels.get(names.CHIP_NAME_LABEL, "")) or (family.hbm_gib if family else None)
