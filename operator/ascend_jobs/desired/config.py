"""The configuration document of the phases (docs/contract.md, ASCENDJOBS_CONFIG) and the digest of a spec."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.desired.volumes import location, workspace_uri


def phase_config(job: FineTuneJob) -> str:
    """Return the document that prepare and train read, as compact JSON."""
    spec, meta = job.spec, job.metadata
    document = {
        "job": {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid},
        "specDigest": spec_digest(job),
        "model": _placed(spec.model.uri),
        "dataset": _dataset(job),
        "training": _training(job),
        "checkpoint": spec.checkpoint.wire(),
        "workspace": _placed(workspace_uri(job)),
        "output": {**_placed(spec.output.uri), "ifExists": spec.output.if_exists.value},
    }
    return json.dumps(document, separators=(",", ":"))


def spec_digest(job: FineTuneJob) -> str:
    """Return "sha256:…" over what decides the result: model, dataset, training, nodes and npusPerNode."""
    spec = job.spec
    decisive = {
        "model": spec.model.wire(),
        "dataset": _dataset(job),
        "training": _training(job),
        "nodes": spec.nodes,
        "npusPerNode": spec.npus_per_node,
    }
    return "sha256:" + hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _placed(uri: str) -> dict[str, str]:
    return {"uri": uri, "path": location(uri).path}


def _dataset(job: FineTuneJob) -> dict[str, Any]:
    dataset = job.spec.dataset
    return {
        "sources": [{**_placed(s.uri), "format": s.format.value} for s in dataset.all_sources()],
        "tokenize": dataset.tokenize.wire(),
        "validation": dataset.validation.wire(),
    }


def _training(job: FineTuneJob) -> dict[str, Any]:
    training = job.spec.training
    hyperparameters = training.hyperparameters
    return {
        "backend": training.backend.value,
        "method": training.method.value,
        "lora": {**training.lora.wire(), "targetModules": list(training.lora.target_modules) or "all-linear"},
        "hyperparameters": {
            **hyperparameters.wire(),
            "maxSteps": hyperparameters.max_steps,
            "globalBatchSize": hyperparameters.global_batch_size,
        },
    }
