"""The pod that reads an evaluation's report, and what its log says. Pure but for the program that it runs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.evaluationjob import EvaluationJob
from ascend_jobs.cli.shortpod import KEPT, NotNow
from ascend_jobs.desired.volumes import location, read_only_volumes

Json = dict[str, Any]

CONTAINER = "report"
_MANIFEST = "manifest.json"
_LIMIT = 9 << 20
"""Characters of the text: the kubelet begins another log file at 10 MiB, and only the newest is read."""


@dataclass(frozen=True)
class Fetched:
    """Files of a report by path, and the paths of those that were too large to bring along."""

    files: Mapping[str, bytes]
    left_out: tuple[str, ...]


def report_pod(job: EvaluationJob, ran: Mapping[str, Any], image: str | None, seconds: int) -> Json:
    """Return the pod; `ran` is the spec of the pod that wrote the report, empty when that is gone.

    It carries no label by which the operator finds children, reads the claim only, and goes with the evaluation. Raises
    NotNow when no image is known.
    """
    result = job.status.result
    uri = result.report.uri if result is not None else ""
    wrote: Json = next((c for c in ran.get("containers", ()) if c["name"] == names.CONTAINER_EVALUATE), {})
    image = image or wrote.get("image") or job.spec.runtime.image
    if not image:
        raise NotNow("the pod of the run is gone and the evaluation names no image; give one with python with --image")
    volumes, mounts = read_only_volumes([uri])
    program = resources.files("ascend_jobs.cli").joinpath("packfolder.py").read_text()
    policy = {"imagePullPolicy": wrote["imagePullPolicy"]} if "imagePullPolicy" in wrote else {}
    container = {
        "name": CONTAINER,
        "image": image,
        **policy,
        "command": ["python", "-c", program],
        "args": [location(uri).path, str(_LIMIT)],
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    secrets = [{"name": secret.name} for secret in job.spec.runtime.image_pull_secrets]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(job),
        "spec": {
            **{key: ran[key] for key in KEPT if key in ran},
            "imagePullSecrets": ran.get("imagePullSecrets", secrets),
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "activeDeadlineSeconds": seconds,
            "terminationGracePeriodSeconds": 1,
            "volumes": volumes,
            "containers": [container],
        },
    }


def _metadata(job: EvaluationJob) -> Json:
    owner = {"apiVersion": names.API_VERSION, "kind": job.kind, "name": job.metadata.name, "uid": job.metadata.uid}
    return {
        "generateName": f"{job.base}-report-",
        "namespace": job.metadata.namespace,
        "labels": {names.JOB_NAME: job.metadata.name, names.MANAGED_BY: "ascendctl"},
        "ownerReferences": [owner],
    }


def unpacked(log: str, sha256: str) -> Fetched:
    """Return the files that a log holds, each checked against the manifest, and that against `sha256` unless empty.

    Raises NotNow when something is missing or was changed.
    """
    try:
        first, *text, last = log.strip().splitlines()
        told, packed = json.loads(first), base64.b64decode("".join(text), validate=True)
        if json.loads(last)["sha256"] != hashlib.sha256(packed).hexdigest():
            raise NotNow("the pod's log did not come whole")
        files = _members(packed)
        left_out = tuple(str(name) for name in told["leftOut"])
    except (ValueError, KeyError, TypeError, binascii.Error, tarfile.TarError, zlib.error, EOFError) as err:
        raise NotNow("the pod's log did not come whole, or other programs wrote into it") from err
    _check(files, left_out, sha256.removeprefix("sha256:"))
    return Fetched(files, left_out)


def _members(packed: bytes) -> dict[str, bytes]:
    """Return the plain files of an archive; names that lead out of a folder are an error."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is None or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{member.name} is no file of the folder")
            found[str(path)] = stream.read()
    return found


def _check(files: Mapping[str, bytes], left_out: tuple[str, ...], sha256: str) -> None:
    manifest = files.get(_MANIFEST)
    if manifest is None:
        raise NotNow(f"the folder has no {_MANIFEST}: the run was not written to its end, or was removed")
    if sha256 and hashlib.sha256(manifest).hexdigest() != sha256:
        raise NotNow(f"{_MANIFEST} is not the one that the run wrote: another run has taken its place")
    try:
        listed = {entry["path"]: entry["sha256"] for entry in json.loads(manifest)["files"]}
    except (ValueError, KeyError, TypeError) as err:
        raise NotNow(f"{_MANIFEST} cannot be read") from err
    for name, digest in listed.items():
        if name not in left_out and hashlib.sha256(files.get(name, b"")).hexdigest() != digest:
            raise NotNow(f"{name} of the report is missing or was changed after the run")
