"""The EvaluationJob that a new version has to pass: a copy of the named one, asked of the new version's pods alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.api.inferenceservice_status import RevisionStatus
from ascend_jobs.desired.inference.pods import revision_service
from ascend_jobs.desired.metadata import child_metadata

_LEFT_OUT = ("triggers", "suspend", "ttlSecondsAfterFinished", "target")


def gate_evaluation(service: InferenceService, revision: RevisionStatus, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the copy; its reports go to a folder `gates/<number>` below those of the original."""
    namespace = service.metadata.namespace
    url = f"http://{revision_service(service, revision.number)}.{namespace}.svc:{revision.port}"
    copied = {key: value for key, value in spec.items() if key not in _LEFT_OUT}
    output = copied.get("output")
    if isinstance(output, Mapping) and output.get("uri"):
        copied["output"] = {**output, "uri": f"{str(output['uri']).rstrip('/')}/gates/{revision.number}"}
    name = names.gate_name(service.metadata.name, service.metadata.uid, revision.number)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.EVALUATION_JOB,
        "metadata": child_metadata(service, name, {names.REVISION: str(revision.number)}),
        "spec": {**copied, "target": {"url": url, "model": service.served_name}},
    }
