"""Metadata that all children share: name, labels, owner."""

from __future__ import annotations

from typing import Any

from ascend_jobs import names
from ascend_jobs.api.base import CustomObject


def child_metadata(job: CustomObject, name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """Return metadata of a child: it belongs to the job and goes with it."""
    return {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": {**job_labels(job), **(labels or {})},
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": job.kind,
                "name": job.metadata.name,
                "uid": job.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }


def job_labels(job: CustomObject) -> dict[str, str]:
    """Return the labels by which caches and selectors find the children of a job."""
    return {
        names.JOB_UID: job.metadata.uid,
        names.JOB_NAME: job.metadata.name,
        names.JOB_KIND: job.short,
        names.MANAGED_BY: names.MANAGER,
    }
