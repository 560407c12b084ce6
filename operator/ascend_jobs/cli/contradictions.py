"""What the operator would refuse in an object that the API server takes: its own checks, without a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import Reason
from ascend_jobs.api.evaluationjob import EvaluationJob
from ascend_jobs.api.finetunejob import FineTuneJob, Method
from ascend_jobs.api.inferenceservice import Engine, InferenceService
from ascend_jobs.cli.references import name_of
from ascend_jobs.decide.evaluation import rules
from ascend_jobs.decide.evaluation.observed import EvaluationObserved
from ascend_jobs.decide.inference.validate import spec_problems
from ascend_jobs.decide.observed import Defaults
from ascend_jobs.decide.validate import invalid_fields
from ascend_jobs.desired.engines.engine import engine_problems
from ascend_jobs.desired.inference.pods import engine_input
from ascend_jobs.desired.inference.source import AdapterSource, Source, base_model_name

Problem = tuple[str, str]
"""Field path and sentence."""

_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
_GIVEN = "given by the installation"
_DEFAULTS = Defaults(image=_GIVEN, prepare_image=_GIVEN, serve_image=_GIVEN, proxy_image=_GIVEN)
_DEFAULT_ENGINES = (Engine.VLLM_ASCEND, Engine.MINDIE, Engine.CPU)
"""Engines that an installation may give to services that name none."""


def contradictions(value: Mapping[str, Any], made_by: FineTuneJob | None = None) -> tuple[Problem, ...]:
    """Return what is wrong with a document that fits its schema, defaults filled in.

    `made_by` is the job that a service's model.fromJob names, where the file holds it.
    """
    if value["kind"] == names.FINE_TUNE_JOB:
        return invalid_fields(parsed_job(value), default_image=_GIVEN)
    if value["kind"] == names.INFERENCE_SERVICE:
        return _service_problems(parsed_service(value), made_by)
    return tuple(_evaluation_problems(EvaluationJob.parse(_body(value))))


def parsed_job(value: Mapping[str, Any]) -> FineTuneJob:
    """Return a document as a job; raises SpecInvalid."""
    return FineTuneJob.parse(_body(value))


def parsed_service(value: Mapping[str, Any]) -> InferenceService:
    """Return a document as a service; raises SpecInvalid."""
    return InferenceService.parse(_body(value))


def source_of(service: InferenceService, made_by: FineTuneJob | None) -> Source:
    """Return what a service would serve, as far as the file tells; the result of an unknown job counts as a model."""
    served = service.served_name
    extra = tuple(
        AdapterSource(a.name, a.uri, f"spec.model.adapters[{n}].uri") for n, a in enumerate(service.spec.model.adapters)
    )
    if made_by is not None and made_by.spec.training.method is Method.LORA:
        tuned = AdapterSource(served, made_by.spec.output.uri, "spec.model.fromJob")
        return Source(made_by.spec.model.uri, base_model_name(served), (tuned, *extra), field="spec.model.fromJob")
    made = made_by.spec.output.uri if made_by is not None else "file:///unknown"
    return Source(service.spec.model.uri or made, served, extra)


def _body(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as if the server had just taken it."""
    metadata = {"namespace": "default", "uid": "none", "creationTimestamp": _MOMENT, "name": name_of(value)}
    return {**value, "metadata": metadata, "status": {}}


def _service_problems(service: InferenceService, made_by: FineTuneJob | None) -> tuple[Problem, ...]:
    """Return what is wrong whichever engine serves: the spec's, else each that an installation may give."""
    given = service.spec.serving.engine
    source = source_of(service, made_by)
    by_engine = [dict(_with_engine(service, source, e)) for e in ([given] if given else _DEFAULT_ENGINES)]
    first, *others = by_engine
    return tuple((field, text) for field, text in first.items() if all(field in found for found in others))


def _with_engine(service: InferenceService, source: Source, engine: Engine) -> Iterator[Problem]:
    """Yield what is wrong with one engine; what the spec's own check says of a field goes before the engine's words."""
    given = engine_input(service, source, engine, revision=1, track=names.TRACK_STABLE)
    yield from ((_own_field(field, source), text) for field, text in engine_problems(given))
    yield from spec_problems(service, _DEFAULTS, engine)


def _own_field(field: str, source: Source) -> str:
    """Return an adapter's own field; engines count a job's adapter too."""
    found = re.fullmatch(r"spec\.model\.adapters\[(\d+)\](.*)", field)
    if found is None:
        return field
    own = source.adapters[int(found[1])].field
    return own.removesuffix(".uri") + found[2] if own.endswith(".uri") else own


def _evaluation_problems(job: EvaluationJob) -> Iterator[Problem]:
    """Yield what the planner would stall on for good; it names one thing at a time, field first."""
    running = job.evolve(spec=job.spec.evolve(suspend=False))
    status = rules.plan(EvaluationObserved(job=running, now=_MOMENT, defaults=_DEFAULTS)).status or {}
    for condition in status.get("conditions", ()):
        if condition["type"] == "Stalled" and condition["reason"] == Reason.SPEC_INVALID:
            field, _, text = condition["message"].partition(": ")
            yield field, text
