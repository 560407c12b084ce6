"""Headless Service that gives rank 0 of an attempt a DNS name."""

from __future__ import annotations

from typing import Any

from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.desired.metadata import child_metadata


def master_service(job: FineTuneJob, attempt: int) -> dict[str, Any]:
    """Return the Service; it selects rank 0 alone, since endpoints of all pods would cost hundreds of writes."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(job, names.service_name(job.base)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": master_selector(job, attempt),
            "ports": [{"name": "master", "port": names.MASTER_PORT, "protocol": "TCP"}],
        },
    }


def master_selector(job: FineTuneJob, attempt: int) -> dict[str, str]:
    """Return the labels of rank 0 of an attempt."""
    return {names.JOB_UID: job.metadata.uid, names.ATTEMPT: str(attempt), names.RANK_INDEX: "0"}
