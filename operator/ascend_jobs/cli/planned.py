"""What a job or a service would take of a cluster: pods, NPUs, memory of each NPU, disk; from its file alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.api.inferenceservice import Engine, InferenceService
from ascend_jobs.desired.engines.engine import EngineInput, ServedAdapter, engine_problems
from ascend_jobs.desired.engines.fit import fit_problems, serving_shape, too_large, training_shape
from ascend_jobs.desired.volumes import location
from ascend_jobs.domain.footprint import (
    Footprint,
    checkpoint_bytes,
    gib,
    output_bytes,
    serving_footprint,
    training_footprint,
)
from ascend_jobs.domain.modelfacts import ModelFacts

Problem = tuple[str, str]


@dataclass(frozen=True)
class Source:
    """Facts of a model and where they are from; `facts` is None when they are missing, `told` then says what to do."""

    facts: ModelFacts | None
    told: str


@dataclass(frozen=True)
class Plan:
    """What one document would take."""

    kind: str
    name: str
    pods: str
    """In words: how many, with how many NPUs each."""
    npus: int
    """NPUs at once at most."""
    model: str
    """Which facts the memory was calculated from, or what is missing."""
    memory: Footprint | None
    """Of one NPU; None when facts are missing, or nothing is known of the engine."""
    disk: tuple[tuple[str, str], ...]
    """What is written and how much, each with its formula."""
    problems: tuple[Problem, ...]
    """Why it cannot run, each with its field."""


def planned_job(value: Mapping[str, Any], source: Source, hbm_gib: int) -> Plan:
    """Return the plan of a FineTuneJob; raise SpecInvalid when its spec cannot be read."""
    job = FineTuneJob.parse(_body(value))
    shape = training_shape(job, hbm_gib)
    memory = training_footprint(source.facts, shape) if source.facts else None
    problems: tuple[Problem, ...] = ()
    if memory is not None and not memory.fits:
        more = "; more NPUs do not make it smaller, each holds the whole model"
        problems = (("spec.training", too_large(memory) + more),)
    nodes, npus = job.spec.nodes, job.spec.npus_per_node
    return Plan(
        kind=names.FINE_TUNE_JOB,
        name=job.metadata.name,
        pods=f"1 to prepare without NPUs, then {_count(nodes, npus)}",
        npus=nodes * npus,
        model=source.told,
        memory=memory,
        disk=_job_disk(job, source.facts),
        problems=problems,
    )


def planned_service(
    value: Mapping[str, Any], source: Source, hbm_gib: int, *, model_uri: str | None, tuned: bool = False
) -> Plan:
    """Return the plan of an InferenceService; raise SpecInvalid when its spec cannot be read.

    `model_uri` is where its model is (that of the job's base model or result for fromJob), None when that is unknown;
    `tuned` says that it is served with the adapter which its job made.
    """
    service = InferenceService.parse(_body(value))
    given = _engine_input(service, model_uri or "", tuned)
    shape = serving_shape(given, hbm_gib)
    memory = serving_footprint(source.facts, shape) if source.facts and shape else None
    problems = engine_problems(given)
    if source.facts and not problems:
        problems = fit_problems(given, source.facts, hbm_gib)
    pods, npus = _service_pods(service)
    told = source.told if shape else f"engine {given.engine.value}: memory of NPUs is not calculated"
    return Plan(
        kind=names.INFERENCE_SERVICE,
        name=service.metadata.name,
        pods=pods,
        npus=npus,
        model=told,
        memory=memory,
        disk=_service_disk(given, source.facts),
        problems=problems,
    )


def plan_document(plan: Plan, hbm_gib: int) -> dict[str, Any]:
    """Return a plan as JSON."""
    memory: dict[str, Any] | None = None
    if plan.memory is not None:
        memory = {
            "terms": [{"name": t.name, "bytes": t.bytes, "formula": t.formula} for t in plan.memory.terms],
            "totalBytes": plan.memory.total,
            "availableBytes": plan.memory.available,
            "fits": plan.memory.fits,
            "notes": list(plan.memory.notes),
            "advice": list(plan.memory.advice),
        }
    return {
        "kind": plan.kind,
        "name": plan.name,
        "pods": plan.pods,
        "npus": plan.npus,
        "model": plan.model,
        "hbmGiB": hbm_gib,
        "memoryPerNpu": memory,
        "disk": [{"name": name, "size": size} for name, size in plan.disk],
        "problems": [{"field": field, "message": message} for field, message in plan.problems],
    }


def plan_lines(plan: Plan, chip: str, hbm_gib: int, clean: Callable[[str], str]) -> list[str]:
    """Return a plan as lines for people."""
    lines = [
        f"{plan.kind}/{clean(plan.name)}",
        f"  pods    {plan.pods}; {_npus(plan.npus)} at once",
        f"  model   {clean(plan.model)}",
    ]
    if plan.memory is not None:
        lines += _memory_lines(plan.memory, chip, hbm_gib)
    for title, size in plan.disk:
        lines.append(f"  disk    {title}: {size}")
    lines += [f"  cannot  {clean(field)}: {clean(message)}" for field, message in plan.problems]
    return lines


def _memory_lines(memory: Footprint, chip: str, hbm_gib: int) -> list[str]:
    lines = [f"  memory of each NPU ({chip}, {hbm_gib} GiB)"]
    width = max(len(term.name) for term in memory.terms)
    for term in memory.terms:
        lines.append(f"    {term.name:<{width}}  {gib(term.bytes):>11}  = {term.formula}")
    verdict = "fits" if memory.fits else "does not fit"
    lines.append(f"    {'total':<{width}}  {gib(memory.total):>11}  of {gib(memory.available)}: {verdict}")
    return lines + [f"    {note}" for note in memory.notes]


def _body(value: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": "default", "uid": "none", "creationTimestamp": "2000-01-01T00:00:00Z"}
    given = value.get("metadata")
    name = str((given or {}).get("name") or (given or {}).get("generateName") or "")
    return {**value, "metadata": {**metadata, "name": name}, "status": {}}


def _engine_input(service: InferenceService, model_uri: str, tuned: bool) -> EngineInput:
    spec = service.spec
    served = [ServedAdapter(a.name, location(a.uri).path) for a in spec.model.adapters]
    served += [ServedAdapter(f"{service.served_name}-adapter", "/adapter")] if tuned else []
    quantization = spec.model.quantization
    return EngineInput(
        engine=spec.serving.engine or Engine.VLLM_ASCEND,
        version=spec.serving.engine_version,
        model_path=location(model_uri).path if model_uri else "/model",
        served_name=service.served_name,
        adapters=tuple(served),
        serving=spec.serving,
        nodes=spec.nodes,
        npus=spec.npus_per_node,
        quantization=quantization.method if quantization else None,
        head=service.base,
        files_name=service.base,
    )


def _service_pods(service: InferenceService) -> tuple[str, int]:
    """Return the pods of a service in words, and its NPUs when it is scaled up."""
    spec, scaling = service.spec, service.spec.scaling
    most = max(scaling.min_replicas, scaling.max_replicas or 0, *(s.min_replicas for s in scaling.schedules), 0)
    replicas = most if scaling.replicas is None else scaling.replicas
    canary, each = spec.canary.replicas if spec.canary else 0, spec.nodes * spec.npus_per_node
    words = f"{_replicas(replicas)} of {_count(spec.nodes, spec.npus_per_node)}"
    words += f", canary {_replicas(canary)}" if canary else ""
    if spec.rollout.max_surge and replicas:
        words += f"; a new revision may take {_npus(each * spec.rollout.max_surge)} more for a time"
    return words, (replicas + canary) * each


def _job_disk(job: FineTuneJob, facts: ModelFacts | None) -> tuple[tuple[str, str], ...]:
    keep, full = job.spec.checkpoint.keep, job.spec.training.method.value == "full"
    tokens = ("tokenised data (workspace)", "8 bytes x tokens of the data set")
    if facts is None:
        return (tokens,)
    shape = training_shape(job, hbm_gib=0)
    learned, one = shape.learned(facts), checkpoint_bytes(facts, shape)
    width = shape.compute_bytes if full else 4
    return (
        ("output", f"{gib(output_bytes(facts, shape))} = {learned:,} learned x {width} bytes"),
        (
            "checkpoints (workspace)",
            f"{gib(one * (keep + 1))} = (keep {keep} + 1 being written) x {learned:,} learned x 12 bytes",
        ),
        tokens,
    )


def _service_disk(given: EngineInput, facts: ModelFacts | None) -> tuple[tuple[str, str], ...]:
    if given.engine is not Engine.CPU or facts is None:
        return ()
    width = 1.0625 if given.quantization is not None else 2
    size = gib(facts.parameters * width)
    return (("converted model (in the pod)", f"{size} = {facts.parameters:,} parameters x {width:g} bytes"),)


def _count(nodes: int, npus: int) -> str:
    return f"{nodes} pod{'s' * (nodes != 1)} with {_npus(npus)}" + (" each" if nodes > 1 else "")


def _npus(count: int) -> str:
    return f"{count} NPU{'s' * (count != 1)}"


def _replicas(count: int) -> str:
    return f"{count} replica{'s' * (count != 1)}"
