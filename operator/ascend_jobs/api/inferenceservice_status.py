"""Status of an InferenceService: what the operator saw and decided. Source of the CRD's status."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from ascend_jobs.api.base import Model
from ascend_jobs.api.conditions import Condition
from ascend_jobs.api.schema import ListMap

SHOWN_REPLICAS = 64
"""Replicas in the table; an object must not grow with the number of its pods."""


class ModelFacts(Model):
    """What the files of a model say of it."""

    architecture: str = Field("", max_length=128, description="Name of the architecture, such as Qwen2ForCausalLM.")
    parameters: int = Field(0, ge=0, description="Weights.")
    size_bytes: int = Field(0, ge=0, description="Size of the weights' files, in bytes.")
    layers: int = Field(0, ge=0, description="Transformer blocks.")
    hidden_size: int = Field(0, ge=0, description="Width of the hidden states.")
    kv_heads: int = Field(0, ge=0, description="Heads of keys and values.")
    head_dim: int = Field(0, ge=0, description="Width of a head.")
    vocab_size: int = Field(0, ge=0, description="Tokens of the vocabulary.")
    bytes_per_parameter: float = Field(2, ge=0, le=8, description="Bytes of a stored weight.")
    sha256: str = Field("", max_length=128, description="Digest of config and of the weights' headers.")


class RevisionStatus(Model):
    """One version of the service: what its pods are made of."""

    number: int = Field(ge=1, description="From 1; rises with every change of what the pods are made of.")
    name: str = Field(description="ControllerRevision that holds the pod template and the engine's files.")
    input_sha256: str = Field(description="SHA-256 of what it was made from: spec and the job's result.")
    engine: str = Field("", max_length=64, description="Engine that serves.")
    image: str = Field("", max_length=1024, description="Image of the engine.")
    port: int = Field(0, ge=0, le=65535, description="Port of its OpenAI API.")
    model: str = Field("", max_length=1024, description="URI of the model.")
    created_time: datetime = Field(description="When it was recorded.")
    nodes: int = Field(1, ge=1, description="Pods of one replica.")
    npus_per_node: int = Field(1, ge=1, description="NPUs of each pod.")
    inspected: ModelFacts | None = Field(None, description="What was found in the model's folder.")
    inspections: int = Field(
        0, ge=0, description="Tries of the pod that looks at the model's folder, beyond the first."
    )
    start_time: datetime | None = Field(None, description="When its pods were first made.")
    answered_time: datetime | None = Field(None, description="When a completion first came back from it.")
    gate_time: datetime | None = Field(None, description="When it passed its gate.")


class FailedRevision(Model):
    """A revision that was given up; it is not tried again until what it is made of changes."""

    number: int = Field(ge=1, description="Its number.")
    input_sha256: str = Field(description="What it was made from.")
    reason: str = Field(description="CamelCase reason.")
    message: str = Field("", max_length=1024, description="Why.")
    time: datetime = Field(description="When it was given up.")


class ProbeStatus(Model):
    """The completions that the operator asks for through the Service."""

    time: datetime = Field(description="When the last one was asked for.")
    answered: bool = Field(description="A completion with tokens came back.")
    message: str = Field("", max_length=512, description="What went wrong, else the beginning of the answer.")
    first_token_milliseconds: float | None = Field(None, ge=0, description="From the request to its first token.")
    tokens_per_second: float | None = Field(None, ge=0, description="Tokens of the answer after the first, per second.")
    failures: int = Field(0, ge=0, description="Failures in a row.")


class ReplicaStatus(Model):
    """One replica."""

    name: str = Field(max_length=253, description="Its pod, or its StatefulSet when it spans pods.")
    revision: int = Field(description="Number of its revision.")
    node: str = Field("", max_length=253, description="Node of its first pod.")
    ready: bool = Field(False, description="It takes requests.")
    restarts: int = Field(0, ge=0, description="Restarts of its containers.")
    message: str = Field("", max_length=256, description="What it waits for.")


class Load(Model):
    """What the engines say of themselves, over all ready replicas; from their /metrics."""

    requests_running: float = Field(0, ge=0, description="Requests being answered.")
    requests_waiting: float = Field(0, ge=0, description="Requests in the queues.")
    kv_cache_usage: float = Field(0, ge=0, description="Share of the KV cache in use, mean, 0 to 1.")
    time: datetime | None = Field(None, description="When this was written, at most every 30 s.")


class ScalingStatus(Model):
    """Why there are so many replicas."""

    desired: int = Field(0, ge=0, description="Replicas wanted now.")
    reason: str = Field("", max_length=256, description="Who wants so many: minReplicas, a schedule, the metric.")
    proposed: int | None = Field(None, ge=0, description="What the metric asks for, until it has asked long enough.")
    proposed_time: datetime | None = Field(None, description="Since when it has asked for more, or for less.")
    last_scale_time: datetime | None = Field(None, description="When the number last changed.")


class VersionTraffic(Model):
    """What the proxy counted for one version since it started."""

    requests: int = Field(0, ge=0, description="Requests.")
    errors: int = Field(0, ge=0, description="Answers 5xx, and requests without one.")
    error_rate: float = Field(0, ge=0, le=1, description="Errors over requests, 0 to 1.")
    average_milliseconds: float | None = Field(None, ge=0, description="Mean time to answer, of the last 1024.")


class CanaryStatus(Model):
    """The second version."""

    weight: int = Field(
        0, ge=0, le=100, description="Percent of the requests that it gets now; 0 until it has answered."
    )
    message: str = Field("", max_length=512, description="What it waits for, or why it gets no requests.")
    failed: FailedRevision | None = Field(
        None, description="Why it was given up; it is not tried again until what it is made of changes."
    )
    stable: VersionTraffic = Field(default_factory=VersionTraffic, description="The first version.")
    canary: VersionTraffic = Field(default_factory=VersionTraffic, description="The second version.")


class InferenceServiceStatus(Model):
    """What the operator saw and decided."""

    observed_generation: int = Field(0, ge=0, description="metadata.generation last dealt with.")
    phase: str = Field(
        "Pending",
        description="One word: Pending, Starting, Ready, Updating, Degraded, ScaledToZero, Suspended, Stalled.",
    )
    message: str = Field("", max_length=1024, description="One line for people.")
    url: str | None = Field(None, max_length=512, description="Address inside the cluster.")
    served_name: str | None = Field(None, max_length=128, description="Model name in requests.")
    engine: str | None = Field(None, max_length=64, description="Engine that serves.")
    conditions: Annotated[tuple[Condition, ...], ListMap("type")] = Field(
        (), max_length=32, description="See docs/api.md."
    )
    replicas: int = Field(0, ge=0, description="Replicas that exist.")
    ready_replicas: int = Field(0, ge=0, description="Replicas that take requests.")
    selector: str = Field("", max_length=512, description="Label selector of the pods, for HPA.")
    last_revision: int = Field(0, ge=0, description="Number of the newest revision that was recorded.")
    revision: RevisionStatus | None = Field(None, description="What gets requests.")
    candidate: RevisionStatus | None = Field(None, description="What is to take over.")
    canary_revision: RevisionStatus | None = Field(None, description="What spec.canary asks for.")
    failed_revision: FailedRevision | None = Field(None, description="The last one that was given up.")
    probe: ProbeStatus | None = Field(None, description="The last completion through the Service.")
    load: Load | None = Field(None, description="What the engines say of themselves.")
    scaling: ScalingStatus = Field(default_factory=ScalingStatus, description="Why there are so many replicas.")
    canary: CanaryStatus | None = Field(None, description="How the two versions do.")
    instances: Annotated[tuple[ReplicaStatus, ...], Field(max_length=SHOWN_REPLICAS)] = Field(
        (), description="The replicas, the first 64."
    )
    ready_time: datetime | None = Field(None, description="When it was first Ready.")
