"""From spec.model to folders: a URI as it stands, or the result of a FineTuneJob once that is Complete."""

from __future__ import annotations

from dataclasses import dataclass

from ascend_jobs.api.conditions import Reason
from ascend_jobs.api.inferenceservice import CanaryModel, ServedModel
from ascend_jobs.decide.inference.observed import JobView, ServiceObserved
from ascend_jobs.desired.inference.source import AdapterSource, Source, base_model_name


@dataclass(frozen=True)
class NoSource:
    """There is nothing to serve yet: why, and whether somebody has to act."""

    reason: Reason
    message: str
    stalled: bool = False


def find_source(observed: ServiceObserved, *, canary: bool = False) -> Source | NoSource:
    """Return what spec.model (or spec.canary.model) asks for, or why it is not there."""
    spec, served = observed.service.spec, observed.service.served_name
    model: ServedModel | CanaryModel = spec.canary.model if canary and spec.canary else spec.model
    field = "spec.canary.model" if canary else "spec.model"
    extra = tuple(
        AdapterSource(a.name, a.uri, f"spec.model.adapters[{n}].uri") for n, a in enumerate(spec.model.adapters)
    )
    if model.from_job is None:
        return Source(model.uri or "", served, extra, field=f"{field}.uri")
    job = observed.jobs.get(model.from_job, JobView(model.from_job))
    missing = _unfinished(job, f"{field}.fromJob")
    if missing is not None:
        return missing
    where = f"{field}.fromJob"
    if job.artifact_type == "adapter":
        tuned = AdapterSource(served, job.artifact_uri, where)
        return Source(job.model_uri, base_model_name(served), (tuned, *extra), job.artifact_sha256, where)
    return Source(job.artifact_uri, served, extra, job.artifact_sha256, where)


def _unfinished(job: JobView, field: str) -> NoSource | None:
    if not job.found:
        return NoSource(Reason.WAITING_FOR_JOB, f"{field}: waits for FineTuneJob {job.name}, which is not there yet")
    if job.failed:
        message = f"{field}: FineTuneJob {job.name} has failed ({job.message}); mend it, or name another model"
        return NoSource(Reason.JOB_FAILED, message, stalled=True)
    if not job.complete:
        return NoSource(Reason.WAITING_FOR_JOB, f"{field}: waits for FineTuneJob {job.name}: {job.message}")
    if not job.artifact_uri:
        return NoSource(Reason.JOB_FAILED, f"{field}: FineTuneJob {job.name} has made nothing to serve", stalled=True)
    return None
