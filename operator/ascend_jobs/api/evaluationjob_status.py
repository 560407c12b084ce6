"""Status of an EvaluationJob: what the operator saw and decided. Source of the CRD's status."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from ascend_jobs.api.base import Model
from ascend_jobs.api.conditions import Condition
from ascend_jobs.api.schema import ListMap

KEPT_RUNS = 20
"""Runs in status.history; the output folder holds more."""
MOST_METRICS = 64
"""Metrics of a run in the status; the report holds all."""


class EvaluationProgress(Model):
    """How far the run is, from its log; written at most every 10 s."""

    suite: str = Field("", max_length=64, description="What is asked now.")
    done: int = Field(0, ge=0, description="Questions answered of it.")
    total: int = Field(0, ge=0, description="Questions of it.")
    updated_time: datetime | None = Field(None, description="When this was written.")


class Run(Model):
    """The run that is under way, or the last one."""

    number: int = Field(0, ge=0, description="From 1.")
    trigger: str = Field("", max_length=64, description="What started it: First, Schedule, TargetChanged, SpecChanged.")
    try_number: int = Field(
        0, ge=0, description="Number of its present pod, from 0; rises with each failure and each suspension."
    )
    failures: int = Field(0, ge=0, description="Tries that failed; spec.backoffLimit is about these.")
    pod_seen: bool = Field(False, description="The pod of this try was seen.")
    spec_sha256: str = Field("", max_length=64, description="What of the spec it evaluates.")
    target_revision: str = Field("", max_length=128, description="Digest of what the target serves.")
    start_time: datetime | None = Field(None, description="When it was started.")
    completion_time: datetime | None = Field(None, description="When it ended.")
    reason: str = Field("", max_length=128, description="Why it failed, CamelCase; empty when it did not.")
    message: str = Field("", max_length=1024, description="Why it failed.")


class Measured(Model):
    """One metric."""

    name: str = Field(max_length=128, description="As the report spells it.")
    value: float = Field(description="Value, in the unit that docs/evaluate.md tells.")


class CriterionResult(Model):
    """One criterion of spec.acceptance."""

    metric: str = Field(max_length=128, description="Name of the metric.")
    value: float | None = Field(None, description="Its value; absent when it was not measured.")
    accepted: bool = Field(description="It holds.")
    message: str = Field("", max_length=512, description="Why not.")


class Report(Model):
    """Where the report is."""

    uri: str = Field("", max_length=2048, description="Folder with report.html, metrics.json, tables as CSV.")
    sha256: str = Field("", max_length=128, description="SHA-256 of its manifest.json.")


class Requests(Model):
    """What was asked."""

    total: int = Field(0, ge=0, description="Requests.")
    failed: int = Field(0, ge=0, description="Requests without a whole answer; they are counted, never averaged in.")


class Result(Model):
    """What a run found."""

    run: int = Field(ge=0, description="Number of the run.")
    time: datetime = Field(description="When it ended.")
    accepted: bool | None = Field(None, description="Every criterion holds; absent when there are none.")
    verdict: str | None = Field(None, max_length=32, description="Against the baseline: Better, Worse, NoDifference.")
    metrics: Annotated[tuple[Measured, ...], Field(max_length=MOST_METRICS), ListMap("name")] = Field(
        (), description="The criteria's metrics and the headline ones."
    )
    criteria: Annotated[tuple[CriterionResult, ...], Field(max_length=64)] = Field((), description="spec.acceptance.")
    requests: Requests = Field(default_factory=Requests, description="What was asked.")
    report: Report = Field(default_factory=Report, description="Where the report is.")


class HistoryEntry(Model):
    """One earlier run, short."""

    run: int = Field(ge=0, description="Number of the run.")
    time: datetime = Field(description="When it ended.")
    trigger: str = Field("", max_length=64, description="What started it.")
    accepted: bool | None = Field(None, description="Every criterion held.")
    metrics: Annotated[tuple[Measured, ...], Field(max_length=8)] = Field((), description="The first eight metrics.")


class EvaluationJobStatus(Model):
    """What the operator saw and decided."""

    observed_generation: int = Field(0, ge=0, description="metadata.generation last dealt with.")
    phase: str = Field(
        "Pending",
        description="One word for people: Pending, Running, Waiting, Suspended, Stalled, Complete, Failed.",
    )
    message: str = Field("", max_length=1024, description="One line for people.")
    conditions: Annotated[tuple[Condition, ...], ListMap("type")] = Field(
        (), max_length=32, description="See docs/api.md."
    )
    run: Run = Field(default_factory=Run, description="The run that is under way, or the last one.")
    progress: EvaluationProgress | None = Field(None, description="How far the run is.")
    result: Result | None = Field(None, description="What the last complete run found.")
    headline: str = Field("", max_length=128, description="The first metric, for kubectl get.")
    accepted: str = Field("Unknown", max_length=16, description="Status of condition Accepted, for kubectl get.")
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=KEPT_RUNS)] = Field(
        (), description="The last runs, the newest first."
    )
    start_time: datetime | None = Field(None, description="When the job was first dealt with.")
    completion_time: datetime | None = Field(None, description="When it was Complete or Failed.")
