"""What a training pod requests beside NPUs when the spec does not say: its NPUs' fair share of a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ascend_jobs.api.fields import Resources
from ascend_jobs.api.finetunejob import FineTuneJob

_SHARE = 0.8
"""Part of the share that is requested; the rest is left to the node's own pods."""


@dataclass(frozen=True)
class Offer:
    """What one node offers: NPUs, CPU in cores, memory in bytes."""

    npus: int
    cpu: float
    memory: int


def fair_share(offers: Sequence[Offer], npus: int) -> dict[str, str]:
    """Return requests for cpu and memory: 80 % of npus / NPUs of the smallest node's; empty when no node is known."""
    usable = [offer for offer in offers if offer.npus > 0]
    if not usable:
        return {}
    cpu = min(offer.cpu / offer.npus for offer in usable) * npus * _SHARE
    memory = min(offer.memory / offer.npus for offer in usable) * npus * _SHARE
    return {"cpu": f"{int(cpu * 1000)}m", "memory": f"{int(memory) >> 20}Mi"}


def trainer_resources(job: FineTuneJob, resource: str, share: dict[str, str]) -> dict[str, Any]:
    """Return requests and limits of the trainer."""
    return pod_resources(job.spec.runtime.resources, job.spec.npus_per_node, resource, share)


def pod_resources(given: Resources, count: int, resource: str, share: dict[str, str]) -> dict[str, Any]:
    """Return requests and limits of a container with `count` NPUs; memory is a limit only when the user gave it."""
    npus = {resource: str(count)}
    requests = {**share, **npus}
    limits = dict(npus)
    if given.cpu is not None:
        requests["cpu"] = given.cpu
    if given.memory is not None:
        requests["memory"] = limits["memory"] = given.memory
    return {"requests": requests, "limits": limits}
