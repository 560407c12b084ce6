"""Status of a FineTuneJob: what the operator saw and decided. Source of the CRD's status."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from ascend_jobs.api.base import Model
from ascend_jobs.api.conditions import Condition
from ascend_jobs.api.schema import ListMap


class PodCounts(Model):
    """Pods of the present attempt, by what they are doing."""

    desired: int = Field(0, ge=0, description="Pods the attempt is made of.")
    pending: int = Field(0, ge=0, description="Not on a node, or starting.")
    running: int = Field(0, ge=0, description="Trainer is running.")
    succeeded: int = Field(0, ge=0, description="Trainer ended well.")
    failed: int = Field(0, ge=0, description="Trainer ended with an error.")


class Attempt(Model):
    """The group's present life and what it is made of."""

    number: int = Field(0, ge=0, description="From 0; rises with every restart and resume.")
    revision: str | None = Field(None, description="ControllerRevision that holds the pod template of this attempt.")
    template_sha256: str | None = Field(None, description="SHA-256 of that template.")
    image: str | None = Field(None, description="Image of the trainer.")
    start_time: datetime | None = Field(None, description="When its pods were first made; absent while it waits.")
    all_pods_seen: bool = Field(False, description="Every pod was seen once; a missing one is lost from then on.")


class Restarts(Model):
    """How often a new attempt was needed, by who caused it."""

    program: int = Field(0, ge=0, description="The program failed.")
    platform: int = Field(0, ge=0, description="A pod was lost, evicted, preempted, or its node failed.")


class LastFailure(Model):
    """What ended the previous attempt."""

    reason: str = Field(description="CamelCase reason.")
    message: str = Field("", max_length=4096, description="Evidence: pod, exit code, last words.")
    pod: str = Field("", description="Pod.")
    node: str = Field("", description="Node of the pod.")
    exit_code: int | None = Field(None, description="Exit code of the trainer, when it had one.")
    time: datetime = Field(description="When it was seen.")


class Prepare(Model):
    """The phase that cleans and tokenises."""

    number: int = Field(0, ge=0, description="Tries so far, from 0.")
    pod_seen: bool = Field(False, description="The pod of this try was seen.")
    documents: int | None = Field(None, ge=0, description="Examples in the sources.")
    train_documents: int | None = Field(None, ge=0, description="Examples trained on.")
    validation_documents: int | None = Field(None, ge=0, description="Examples held back.")
    tokens: int | None = Field(None, ge=0, description="Tokens trained on in one epoch.")
    dataset: str | None = Field(None, description="Digest of the tokenised data.")


class RankTableStatus(Model):
    """The rank table in the containers."""

    version: int = Field(0, ge=0, description="Rises with every publication.")
    devices: int = Field(0, ge=0, description="Ranks in the table.")
    sha256: str | None = Field(None, description="SHA-256 of hccl.json.")
    ready_time: datetime | None = Field(None, description="When every container had it.")


class Progress(Model):
    """How far training is, from rank 0's log; written at most every 10 s."""

    step: int = Field(0, ge=0, description="Optimizer steps done.")
    total_steps: int | None = Field(None, ge=0, description="Optimizer steps in all.")
    loss: float | None = Field(None, description="Training loss of the last step.")
    validation_loss: float | None = Field(None, description="Loss on held-back examples, last measured.")
    grad_norm: float | None = Field(None, description="Gradient norm before clipping.")
    learning_rate: float | None = Field(None, description="Learning rate of the last step.")
    tokens_per_second: float | None = Field(None, description="Tokens of all NPUs together, per second.")
    estimated_seconds_left: int | None = Field(None, ge=0, description="Seconds until the last step.")
    updated_time: datetime | None = Field(None, description="When this was written.")


class LastCheckpoint(Model):
    """The newest complete checkpoint."""

    step: int = Field(ge=0, description="Step after which it was taken.")
    uri: str = Field(max_length=2048, description="Where it is.")
    sha256: str = Field(max_length=64, description="SHA-256 of its manifest.json.")
    time: datetime = Field(description="When it was complete.")


class Artifact(Model):
    """Something that the job made."""

    type: str = Field(max_length=64, description="adapter or model.")
    uri: str = Field(max_length=2048, description="Where it is.")
    sha256: str = Field("", max_length=64, description="SHA-256 of its manifest.json.")
    size_bytes: int = Field(0, ge=0, description="Size of all its files, in bytes.")


class FineTuneJobStatus(Model):
    """What the operator saw and decided."""

    observed_generation: int = Field(0, ge=0, description="metadata.generation last dealt with.")
    phase: str = Field(
        "Pending",
        description="One word for people: Pending, Preparing, Starting, Running, Restarting, "
        "Suspended, Stalled, Complete, Failed.",
    )
    message: str = Field("", max_length=1024, description="One line for people.")
    conditions: Annotated[tuple[Condition, ...], ListMap("type")] = Field(
        (), max_length=32, description="See docs/api.md."
    )
    pods: PodCounts = Field(default_factory=PodCounts, description="Pods of the present attempt.")
    prepare: Prepare = Field(default_factory=Prepare, description="The prepare phase.")
    attempt: Attempt = Field(default_factory=Attempt, description="The present attempt.")
    restarts: Restarts = Field(default_factory=Restarts, description="Restarts so far.")
    succeeded_ranks: Annotated[tuple[int, ...], Field(max_length=20000)] = Field(
        (), description="Pods of the present attempt that ended well; they stay so when the pod is collected."
    )
    last_failure: LastFailure | None = Field(None, description="What ended the previous attempt.")
    rank_table: RankTableStatus = Field(default_factory=RankTableStatus, description="The rank table.")
    progress: Progress | None = Field(None, description="How far training is.")
    last_checkpoint: LastCheckpoint | None = Field(None, description="The newest complete checkpoint.")
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=16)] = Field((), description="What the job made.")
    start_time: datetime | None = Field(None, description="When the job was first dealt with.")
    completion_time: datetime | None = Field(None, description="When it was Complete or Failed.")
