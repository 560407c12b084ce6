"""EvaluationJob: what users write and read. Source of the CRD; a field is here when it works."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ascend_jobs import names
from ascend_jobs.api.base import CustomObject, Model
from ascend_jobs.api.evaluationjob_status import EvaluationJobStatus
from ascend_jobs.api.fields import ImagePullSecret, PvcUri, Resources, Uri
from ascend_jobs.api.inferenceservice import ModelName, ObjectName
from ascend_jobs.api.schema import ListMap, Opaque, RuleList

SuiteName = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
MetricName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][-._A-Za-z0-9/]*$")]


class SuiteType(StrEnum):
    """How the questions of a suite are laid out."""

    CEVAL = "ceval"
    MMLU = "mmlu"
    GSM8K = "gsm8k"
    JSONL = "jsonl"
    CLASSIFICATION = "classification"
    COMMAND = "command"


class Scoring(StrEnum):
    """How an answer is judged."""

    FIRST_LETTER = "FirstLetter"
    LOG_LIKELIHOOD = "LogLikelihood"
    EXACT = "Exact"


class Change(StrEnum):
    """What a change of starts another run."""

    TARGET = "target"
    SUITES = "suites"


class Target(Model):
    """Who is asked: a service of this namespace, or any server that speaks OpenAI's protocol."""

    service: ObjectName | None = Field(None, description="InferenceService of this namespace; waits until it is Ready.")
    url: Annotated[str, Field(max_length=512, pattern=r"^https?://[^/ ]+/?$")] | None = Field(
        None, description="Address of a server, such as http://10.0.0.7:8000; with model."
    )
    model: ModelName | None = Field(None, description="Model name in requests; the service's served name when absent.")

    rules: ClassVar[RuleList] = (
        ("has(self.service) != has(self.url)", "give either service or url"),
        ("!has(self.url) || has(self.model)", "url needs model"),
    )


class Suite(Model):
    """One set of questions, or one command of the user's own."""

    name: SuiteName = Field(description="First part of its metrics' names, such as ceval in ceval.accuracy.")
    type: SuiteType | None = Field(
        None, description="ceval, mmlu, gsm8k, jsonl, classification or command; the name says it when it is one."
    )
    uri: Uri | None = Field(None, description="Folder or file of the questions. Schemes: file://, pvc://CLAIM/PATH.")
    scoring: Scoring | None = Field(
        None, description="FirstLetter (MindIE's rule), LogLikelihood or Exact; what fits the type when absent."
    )
    max_tokens: int = Field(20, ge=1, le=8192, description="Tokens of an answer; 1 to 8192.")
    shots: int = Field(0, ge=0, le=32, description="Worked examples before each question; 0 to 32.")
    limit: int | None = Field(None, ge=1, le=1_000_000, description="At most so many questions; all when absent.")
    concurrency: int = Field(4, ge=1, le=512, description="Questions asked at the same time; 1 to 512.")
    image: str | None = Field(None, min_length=1, max_length=1024, description="Type command: its image.")
    command: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=256)] = Field(
        (), description="Type command: what is run; TARGET_URL and TARGET_MODEL tell it whom to ask."
    )
    results: str = Field(
        "/results/metrics.json",
        max_length=512,
        pattern=r"^/results/[^/]+\.json$",
        description="Type command: where it leaves a JSON object of numbers.",
    )

    rules: ClassVar[RuleList] = (
        (
            "(has(self.type) && self.type == 'command') == (has(self.command) && size(self.command) > 0)",
            "type command needs command, and the others have none",
        ),
        ("(has(self.type) && self.type == 'command') != has(self.uri)", "uri holds the questions; command has none"),
        (
            "has(self.type) || self.name == 'ceval' || self.name == 'mmlu' || self.name == 'gsm8k'",
            "give type: ceval, mmlu, gsm8k, jsonl, classification or command",
        ),
    )

    @property
    def kind(self) -> SuiteType:
        """Type, the name's where none is given."""
        return self.type or SuiteType(self.name)


class Performance(Model):
    """What is measured under load."""

    uri: Uri = Field(description="Prompts, one JSON object or text a line. Schemes: file://, pvc://CLAIM/PATH.")
    concurrency: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(max_length=16)] = Field(
        (1,), description="Closed loop: clients that ask one request after the other."
    )
    requests_per_second: Annotated[tuple[Annotated[float, Field(gt=0, le=10_000)], ...], Field(max_length=16)] = Field(
        (), description="Open loop: requests that arrive at these rates, whatever comes back."
    )
    requests: int = Field(100, ge=1, le=1_000_000, description="Measured requests at each point.")
    warmup_requests: int = Field(5, ge=0, le=10_000, description="Requests before, that do not count.")
    max_tokens: int = Field(128, ge=1, le=8192, description="Tokens of an answer; 1 to 8192.")


class Triggers(Model):
    """When it runs again."""

    schedule: Annotated[str, Field(min_length=9, max_length=128)] | None = Field(
        None, description='Five fields as in crontab, such as "0 2 * * *".'
    )
    time_zone: str = Field("Etc/UTC", max_length=64, description="Name of the IANA time zone, such as Asia/Shanghai.")
    on_change: Annotated[tuple[Change, ...], Field(max_length=2)] = Field(
        (),
        description="target: the service's model, adapter, engine or image is another; suites: the spec's suites are.",
    )


class Criterion(Model):
    """What a metric must reach for the result to be accepted."""

    metric: MetricName = Field(description="Name as the report spells it, such as ceval.accuracy.")
    min: float | None = Field(None, ge=-1e12, le=1e12, description="At least.")
    max: float | None = Field(None, ge=-1e12, le=1e12, description="At most.")
    max_drop: float | None = Field(
        None,
        ge=0,
        le=1e12,
        description="At most so far below the baseline, else below the run before.",
    )

    rules: ClassVar[RuleList] = (("has(self.min) || has(self.max) || has(self.maxDrop)", "give min, max or maxDrop"),)


class EvaluationOutput(Model):
    """Where reports go."""

    uri: PvcUri = Field(description="Folder of the reports, one folder a run. Scheme: pvc://CLAIM/PATH.")
    history_limit: int = Field(30, ge=1, le=1000, description="Newest runs that are kept; 1 to 1000.")


class EvaluationRuntime(Model):
    """Where it runs; it takes no NPU."""

    image: str | None = Field(None, min_length=1, max_length=1024, description="Image with ascend_runtime.")
    image_pull_secrets: Annotated[tuple[ImagePullSecret, ...], Field(max_length=16)] = Field(
        (), description="Secrets for the images' registry."
    )
    resources: Resources = Field(default_factory=Resources, description="Requests of the pod.")
    pod_template: Annotated[dict[str, Any], Opaque()] = Field(
        default_factory=dict,
        description="metadata (labels, annotations) and spec of a PodTemplate, merged into the pod last.",
    )


class EvaluationJobSpec(Model):
    """What the user wants. Without triggers it runs once, and once more after each change of what is evaluated."""

    target: Target = Field(description="Who is asked.")
    baseline: Target | None = Field(None, description="Who is asked the same, to compare.")
    suites: Annotated[tuple[Suite, ...], Field(max_length=32), ListMap("name")] = Field(
        (), description="What is asked; each with a name of its own."
    )
    performance: Performance | None = Field(None, description="What is measured under load.")
    triggers: Triggers = Field(default_factory=Triggers, description="When it runs again.")
    acceptance: Annotated[tuple[Criterion, ...], Field(max_length=64)] = Field(
        (), description="What has to hold for condition Accepted."
    )
    output: EvaluationOutput | None = Field(
        None, description="Where reports go; without it the status alone tells the result."
    )
    runtime: EvaluationRuntime = Field(default_factory=EvaluationRuntime, description="Where it runs.")
    suspend: bool = Field(False, description="true ends a run that is under way and starts none.")
    backoff_limit: int = Field(3, ge=0, le=1000, description="Tries of a run after failures; 0 to 1000.")
    ttl_seconds_after_finished: int | None = Field(
        None,
        ge=0,
        le=2_147_483_647,
        description="The finished job is deleted after so many seconds; absent: never.",
    )

    rules: ClassVar[RuleList] = (
        ("(has(self.suites) && size(self.suites) > 0) || has(self.performance)", "give suites, performance, or both"),
    )


class EvaluationJob(CustomObject):
    """Numbers about a served model: accuracy, speed, comparison, and whether they are accepted."""

    kind: ClassVar[str] = names.EVALUATION_JOB
    short: ClassVar[str] = names.EVALUATION_SHORT
    blank: ClassVar[dict[str, Any]] = {"target": {"service": "blank"}}

    spec: EvaluationJobSpec
    status: EvaluationJobStatus = Field(default_factory=EvaluationJobStatus)

    @property
    def repeats(self) -> bool:
        """Whether runs come by themselves; it is then never Complete."""
        return self.spec.triggers.schedule is not None or bool(self.spec.triggers.on_change)
