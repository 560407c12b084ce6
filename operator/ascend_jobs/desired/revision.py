"""ControllerRevision that records what an attempt is made of, as StatefulSets and DaemonSets record theirs."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.desired.metadata import child_metadata


def attempt_revision(job: FineTuneJob, attempt: int, template: dict[str, Any]) -> dict[str, Any]:
    """Return the record; all pods of the attempt come from it, also after an upgrade of the operator."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": child_metadata(job, names.revision_name(job.base, attempt), {names.ATTEMPT: str(attempt)}),
        "data": template,
        "revision": attempt + 1,
    }


def template_digest(template: dict[str, Any]) -> str:
    """Return the SHA-256 of a template, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(template, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
