"""The pod of an evaluation's run, and the configuration it gets (docs/contract.md, Evaluation)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.evaluationjob import EvaluationJob, Suite, SuiteType
from ascend_jobs.api.evaluationjob_status import Result
from ascend_jobs.desired.merge import merged
from ascend_jobs.desired.metadata import child_metadata, job_labels
from ascend_jobs.desired.pods import PodSettings, pull_policy
from ascend_jobs.desired.volumes import location, read_only_volumes

_REPORT_DIR = "/ascendjobs/report"
"""Where the report goes when spec.output is absent: an emptyDir, gone with the pod."""
_RESULTS_DIR = "/results"
_KEYS_DIRS = {"target": "/ascendjobs/api-keys", "baseline": "/ascendjobs/baseline-api-keys"}
"""Where the Secrets with API keys are mounted."""
_GRACE_SECONDS = 30
_HWHIAIUSER = 1000

_Manifests = list[dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """Whom a run asks: address, model name, engine, digest of what is served, Secret with API keys."""

    name: str
    url: str
    model: str
    engine: str = ""
    revision: str = ""
    keys_secret: str | None = None


def evaluated_digest(job: EvaluationJob) -> str:
    """Return the SHA-256 of what of the spec decides a run's result."""
    spec = job.spec
    made_of = {
        "target": spec.target.wire(),
        "baseline": spec.baseline.wire() if spec.baseline else None,
        "suites": [suite.wire() for suite in spec.suites],
        "performance": spec.performance.wire() if spec.performance else None,
        "acceptance": [criterion.wire() for criterion in spec.acceptance],
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_uris(job: EvaluationJob) -> tuple[str, ...]:
    """Return the URIs that a run reads."""
    suites = (suite.uri for suite in job.spec.suites if suite.uri)
    return (*suites, *((job.spec.performance.uri,) if job.spec.performance else ()))


def evaluate_config(job: EvaluationJob, target: Asked, baseline: Asked | None, last: Result | None) -> str:
    """Return ASCENDJOBS_CONFIG of a run."""
    spec, meta = job.spec, job.metadata
    output = spec.output
    uri = output.uri if output else f"file://{_REPORT_DIR}"
    document: dict[str, Any] = {
        "job": {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid},
        "run": job.status.run.number,
        "specDigest": f"sha256:{evaluated_digest(job)}",
        "target": _asked(target),
        "baseline": _asked(baseline) if baseline else None,
        "suites": [_suite(suite) for suite in spec.suites],
        "performance": _performance(job),
        "acceptance": [
            {"metric": c.metric, "min": c.min, "max": c.max, "maxDrop": c.max_drop} for c in spec.acceptance
        ],
        "previous": {"run": last.run, "metrics": {m.name: m.value for m in last.metrics}} if last else None,
        "apiKeyFile": _KEYS_DIRS["target"] if target.keys_secret else None,
        "baselineApiKeyFile": _KEYS_DIRS["baseline"] if baseline and baseline.keys_secret else None,
        "output": {
            "uri": uri,
            "path": location(uri).path,
            "historyLimit": output.history_limit if output else 1,
        },
    }
    return json.dumps(document, separators=(",", ":"))


def evaluate_pod(
    job: EvaluationJob, target: Asked, baseline: Asked | None, last: Result | None, settings: PodSettings
) -> dict[str, Any]:
    """Return the pod of the present try of a run; commands of the user run before as init containers."""
    run = job.status.run
    volumes, mounts = _volumes(job, target, baseline)
    image = job.spec.runtime.image or settings.prepare_image or settings.image
    labels = {
        **job_labels(job),
        names.ROLE: names.ROLE_EVALUATE,
        names.REVISION: str(run.number),
        names.ATTEMPT: str(run.try_number),
    }
    common = {**pull_policy(settings), "terminationMessagePolicy": "FallbackToLogsOnError"}
    given = job.spec.runtime.resources
    requests = {k: v for k, v in (("cpu", given.cpu), ("memory", given.memory)) if v}
    evaluate = {
        "name": names.CONTAINER_EVALUATE,
        "image": image,
        **common,
        "command": ["python", "-m", "ascend_runtime", "evaluate"],
        "env": [
            {"name": names.ENV_CONFIG, "value": evaluate_config(job, target, baseline, last)},
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": "OMP_NUM_THREADS", "value": "1"},
            {"name": "MPLCONFIGDIR", "value": "/tmp"},
        ],
        "resources": {"requests": requests, **({"limits": {"memory": given.memory}} if given.memory else {})},
        "volumeMounts": mounts,
    }
    secrets = (*settings.pull_secrets, *(secret.name for secret in job.spec.runtime.image_pull_secrets))
    template = {
        "metadata": {"labels": labels, "annotations": {}},
        "spec": {
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "securityContext": {"supplementalGroups": [_HWHIAIUSER]},
            "imagePullSecrets": [{"name": name} for name in dict.fromkeys(secrets)],
            "volumes": volumes,
            "initContainers": [
                _command(suite, target, common) for suite in job.spec.suites if suite.kind is SuiteType.COMMAND
            ],
            "containers": [evaluate],
        },
    }
    made = merged(template, job.spec.runtime.pod_template)
    name = names.evaluate_name(job.base, run.number, run.try_number)
    metadata = child_metadata(job, name, {**(made["metadata"].get("labels") or {}), **labels})
    metadata["annotations"] = made["metadata"].get("annotations") or {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**made["spec"], "restartPolicy": "Never"}}


def _volumes(
    job: EvaluationJob, target: Asked, baseline: Asked | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    output = location(job.spec.output.uri).claim if job.spec.output else None
    read = tuple(uri for uri in read_uris(job) if location(uri).claim != output)
    volumes, mounts = read_only_volumes(read)
    if output is not None:
        volumes.append({"name": "output", "persistentVolumeClaim": {"claimName": output}})
        mounts.append({"name": "output", "mountPath": f"{names.VOLUMES_DIR}/{output}"})
    else:
        volumes.append({"name": "report", "emptyDir": {}})
        mounts.append({"name": "report", "mountPath": _REPORT_DIR})
    for suite in job.spec.suites:
        if suite.kind is SuiteType.COMMAND:
            volumes.append({"name": f"results-{suite.name}", "emptyDir": {}})
            mounts.append({"name": f"results-{suite.name}", "mountPath": f"{_RESULTS_DIR}/{suite.name}"})
    for side, asked in (("target", target), ("baseline", baseline)):
        if asked is not None and asked.keys_secret:
            volumes.append({"name": f"keys-{side}", "secret": {"secretName": asked.keys_secret}})
            mounts.append({"name": f"keys-{side}", "mountPath": _KEYS_DIRS[side], "readOnly": True})
    if job.spec.runtime.resources.shared_memory:
        size = job.spec.runtime.resources.shared_memory
        volumes.append({"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
        mounts.append({"name": "dshm", "mountPath": "/dev/shm"})
    return volumes, mounts


def _command(suite: Suite, target: Asked, common: dict[str, str]) -> dict[str, Any]:
    """Return the user's own program; it leaves its numbers in the folder that the evaluation reads."""
    return {
        "name": f"suite-{suite.name}",
        "image": suite.image or "",
        **common,
        "command": list(suite.command),
        "env": [{"name": "TARGET_URL", "value": target.url}, {"name": "TARGET_MODEL", "value": target.model}],
        "volumeMounts": [{"name": f"results-{suite.name}", "mountPath": _RESULTS_DIR}],
    }


def _asked(asked: Asked) -> dict[str, str]:
    return {
        "name": asked.name,
        "url": asked.url,
        "model": asked.model,
        "engine": asked.engine,
        "revision": asked.revision,
    }


def _suite(suite: Suite) -> dict[str, Any]:
    if suite.kind is SuiteType.COMMAND:
        file = suite.results.rsplit("/", 1)[-1]
        return {"name": suite.name, "type": "command", "results": f"{_RESULTS_DIR}/{suite.name}/{file}"}
    uri = suite.uri or ""
    return {
        "name": suite.name,
        "type": suite.kind.value,
        "uri": uri,
        "path": location(uri).path,
        "scoring": suite.scoring.value if suite.scoring else None,
        "maxTokens": suite.max_tokens,
        "shots": suite.shots,
        "limit": suite.limit,
        "concurrency": suite.concurrency,
    }


def _performance(job: EvaluationJob) -> dict[str, Any] | None:
    given = job.spec.performance
    if given is None:
        return None
    return {
        "uri": given.uri,
        "path": location(given.uri).path,
        "concurrency": list(given.concurrency),
        "requestsPerSecond": list(given.requests_per_second),
        "warmupRequests": given.warmup_requests,
        "requests": given.requests,
        "maxTokens": given.max_tokens,
    }
