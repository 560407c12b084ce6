"""InferenceService: what users write and read. Source of the CRD; a field is here when it works."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ascend_jobs import names
from ascend_jobs.api.base import CustomObject, Model
from ascend_jobs.api.fields import NPU_COUNTS, ImagePullSecret, Resources, Uri
from ascend_jobs.api.inferenceservice_status import InferenceServiceStatus
from ascend_jobs.api.schema import AnyOf, Opaque, RuleList

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")]
ModelName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][-._A-Za-z0-9/]*$")]


class Engine(StrEnum):
    """Who serves."""

    VLLM_ASCEND = "vllm-ascend"
    MINDIE = "mindie"
    CPU = "cpu"
    CUSTOM = "custom"


class QuantizationMethod(StrEnum):
    """How weights are made smaller."""

    W8A8 = "w8a8"
    Q8_0 = "q8_0"


class ScalingMetric(StrEnum):
    """What the number of replicas follows; read from the engines' own /metrics."""

    REQUESTS_WAITING = "requestsWaiting"
    REQUESTS_RUNNING = "requestsRunning"
    KV_CACHE_USAGE = "kvCacheUsage"


class ServiceType(StrEnum):
    """How the address is reached (Kubernetes Service)."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class Quantization(Model):
    """Smaller weights."""

    method: QuantizationMethod = Field(
        description="w8a8: the weights were quantized for NPUs (msModelSlim), the engine is told so; "
        "q8_0: the CPU engine quantizes at start."
    )


class Adapter(Model):
    """A LoRA adapter beside the model, asked for by its own name."""

    name: ModelName = Field(description="Model name in requests.")
    uri: Uri = Field(description="Folder with adapter_config.json. Schemes: file:// (in the image), pvc://CLAIM/PATH.")


class ServedModel(Model):
    """What is served."""

    uri: Uri | None = Field(
        None,
        description="Folder with Hugging Face files (config.json, tokenizer, weights). "
        "Schemes: file:// (in the image), pvc://CLAIM/PATH.",
    )
    from_job: ObjectName | None = Field(
        None,
        description="FineTuneJob of this namespace whose result is served: its model, or its adapter on its base "
        "model. The service waits until the job is Complete, and follows when it makes another result.",
    )
    served_name: ModelName | None = Field(None, description="Model name in requests; the service's name when absent.")
    adapters: Annotated[tuple[Adapter, ...], Field(max_length=32)] = Field(
        (), description="LoRA adapters served beside the model."
    )
    quantization: Quantization | None = Field(None, description="Smaller weights.")

    rules: ClassVar[RuleList] = (("has(self.uri) != has(self.fromJob)", "give either uri or fromJob"),)


class Parallelism(Model):
    """How a replica's NPUs share the model; tensor x pipeline is nodes x npusPerNode."""

    tensor: int | None = Field(None, ge=1, le=1024, description="Tensor parallel size; all that pipeline leaves.")
    pipeline: int | None = Field(None, ge=1, le=1024, description="Pipeline parallel size; nodes when absent.")


class Serving(Model):
    """The engine and how it serves."""

    engine: Engine | None = Field(
        None, description="vllm-ascend, mindie, cpu or custom; the installation's default when absent."
    )
    engine_version: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Version of the engine in the image: decides which settings it knows; newest when absent.",
    )
    engine_args: Annotated[dict[str, Any], Opaque()] = Field(
        default_factory=dict,
        description="More settings in the engine's own names: arguments of vLLM without dashes "
        "(max-num-batched-tokens: 8192), keys of MindIE's config.json (maxPrefillTokens: 16384).",
    )
    max_length: int = Field(
        4096, ge=16, le=10_485_760, description="Longest request with its answer, in tokens; 16 to 10485760."
    )
    max_concurrency: int = Field(64, ge=1, le=10_000, description="Requests that a replica works on at once.")
    parallelism: Parallelism = Field(default_factory=Parallelism, description="How NPUs share the model.")
    command: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=256)] = Field(
        (), description="Engine custom: command of the server; it listens on port."
    )
    port: int | None = Field(None, ge=1, le=65535, description="Engine custom: port of its OpenAI API.")
    readiness_path: str | None = Field(
        None,
        max_length=256,
        pattern=r"^/",
        description="Engine custom: answers 200 when the model is loaded.",
    )

    rules: ClassVar[RuleList] = (
        (
            "!has(self.engine) || self.engine != 'custom' || "
            "(has(self.command) && size(self.command) > 0 && has(self.port))",
            "engine custom needs command and port",
        ),
        (
            "(has(self.engine) && self.engine == 'custom') || !((has(self.command) && size(self.command) > 0) "
            "|| has(self.port) || has(self.readinessPath))",
            "command, port and readinessPath go with engine custom",
        ),
    )


class ServingRuntime(Model):
    """Where it runs; what is absent comes from the installation and the cluster's profile."""

    image: str | None = Field(None, min_length=1, max_length=1024, description="Image of the engine.")
    image_pull_secrets: Annotated[tuple[ImagePullSecret, ...], Field(max_length=16)] = Field(
        (), description="Secrets for the image's registry."
    )
    resources: Resources = Field(default_factory=Resources, description="Requests of a pod beside NPUs.")
    pod_template: Annotated[dict[str, Any], Opaque()] = Field(
        default_factory=dict,
        description="metadata (labels, annotations) and spec of a PodTemplate, merged into the pods last.",
    )


class Schedule(Model):
    """From this moment on, until another schedule's moment comes."""

    cron: str = Field(min_length=9, max_length=128, description='Five fields as in crontab, such as "0 20 * * *".')
    time_zone: str = Field("Etc/UTC", max_length=64, description="Name of the IANA time zone, such as Asia/Shanghai.")
    min_replicas: int = Field(ge=0, le=1000, description="minReplicas from then on; 0 takes all pods away.")


class Scaling(Model):
    """How many replicas there are."""

    replicas: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Exactly so many: what kubectl scale, an HPA or KEDA sets; overrides the rest.",
    )
    min_replicas: int = Field(1, ge=0, le=1000, description="At least so many; 0 to 1000.")
    max_replicas: int | None = Field(
        None, ge=1, le=1000, description="At most so many; minReplicas when absent, so that nothing scales."
    )
    metric: ScalingMetric = Field(
        ScalingMetric.REQUESTS_WAITING,
        description="requestsWaiting or requestsRunning (sum over replicas), kvCacheUsage (mean, 0 to 1).",
    )
    target: float = Field(8, gt=0, le=100_000, description="Value of the metric that one replica is to have.")
    scale_up_seconds: int = Field(
        30, ge=0, le=3600, description="The metric has to ask for more for so long; 0 to 3600."
    )
    scale_down_seconds: int = Field(
        300, ge=0, le=86400, description="The metric has to ask for less for so long; 0 to 86400."
    )
    schedules: Annotated[tuple[Schedule, ...], Field(max_length=32)] = Field(
        (), description="Other minReplicas from given moments on."
    )

    rules: ClassVar[RuleList] = (
        ("!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas", "maxReplicas is at least minReplicas"),
    )


class Probe(Model):
    """The completion that has to come back through the Service before the service is Ready, and again and again."""

    prompt: str = Field("1+1=", min_length=1, max_length=4096, description="What is asked.")
    max_tokens: int = Field(8, ge=1, le=256, description="Tokens of the answer.")
    every_seconds: int = Field(60, ge=5, le=3600, description="Seconds between two; 5 to 3600.")
    start_deadline_seconds: int = Field(
        3600, ge=30, le=86400, description="A new revision that has not answered by then is given up; 30 to 86400."
    )


class Gate(Model):
    """What a new revision has to pass before it gets requests."""

    evaluation: ObjectName = Field(
        description="EvaluationJob of this namespace; a copy of it runs against the new revision alone."
    )


class Rollout(Model):
    """How a new revision takes over."""

    max_surge: int = Field(1, ge=0, le=100, description="Replicas beyond the wanted number, where NPUs are free.")
    max_unavailable: int = Field(0, ge=0, le=100, description="Replicas that may be missing meanwhile.")
    gate: Gate | None = Field(None, description="What it has to pass first.")

    rules: ClassVar[RuleList] = (
        (
            "!has(self.maxSurge) || !has(self.maxUnavailable) || self.maxSurge > 0 || self.maxUnavailable > 0",
            "maxSurge and maxUnavailable cannot both be 0",
        ),
    )


class CanaryModel(Model):
    """The other version."""

    uri: Uri | None = Field(None, description="Folder with Hugging Face files. Schemes: file://, pvc://CLAIM/PATH.")
    from_job: ObjectName | None = Field(None, description="FineTuneJob of this namespace whose result is served.")

    rules: ClassVar[RuleList] = (("has(self.uri) != has(self.fromJob)", "give either uri or fromJob"),)


class Canary(Model):
    """A second version behind the same address. Promote: put its model into spec.model and remove the canary."""

    model: CanaryModel = Field(description="What it serves, under the same name.")
    weight: int = Field(10, ge=0, le=100, description="Percent of the requests that it gets; 0 to 100.")
    replicas: int = Field(1, ge=1, le=1000, description="Replicas of it.")
    sticky_header: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9-]+$",
        description="Requests with the same value of this header go to the same version.",
    )


class SecretName(Model):
    """Name of a Secret."""

    name: ObjectName = Field(description="Name of a Secret of this namespace.")


class ServiceOptions(Model):
    """The Kubernetes Service."""

    type: ServiceType = Field(ServiceType.CLUSTER_IP, description="ClusterIP, NodePort or LoadBalancer.")
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = Field(
        default_factory=dict, description="Annotations for the cloud, such as kubernetes.io/elb.id."
    )


class Access(Model):
    """Who may ask, and where."""

    api_keys_secret_ref: SecretName | None = Field(
        None, description="Secret whose values are the keys that are let in (Authorization: Bearer KEY)."
    )
    tls_secret_ref: SecretName | None = Field(
        None, description="Secret of type kubernetes.io/tls; the address then speaks HTTPS."
    )
    service: ServiceOptions = Field(default_factory=ServiceOptions, description="The Kubernetes Service.")


class InferenceServiceSpec(Model):
    """What the user wants. Every change but scaling, probe, canary weight and suspend makes a new revision."""

    model: ServedModel = Field(description="What is served.")
    serving: Serving = Field(default_factory=Serving, description="The engine and how it serves.")
    nodes: int = Field(1, ge=1, le=64, description="Pods of one replica, each on a node of its own; 1 to 64.")
    npus_per_node: Annotated[int, AnyOf(NPU_COUNTS)] = Field(
        1, ge=1, le=16, description="NPUs of each pod: 1 to 8, or 10, 12, 14, 16; the chip family may allow fewer."
    )
    runtime: ServingRuntime = Field(default_factory=ServingRuntime, description="Image, resources, pod template.")
    scaling: Scaling = Field(default_factory=Scaling, description="How many replicas there are.")
    probe: Probe = Field(default_factory=Probe, description="The completion that proves that it answers.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over.")
    canary: Canary | None = Field(None, description="A second version behind the same address.")
    access: Access = Field(default_factory=Access, description="Who may ask, and where.")
    suspend: bool = Field(False, description="true takes all pods away; false brings them back.")


class InferenceService(CustomObject):
    """A model that answers over HTTP in OpenAI's protocol."""

    kind: ClassVar[str] = names.INFERENCE_SERVICE
    short: ClassVar[str] = names.INFERENCE_SHORT
    blank: ClassVar[dict[str, Any]] = {"model": {"uri": "file:///blank"}}

    spec: InferenceServiceSpec
    status: InferenceServiceStatus = Field(default_factory=InferenceServiceStatus)

    @property
    def served_name(self) -> str:
        """Model name in requests."""
        return self.spec.model.served_name or self.metadata.name
