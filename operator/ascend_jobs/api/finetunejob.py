"""FineTuneJob: what users write and read. Source of the CRD; a field is here when it works."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ascend_jobs import names
from ascend_jobs.api.base import CustomObject, Model
from ascend_jobs.api.fields import NPU_COUNTS, ImagePullSecret, PvcUri, Resources, Uri
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus
from ascend_jobs.api.schema import AnyOf, Opaque, RuleList


class DatasetFormat(StrEnum):
    """How a row holds question and answer."""

    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    OPENAI = "openai"
    TEXT = "text"


class Method(StrEnum):
    """What is trained."""

    LORA = "lora"
    FULL = "full"


class Scheduler(StrEnum):
    """How the learning rate goes after the warm-up."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"


class Dtype(StrEnum):
    """Number format of weights and activations."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"


class IfExists(StrEnum):
    """What to do when the output already holds something."""

    FAIL = "Fail"
    SKIP = "Skip"
    OVERWRITE = "Overwrite"


class RankTablePolicy(StrEnum):
    """When containers get an HCCL rank table."""

    AUTO = "Auto"
    ALWAYS = "Always"
    NEVER = "Never"


class ModelSource(Model):
    """The base model."""

    uri: Uri = Field(
        description="Folder with Hugging Face files (config.json, tokenizer, weights). "
        "Schemes: file:// (in the image), pvc://CLAIM/PATH."
    )


class DatasetSource(Model):
    """One file, or folder of files, of examples."""

    uri: Uri = Field(description="File (.json, .jsonl, .jsonl.gz). Schemes: file:// (in the image), pvc://CLAIM/PATH.")
    format: DatasetFormat = Field(DatasetFormat.ALPACA, description="alpaca, sharegpt, openai or text.")


class Tokenize(Model):
    """How examples become tokens."""

    max_length: int = Field(1024, ge=16, le=131072, description="Longest example, in tokens; 16 to 131072.")


class Validation(Model):
    """What is held back to measure the loss on."""

    fraction: float = Field(0.02, ge=0, le=0.5, description="Share of the examples that is held back; 0 to 0.5.")


class Dataset(Model):
    """What is learned: either uri and format, or one source."""

    uri: Uri | None = Field(None, description="Short for one source: its uri.")
    format: DatasetFormat | None = Field(None, description="Short for one source: its format; alpaca when absent.")
    sources: Annotated[tuple[DatasetSource, ...], Field(min_length=1, max_length=1)] | None = Field(
        None, description="The source, in the long form."
    )
    tokenize: Tokenize = Field(default_factory=Tokenize, description="How examples become tokens.")
    validation: Validation = Field(default_factory=Validation, description="What is held back.")

    rules: ClassVar[RuleList] = (
        ("has(self.uri) != has(self.sources)", "give either uri or sources"),
        ("!has(self.format) || has(self.uri)", "format goes with uri; a source carries its own format"),
    )

    def all_sources(self) -> tuple[DatasetSource, ...]:
        """Return the sources in the long form."""
        if self.sources:
            return self.sources
        return (DatasetSource(uri=self.uri or "", format=self.format or DatasetFormat.ALPACA),)


class Lora(Model):
    """Low-rank adapters (LoRA, Hu et al. 2021), as in peft's LoraConfig."""

    rank: int = Field(8, ge=1, le=512, description="Rank of the update matrices; 1 to 512.")
    alpha: int = Field(16, ge=1, le=1024, description="Scale; the update is multiplied by alpha / rank; 1 to 1024.")
    dropout: float = Field(0.0, ge=0, le=0.9, description="Dropout of the adapter's input; 0 to 0.9.")
    target_modules: Annotated[tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=64)] = Field(
        (), description="Names of the layers to adapt; all linear layers when empty."
    )


class Hyperparameters(Model):
    """How the optimizer (AdamW) goes."""

    epochs: int = Field(1, ge=1, le=1000, description="Passes over the training examples; 1 to 1000.")
    max_steps: int | None = Field(
        None, ge=1, le=100_000_000, description="Stop after this many steps; epochs decide when absent."
    )
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Peak learning rate; above 0, at most 1.")
    scheduler: Scheduler = Field(Scheduler.COSINE, description="cosine, linear or constant, after the warm-up.")
    warmup_ratio: float = Field(0.03, ge=0, le=1, description="Share of the steps over which the rate rises; 0 to 1.")
    global_batch_size: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Examples per step over all NPUs, a multiple of batchSizePerNpu x NPUs; that product when absent.",
    )
    batch_size_per_npu: int = Field(1, ge=1, le=4096, description="Examples an NPU takes at once; 1 to 4096.")
    dtype: Dtype = Field(Dtype.BF16, description="bf16, fp16 or fp32.")
    seed: int = Field(42, ge=0, le=2_147_483_647, description="Seed of shuffling, dropout and initial weights.")


class Backend(StrEnum):
    """Who trains."""

    NATIVE = "native"


class Training(Model):
    """How the model is trained."""

    backend: Backend = Field(Backend.NATIVE, description="native: the trainer of this project.")
    method: Method = Field(Method.LORA, description="lora (adapters) or full (all weights).")
    lora: Lora = Field(default_factory=Lora, description="Only read when method is lora.")
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters, description="How the optimizer goes.")


def _same(field: str) -> str:
    """Return the CEL rule that an optional field neither comes, goes nor changes."""
    return f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"


class Runtime(Model):
    """Where it runs; what is absent comes from the installation and the cluster's profile."""

    image: str | None = Field(None, min_length=1, max_length=1024, description="Image of the training pods.")
    image_pull_secrets: Annotated[tuple[ImagePullSecret, ...], Field(max_length=16)] = Field(
        (), description="Secrets for the image's registry."
    )
    resources: Resources = Field(default_factory=Resources, description="Requests of a training pod beside NPUs.")
    rank_table: RankTablePolicy = Field(
        RankTablePolicy.AUTO, description="Auto: with more than one node and valid device IPs; Always; Never."
    )
    pod_template: Annotated[dict[str, Any], Opaque()] = Field(
        default_factory=dict,
        description="metadata (labels, annotations) and spec of a PodTemplate, merged into training pods last. "
        "A change takes effect at the next attempt.",
    )

    rules: ClassVar[RuleList] = tuple(
        (_same(field), f"{field} is immutable: delete the job and make a new one")
        for field in ("image", "imagePullSecrets", "resources", "rankTable")
    )


class Checkpoint(Model):
    """When the state is saved, so that a restarted attempt goes on from there."""

    every_steps: int = Field(100, ge=1, le=10_000_000, description="Steps between checkpoints; 1 to 10000000.")
    keep: int = Field(2, ge=1, le=100, description="Newest checkpoints that are kept; 1 to 100.")


class Output(Model):
    """Where the result goes."""

    uri: PvcUri = Field(description="Folder for the adapter or the model. Scheme: pvc://CLAIM/PATH.")
    if_exists: IfExists = Field(IfExists.FAIL, description="Fail, Skip or Overwrite what is there already.")

    rules: ClassVar[RuleList] = (
        (r"self.uri.matches('^pvc://[^/]+/+[^/]')", "uri needs a path below the claim: pvc://CLAIM/PATH"),
    )


class Workspace(Model):
    """Where phases hand over data and where checkpoints are."""

    uri: PvcUri = Field(description="Folder on a volume that all nodes share. Scheme: pvc://CLAIM[/PATH].")


class FaultPolicy(Model):
    """What faults of the platform cost."""

    platform_backoff_limit: int = Field(
        10, ge=0, le=1000, description="Restarts after pods were lost with their node, evicted or deleted; 0 to 1000."
    )


class FineTuneJobSpec(Model):
    """What the user wants. Immutable but for suspend, ttlSecondsAfterFinished and runtime.podTemplate."""

    model: ModelSource = Field(description="The base model.")
    dataset: Dataset = Field(description="What it learns.")
    training: Training = Field(default_factory=Training, description="How it learns.")
    nodes: int = Field(
        1, ge=1, le=20000, description="Pods that train together, each on a node of its own; 1 to 20000."
    )
    npus_per_node: Annotated[int, AnyOf(NPU_COUNTS)] = Field(
        1, ge=1, le=16, description="NPUs of each pod: 1 to 8, or 10, 12, 14, 16; the chip family may allow fewer."
    )
    runtime: Runtime = Field(default_factory=Runtime, description="Image, resources, rank table, pod template.")
    checkpoint: Checkpoint = Field(default_factory=Checkpoint, description="When the state is saved.")
    output: Output = Field(description="Where the result goes.")
    workspace: Workspace | None = Field(
        None, description="Where phases hand over data; a folder .ascendjobs on the output's claim when absent."
    )
    suspend: bool = Field(False, description="true takes the pods away and keeps the checkpoints; false goes on.")
    backoff_limit: int = Field(
        6, ge=0, le=1000, description="Restarts after failures of the program itself; 0 to 1000."
    )
    fault_policy: FaultPolicy = Field(default_factory=FaultPolicy, description="What faults of the platform cost.")
    ttl_seconds_after_finished: int | None = Field(
        None,
        ge=0,
        le=2_147_483_647,
        description="The finished job is deleted after so many seconds; never when absent.",
    )

    rules: ClassVar[RuleList] = (
        *(
            (f"self.{f} == oldSelf.{f}", f"{f} is immutable: delete the job and make a new one")
            for f in ("model", "dataset", "training", "nodes", "npusPerNode", "checkpoint", "output")
        ),
        (_same("workspace"), "workspace is immutable: delete the job and make a new one"),
    )


class FineTuneJob(CustomObject):
    """A fine-tune of a model on a dataset, distributed over Ascend NPUs."""

    kind: ClassVar[str] = names.FINE_TUNE_JOB
    short: ClassVar[str] = names.FINE_TUNE_SHORT
    blank: ClassVar[dict[str, Any]] = {
        "model": {"uri": "file:///blank"},
        "dataset": {"uri": "file:///blank"},
        "output": {"uri": "pvc://blank/blank"},
    }

    spec: FineTuneJobSpec
    status: FineTuneJobStatus = Field(default_factory=FineTuneJobStatus)
