"""What a spec may not say, beyond its schema; each finding with its field path and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.decide.template import Finding, template_problems
from ascend_jobs.desired.volumes import uris


def invalid_fields(job: FineTuneJob, default_image: str) -> tuple[Finding, ...]:
    """Return what only a new spec can mend; empty when nothing is wrong.

    `default_image` is the installation's image for training pods, "" when it has none.
    """
    return (
        *_paths(job),
        *_overlaps(job),
        *_batches(job),
        *_template(job),
        *_image(job, default_image),
    )


def _paths(job: FineTuneJob) -> Iterator[Finding]:
    for field, uri in uris(job).items():
        if ".." in uri.split("/"):
            yield field, f"{uri} leads out of its folder; write it without .."


def _overlaps(job: FineTuneJob) -> Iterator[Finding]:
    output = job.spec.output.uri
    for field, uri in uris(job).items():
        if field in ("spec.output.uri", "spec.workspace.uri"):
            continue
        if is_within(uri, output):
            yield "spec.output.uri", f"{output} holds {field}; give a folder of its own"


def _batches(job: FineTuneJob) -> Iterator[Finding]:
    parameters, spec = job.spec.training.hyperparameters, job.spec
    at_once = parameters.batch_size_per_npu * spec.nodes * spec.npus_per_node
    size = parameters.global_batch_size
    if size is not None and size % at_once:
        yield (
            "spec.training.hyperparameters.globalBatchSize",
            f"{size} is no multiple of batchSizePerNpu x nodes x npusPerNode = {at_once}; "
            f"take {max(1, size // at_once) * at_once} or change the others",
        )


def _template(job: FineTuneJob) -> Iterator[Finding]:
    template = job.spec.runtime.pod_template
    yield from template_problems(template)
    spec = template.get("spec")
    if not isinstance(spec, dict):
        return
    if spec.get("restartPolicy", "Never") != "Never":
        yield "spec.runtime.podTemplate.spec.restartPolicy", "is always Never: the operator restarts the whole group"
    containers = spec.get("containers")
    listed = containers if isinstance(containers, list) else []
    if any(isinstance(item, dict) and item.get("name") != names.CONTAINER_TRAINER for item in listed):
        yield (
            "spec.runtime.podTemplate.spec.containers",
            "may only hold trainer; a sidecar goes into initContainers with restartPolicy Always, to end with it",
        )


def _image(job: FineTuneJob, default_image: str) -> Iterator[Finding]:
    if not (job.spec.runtime.image or default_image):
        yield "spec.runtime.image", "no image given and the installation has none (chart value images.runtime)"


def is_within(uri: str, folder: str) -> bool:
    """Say whether `uri` is `folder` or something below it."""
    inner, outer = (tuple(p for p in u.split("/") if p) for u in (uri, folder))
    return inner[: len(outer)] == outer


def spec_findings(job: FineTuneJob, default_image: str) -> str:
    """Return all findings as one line, "" when there are none."""
    return "; ".join(f"{field}: {sentence}" for field, sentence in invalid_fields(job, default_image))


RETRY_SECONDS = 30.0
"""Seconds until a missing prerequisite is looked at again (30 to 300; GitOps applies in any order)."""
