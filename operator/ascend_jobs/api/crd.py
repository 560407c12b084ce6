"""The list of kinds, and the CustomResourceDefinition of each, made from its models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.base import Model
from ascend_jobs.api.evaluationjob import EvaluationJobSpec
from ascend_jobs.api.evaluationjob_status import EvaluationJobStatus
from ascend_jobs.api.finetunejob import FineTuneJobSpec
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus
from ascend_jobs.api.inferenceservice import InferenceServiceSpec
from ascend_jobs.api.inferenceservice_status import InferenceServiceStatus
from ascend_jobs.api.structural import RULES, Schema, structural_schema

CATEGORIES = ("all", "ascend")
"""`kubectl get all` and `kubectl get ascend` list every kind."""


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; `wide` ones are only shown with -o wide."""

    name: str
    type: str
    path: str
    description: str
    wide: bool = False

    def manifest(self) -> dict[str, Any]:
        """Return the entry of additionalPrinterColumns."""
        return {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            "description": self.description,
            "priority": int(self.wide),
        }


@dataclass(frozen=True)
class CustomKind:
    """What a CustomResourceDefinition is made of."""

    kind: str
    plural: str
    short: str
    description: str
    spec: type[Model]
    status: type[Model]
    columns: tuple[Column, ...]
    scale: dict[str, str] | None = None
    """The scale subresource's paths, for kubectl scale, HPA and KEDA."""


_AGE = Column("Age", "date", ".metadata.creationTimestamp", "Time since the object was made.")
_MESSAGE = Column("Message", "string", ".status.message", "What is happening, one line.", wide=True)

FINE_TUNE = CustomKind(
    kind=names.FINE_TUNE_JOB,
    plural=names.FINE_TUNE_JOBS,
    short=names.FINE_TUNE_SHORT,
    description="A fine-tune of a model on a dataset, distributed over Ascend NPUs.",
    spec=FineTuneJobSpec,
    status=FineTuneJobStatus,
    columns=(
        Column("Phase", "string", ".status.phase", "One word on where the job is."),
        Column("Nodes", "integer", ".spec.nodes", "Pods that train together."),
        Column("NPUs", "integer", ".spec.npusPerNode", "NPUs of each pod."),
        Column("Running", "integer", ".status.pods.running", "Pods whose trainer runs.", wide=True),
        Column("Step", "integer", ".status.progress.step", "Optimizer steps done."),
        Column("Total", "integer", ".status.progress.totalSteps", "Optimizer steps in all."),
        Column("Loss", "number", ".status.progress.loss", "Training loss of the last step."),
        Column("Attempt", "integer", ".status.attempt.number", "From 0; rises with every restart and resume."),
        _AGE,
        Column("Checkpoint", "integer", ".status.lastCheckpoint.step", "Step of the newest checkpoint.", wide=True),
        _MESSAGE,
    ),
)

INFERENCE = CustomKind(
    kind=names.INFERENCE_SERVICE,
    plural=names.INFERENCE_SERVICES,
    short=names.INFERENCE_SHORT,
    description="A model that answers over HTTP in OpenAI's protocol, on Ascend NPUs.",
    spec=InferenceServiceSpec,
    status=InferenceServiceStatus,
    columns=(
        Column("Phase", "string", ".status.phase", "One word on where the service is."),
        Column("Engine", "string", ".status.engine", "Who serves."),
        Column("Wanted", "integer", ".status.scaling.desired", "Replicas wanted."),
        Column("Ready", "integer", ".status.readyReplicas", "Replicas that take requests."),
        Column("First-Token", "number", ".status.probe.firstTokenMilliseconds", "Of the last probe, milliseconds."),
        Column("Tokens/s", "number", ".status.probe.tokensPerSecond", "Of the last probe.", wide=True),
        Column("Revision", "integer", ".status.revision.number", "Version that gets requests."),
        Column("URL", "string", ".status.url", "Address inside the cluster."),
        _AGE,
        _MESSAGE,
    ),
    scale={
        "specReplicasPath": ".spec.scaling.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)

EVALUATION = CustomKind(
    kind=names.EVALUATION_JOB,
    plural=names.EVALUATION_JOBS,
    short=names.EVALUATION_SHORT,
    description="Numbers about a served model: accuracy, speed, comparison, and whether they are accepted.",
    spec=EvaluationJobSpec,
    status=EvaluationJobStatus,
    columns=(
        Column("Phase", "string", ".status.phase", "One word on where the evaluation is."),
        Column("Run", "integer", ".status.run.number", "The run that is under way, or the last one."),
        Column("Suite", "string", ".status.progress.suite", "What is asked now.", wide=True),
        Column("Done", "integer", ".status.progress.done", "Questions answered of it.", wide=True),
        Column("Result", "string", ".status.headline", "The first metric of the last complete run."),
        Column("Accepted", "string", ".status.accepted", "Every criterion holds."),
        _AGE,
        _MESSAGE,
    ),
)

KINDS = (FINE_TUNE, INFERENCE, EVALUATION)
"""Every kind of this API group, in the order of the documentation."""


def crd_manifests() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinition of every kind."""
    return [_crd_manifest(kind) for kind in KINDS]


def object_schema(kind: CustomKind) -> Schema:
    """Return the schema of a whole object: the name's rules, spec with defaults, status without.

    A default in the status would be shown by the server before the operator has seen anything.
    """
    return {
        "description": kind.description,
        "type": "object",
        "required": ["spec"],
        RULES: _name_rules(),
        "properties": {
            "apiVersion": {"type": "string", "description": f"{names.API_VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": _without(structural_schema(kind.spec), "default"),
            "status": structural_schema(kind.status, defaults=False),
        },
    }


def _without(schema: Schema, keyword: str) -> Schema:
    return {key: value for key, value in schema.items() if key != keyword}


def _name_rules() -> list[dict[str, str]]:
    """Return the rules that keep every child's name a DNS label that a Service may have (Kubernetes 1.28 to 1.37)."""
    return [
        {
            "rule": f"size(self.metadata.name) <= {names.MAX_JOB_NAME}",
            "message": f"name has at most {names.MAX_JOB_NAME} characters, for pods are named after it",
            "fieldPath": ".metadata.name",
        },
        {
            "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "message": "name begins with a-z, goes on with a-z, 0-9 and -, and does not end with -",
            "fieldPath": ".metadata.name",
        },
    ]


def _crd_manifest(kind: CustomKind) -> dict[str, Any]:
    """Return one CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": list(CATEGORIES),
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: CustomKind) -> dict[str, Any]:
    """Return the one version of a kind."""
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}, **({"scale": kind.scale} if kind.scale else {})},
        "additionalPrinterColumns": [column.manifest() for column in kind.columns],
        "schema": {"openAPIV3Schema": object_schema(kind)},
    }
