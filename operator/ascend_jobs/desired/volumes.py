"""URIs of a job as claims and paths in its containers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob


@dataclass(frozen=True)
class Location:
    """Where a URI is in a container: an absolute path, and the claim that has to be mounted for it (or None)."""

    path: str
    claim: str | None = None


def location(uri: str) -> Location:
    """Return where a file:// or pvc:// URI is; slashes are made single, a trailing one goes."""
    scheme, _, rest = uri.partition("://")
    parts = [part for part in rest.split("/") if part]
    if scheme == "file":
        return Location("/" + "/".join(parts))
    return Location("/".join((names.VOLUMES_DIR, *parts)), parts[0])


def workspace_uri(job: FineTuneJob) -> str:
    """Return the folder of this job alone, below spec.workspace or at the root of the output's claim."""
    if job.spec.workspace is not None:
        return f"{job.spec.workspace.uri.rstrip('/')}/{job.metadata.uid}"
    claim = location(job.spec.output.uri).claim
    return f"pvc://{claim}/{names.WORKSPACE_DIR}/{job.metadata.uid}"


def uris(job: FineTuneJob) -> dict[str, str]:
    """Return all URIs of a job by field path."""
    found = {"spec.model.uri": job.spec.model.uri}
    if job.spec.dataset.sources:
        found |= {f"spec.dataset.sources[{i}].uri": s.uri for i, s in enumerate(job.spec.dataset.sources)}
    else:
        found["spec.dataset.uri"] = job.spec.dataset.uri or ""
    found["spec.output.uri"] = job.spec.output.uri
    if job.spec.workspace is not None:
        found["spec.workspace.uri"] = job.spec.workspace.uri
    return found


def claims(job: FineTuneJob) -> tuple[str, ...]:
    """Return the PersistentVolumeClaims that a job names, each once, in the order of its fields."""
    found = (location(uri).claim for uri in (*uris(job).values(), workspace_uri(job)))
    return tuple(dict.fromkeys(claim for claim in found if claim is not None))


def read_only_volumes(read: Iterable[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (volumes, mounts) of the claims that URIs name, all mounted read-only."""
    claims_ = dict.fromkeys(claim for uri in read if (claim := location(uri).claim) is not None)
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    for number, claim in enumerate(claims_):
        source = {"claimName": claim, "readOnly": True}
        volumes.append({"name": f"claim-{number}", "persistentVolumeClaim": source})
        mounts.append({"name": f"claim-{number}", "mountPath": f"{names.VOLUMES_DIR}/{claim}", "readOnly": True})
    return volumes, mounts


def claim_volumes(job: FineTuneJob) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (volumes, mounts) of the job's claims; what the job only reads is mounted read-only."""
    written = {location(uri).claim for uri in (job.spec.output.uri, workspace_uri(job))}
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    for claim in claims(job):
        volumes.append({"name": f"claim-{len(volumes)}", "persistentVolumeClaim": {"claimName": claim}})
        mount: dict[str, Any] = {"name": volumes[-1]["name"], "mountPath": f"{names.VOLUMES_DIR}/{claim}"}
        mounts.append(mount if claim in written else {**mount, "readOnly": True})
    return volumes, mounts
