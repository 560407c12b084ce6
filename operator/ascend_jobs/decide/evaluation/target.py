"""Whom a run asks: an InferenceService once it is Ready, or an address; and what it serves."""

from __future__ import annotations

from ascend_jobs.api.evaluationjob import Target
from ascend_jobs.decide.evaluation.observed import EvaluationObserved
from ascend_jobs.desired.evaluation import Asked


def find_asked(observed: EvaluationObserved, target: Target, path: str) -> tuple[Asked | None, str | None]:
    """Return whom to ask, or what has to be waited for."""
    if target.url is not None:
        url, model = target.url.rstrip("/"), target.model or ""
        return Asked(name=url, url=url, model=model), None
    service = observed.targets.get(target.service or "")
    if service is None or not service.found:
        return None, f"{path}.service: waits for InferenceService {target.service}, which is not there yet"
    if not service.ready:
        return None, f"{path}.service: waits for InferenceService {target.service}: {service.message}"
    return (
        Asked(
            name=service.name,
            url=service.url,
            model=target.model or service.model,
            engine=service.engine,
            revision=service.revision,
            keys_secret=service.keys_secret,
        ),
        None,
    )


def revision_of_target(observed: EvaluationObserved) -> str:
    """Return the digest of what the target serves, "" for an address."""
    service = observed.targets.get(observed.job.spec.target.service or "")
    return service.revision if service is not None else ""


def is_settled(observed: EvaluationObserved) -> bool:
    """Say whether the target answers and no other version of it is on its way in."""
    service = observed.targets.get(observed.job.spec.target.service or "")
    return service is not None and service.settled and service.ready
