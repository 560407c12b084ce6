"""The pod that answers prompts with a job's models. Pure: made from the job and the template its pods came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob, Method
from ascend_jobs.cli.shortpod import KEPT
from ascend_jobs.desired.volumes import claim_volumes, location

Json = dict[str, Any]

BASE, TUNED = "base", "tuned"
"""Containers, and keys of the answers: with an adapter one container gives both, whole models have one each."""


@dataclass(frozen=True)
class Question:
    """What is asked: prompts, tokens of an answer at most, image (that of the job when None), seconds in all."""

    prompts: tuple[str, ...]
    max_new_tokens: int
    image: str | None
    seconds: int


def ask_pod(job: FineTuneJob, template: Mapping[str, Any], question: Question) -> Json:
    """Return the pod; `template` is what the job's pods were made from, or an empty mapping when that is gone.

    It carries no label by which the operator finds children, takes no NPU, mounts every volume read-only and goes with
    the job. Raises KeyError with a sentence when no image is known.
    """
    spec = template.get("spec", {})
    trainer: Json = next((c for c in spec.get("containers", ()) if c["name"] == names.CONTAINER_TRAINER), {})
    image = question.image or trainer.get("image") or job.spec.runtime.image
    if not image:
        raise KeyError("the job names no image and its pods' template is gone; give one with --image")
    first, *others = _containers(job, {**trainer, "image": image}, question)
    volumes, _ = claim_volumes(job)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(job),
        "spec": {
            **{key: spec[key] for key in KEPT if key in spec},
            "imagePullSecrets": spec.get("imagePullSecrets", _own_secrets(job)),
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "activeDeadlineSeconds": question.seconds,
            "terminationGracePeriodSeconds": 1,
            "volumes": volumes,
            "initContainers": [first] if others else [],
            "containers": others or [first],
        },
    }


def _metadata(job: FineTuneJob) -> Json:
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": names.FINE_TUNE_JOB,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
    }
    return {
        "generateName": f"{job.base}-ask-",
        "namespace": job.metadata.namespace,
        "labels": {names.JOB_NAME: job.metadata.name, names.MANAGED_BY: "ascendctl"},
        "ownerReferences": [owner],
    }


def _containers(job: FineTuneJob, trainer: Mapping[str, Any], question: Question) -> list[Json]:
    model, output = location(job.spec.model.uri).path, location(job.spec.output.uri).path
    if job.spec.training.method is Method.LORA:
        return [_container(job, TUNED, trainer, [*_generate(model, question), "--adapter", output], question)]
    base = _container(job, BASE, trainer, _generate(model, question), question)
    return [base, _container(job, TUNED, trainer, _generate(output, question), question)]


def _generate(model: str, question: Question) -> list[str]:
    tokens = str(question.max_new_tokens)
    return ["python", "-m", "ascend_runtime", "generate", "--json", "--model", model, "--max-new-tokens", tokens]


def _container(
    job: FineTuneJob, name: str, trainer: Mapping[str, Any], command: Sequence[str], question: Question
) -> Json:
    """Return a container; the trainer's command sets up the vendor's environment around its arguments."""
    _, mounts = claim_volumes(job)
    policy = {"imagePullPolicy": trainer["imagePullPolicy"]} if "imagePullPolicy" in trainer else {}
    return {
        "name": name,
        "image": trainer["image"],
        **policy,
        "command": trainer.get("command", ["/usr/bin/env"]),
        "args": [*command, "--", *question.prompts],
        "env": [
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            # torch_npu fails to load in a pod without a device (torch >= 2.5 loads it by itself).
            {"name": "TORCH_DEVICE_BACKEND_AUTOLOAD", "value": "0"},
        ],
        "volumeMounts": [{**mount, "readOnly": True} for mount in mounts],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _own_secrets(job: FineTuneJob) -> list[Json]:
    return [{"name": secret.name} for secret in job.spec.runtime.image_pull_secrets]
