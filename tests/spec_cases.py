"""Specs that are taken and that are refused, of every kind: for the API server and for the offline check."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names

FTJ, AISVC, EVJ = names.FINE_TUNE_JOB, names.INFERENCE_SERVICE, names.EVALUATION_JOB
_MODEL = {"uri": "file:///opt/model"}

_SPECS: dict[str, dict[str, Any]] = {
    FTJ: {"model": _MODEL, "dataset": {"uri": "pvc://data/faq.jsonl"}, "output": {"uri": "pvc://models/faq"}},
    AISVC: {"model": _MODEL},
    EVJ: {"target": {"service": "faq"}, "suites": [{"name": "ceval", "uri": "pvc://eval/ceval"}]},
}
SMALLEST: dict[str, dict[str, Any]] = {
    kind: {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "metadata": {"name": "faq", "namespace": "default"},
        "spec": spec,
    }
    for kind, spec in _SPECS.items()
}
"""The smallest object that is taken, by kind."""


@dataclass(frozen=True)
class Refused:
    """A change to the smallest object (path -> value; None removes), the field that is named, words of the reason."""

    id: str
    changes: dict[str, Any]
    field: str
    words: str = ""
    kind: str = FTJ


@dataclass(frozen=True)
class Taken:
    """A change to the smallest object that leaves it valid, to the server as offline."""

    id: str
    changes: dict[str, Any]
    kind: str


def made(changes: Mapping[str, Any], kind: str = FTJ) -> dict[str, Any]:
    """Return the smallest object of a kind with changes at dotted paths; a number is a place in a list."""
    found = copy.deepcopy(SMALLEST[kind])
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = found
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        if isinstance(place, list):
            place[int(last)] = copy.deepcopy(value)
        elif value is None:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return found


def _names(kind: str) -> tuple[Refused, ...]:
    """Return the names that no kind takes."""
    return (
        Refused("name-too-long", {"metadata.name": "a" * 41}, "metadata.name", "name has at most 40 characters", kind),
        Refused("name-begins-with-digit", {"metadata.name": "1a"}, "metadata.name", "name begins with a-z", kind),
        Refused("name-with-dot", {"metadata.name": "a.b"}, "metadata.name", "name begins with a-z", kind),
        Refused("no-spec", {"spec": None}, "spec", "", kind),
        Refused("quantity", {"spec.runtime.resources.memory": "much"}, "spec.runtime.resources.memory", "", kind),
        Refused("template-is-no-object", {"spec.runtime.podTemplate": "x"}, "spec.runtime.podTemplate", "", kind),
    )


_FINE_TUNE = (
    *_names(FTJ),
    Refused("no-model", {"spec.model": None}, "spec.model"),
    Refused("no-dataset", {"spec.dataset": None}, "spec.dataset"),
    Refused("no-output", {"spec.output": None}, "spec.output"),
    Refused("unknown-scheme", {"spec.model.uri": "ftp://host/x"}, "spec.model.uri"),
    Refused("no-uri-and-no-sources", {"spec.dataset.uri": None}, "spec.dataset", "give either uri or sources"),
    Refused(
        "uri-and-sources",
        {"spec.dataset.sources": [{"uri": "pvc://data/b.jsonl"}]},
        "spec.dataset",
        "give either uri or sources",
    ),
    Refused(
        "format-beside-sources",
        {
            "spec.dataset.uri": None,
            "spec.dataset.format": "alpaca",
            "spec.dataset.sources": [{"uri": "pvc://data/b.jsonl"}],
        },
        "spec.dataset.format",
        "format goes with uri",
    ),
    Refused(
        "two-sources",
        {"spec.dataset.uri": None, "spec.dataset.sources": [{"uri": "pvc://a/b"}, {"uri": "pvc://a/c"}]},
        "spec.dataset.sources",
    ),
    Refused("unknown-format", {"spec.dataset.format": "csv"}, "spec.dataset.format"),
    Refused("output-in-the-image", {"spec.output.uri": "file:///out"}, "spec.output.uri"),
    Refused("output-is-a-claim", {"spec.output.uri": "pvc://models/"}, "spec.output.uri", "path below the claim"),
    Refused("npu-count", {"spec.npusPerNode": 9}, "spec.npusPerNode"),
    Refused("no-nodes", {"spec.nodes": 0}, "spec.nodes"),
    Refused("learning-rate-zero", {"spec.training.hyperparameters.learningRate": 0}, "learningRate"),
    Refused("number-as-text", {"spec.training.hyperparameters.epochs": "3"}, "spec.training.hyperparameters.epochs"),
    Refused("unknown-backend", {"spec.training.backend": "magic"}, "spec.training.backend"),
    Refused("unknown-policy", {"spec.runtime.rankTable": "Sometimes"}, "spec.runtime.rankTable"),
    Refused("negative-ttl", {"spec.ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
)


def _service(id: str, changes: dict[str, Any], field: str, words: str = "") -> Refused:
    return Refused(id, changes, field, words, AISVC)


_CUSTOM = {"engine": "custom", "command": ["serve"], "port": 8000}
_EITHER = "give either uri or fromJob"
_NEEDS, _GO = "engine custom needs command and port", "command, port and readinessPath go with engine custom"

_SERVICE = (
    *_names(AISVC),
    _service("no-model", {"spec.model": None}, "spec.model"),
    _service("no-uri-and-no-job", {"spec.model.uri": None}, "spec.model", _EITHER),
    _service("uri-and-job", {"spec.model.fromJob": "tune"}, "spec.model", _EITHER),
    _service("unknown-scheme", {"spec.model.uri": "hf://org/model"}, "spec.model.uri"),
    _service("job-of-another-namespace", {"spec.model": {"fromJob": "team-b/tune"}}, "spec.model.fromJob"),
    _service("served-name", {"spec.model.servedName": "two words"}, "spec.model.servedName"),
    _service("adapter-without-uri", {"spec.model.adapters": [{"name": "a"}]}, "spec.model.adapters[0]"),
    _service("unknown-method", {"spec.model.quantization": {"method": "w4a4"}}, "spec.model.quantization.method"),
    _service("unknown-engine", {"spec.serving.engine": "tgi"}, "spec.serving.engine"),
    _service("custom-without-all", {"spec.serving.engine": "custom"}, "spec.serving.engine", _NEEDS),
    _service("custom-without-command", {"spec.serving": {**_CUSTOM, "command": []}}, "spec.serving.engine", _NEEDS),
    _service(
        "custom-without-port",
        {"spec.serving": {"engine": "custom", "command": ["serve"]}},
        "spec.serving.engine",
        _NEEDS,
    ),
    _service("command-of-no-engine", {"spec.serving.command": ["serve"]}, "spec.serving.command", _GO),
    _service("command-of-cpu", {"spec.serving": {"engine": "cpu", "command": ["serve"]}}, "spec.serving.command", _GO),
    _service("port-of-cpu", {"spec.serving": {"engine": "cpu", "port": 80}}, "spec.serving.command", _GO),
    _service("path-of-no-engine", {"spec.serving.readinessPath": "/ready"}, "spec.serving.command", _GO),
    _service("path-of-no-root", {"spec.serving": {**_CUSTOM, "readinessPath": "x"}}, "spec.serving.readinessPath"),
    _service("arguments-are-no-object", {"spec.serving.engineArgs": ["--x"]}, "spec.serving.engineArgs"),
    _service("nine-npus", {"spec.npusPerNode": 9}, "spec.npusPerNode"),
    _service("no-nodes", {"spec.nodes": 0}, "spec.nodes"),
    _service("no-parallelism", {"spec.serving.parallelism.tensor": 0}, "spec.serving.parallelism.tensor"),
    _service(
        "fewer-than-least",
        {"spec.scaling": {"minReplicas": 3, "maxReplicas": 2}},
        "spec.scaling.maxReplicas",
        "maxReplicas is at least minReplicas",
    ),
    _service("target-zero", {"spec.scaling.target": 0}, "spec.scaling.target"),
    _service("unknown-metric", {"spec.scaling.metric": "cpu"}, "spec.scaling.metric"),
    _service("schedule-without-least", {"spec.scaling.schedules": [{"cron": "0 8 * * *"}]}, "spec.scaling.schedules"),
    _service("probe-too-often", {"spec.probe.everySeconds": 1}, "spec.probe.everySeconds"),
    _service(
        "no-room-to-roll",
        {"spec.rollout": {"maxSurge": 0, "maxUnavailable": 0}},
        "spec.rollout.maxSurge",
        "maxSurge and maxUnavailable cannot both be 0",
    ),
    _service(
        "no-room-to-roll-by-default",
        {"spec.rollout.maxSurge": 0},
        "spec.rollout.maxSurge",
        "maxSurge and maxUnavailable cannot both be 0",
    ),
    _service("gate-without-evaluation", {"spec.rollout.gate": {}}, "spec.rollout.gate"),
    _service("canary-without-model", {"spec.canary": {"weight": 5}}, "spec.canary"),
    _service("canary-of-nothing", {"spec.canary": {"model": {}}}, "spec.canary.model", _EITHER),
    _service(
        "canary-of-both", {"spec.canary.model": {"uri": "pvc://m/a", "fromJob": "a"}}, "spec.canary.model", _EITHER
    ),
    _service("canary-beyond-all", {"spec.canary": {"model": _MODEL, "weight": 101}}, "spec.canary.weight"),
    _service("header", {"spec.canary": {"model": _MODEL, "stickyHeader": "a b"}}, "spec.canary.stickyHeader"),
    _service("service-type", {"spec.access.service.type": "ExternalName"}, "spec.access.service.type"),
    _service("secret-without-name", {"spec.access.apiKeysSecretRef": {}}, "spec.access.apiKeysSecretRef"),
    _service("secret-name", {"spec.access.tlsSecretRef.name": "A"}, "spec.access.tlsSecretRef.name"),
    _service("annotation-is-no-text", {"spec.access.service.annotations": {"a": 1}}, "spec.access.service.annotations"),
    _service("suspend-is-no-word", {"spec.suspend": "yes"}, "spec.suspend"),
)


def _evaluation(id: str, changes: dict[str, Any], field: str, words: str = "") -> Refused:
    return Refused(id, changes, field, words, EVJ)


_SERVER = {"url": "http://10.0.0.7:8000", "model": "m"}
_OWN = {"name": "kpi", "type": "command", "image": "kpi:1", "command": ["run"]}
_SOMEBODY = "give either service or url"
_NEEDS_COMMAND = "type command needs command, and the others have none"
_HOLDS = "uri holds the questions; command has none"
_ENOUGH = "give suites, performance, or both"

_EVALUATION = (
    *_names(EVJ),
    _evaluation("no-target", {"spec.target": None}, "spec.target"),
    _evaluation("nobody-asked", {"spec.target": {"model": "m"}}, "spec.target", _SOMEBODY),
    _evaluation("two-asked", {"spec.target": {**_SERVER, "service": "faq"}}, "spec.target", _SOMEBODY),
    _evaluation("two-compared", {"spec.baseline": {**_SERVER, "service": "faq"}}, "spec.baseline", _SOMEBODY),
    _evaluation("url-alone", {"spec.target": {"url": "http://a:80"}}, "spec.target.url", "url needs model"),
    _evaluation("url-with-a-path", {"spec.target": {**_SERVER, "url": "http://a:80/v1"}}, "spec.target.url"),
    _evaluation("url-of-no-scheme", {"spec.target": {**_SERVER, "url": "a:80"}}, "spec.target.url"),
    _evaluation("nothing-asked", {"spec.suites": None}, "spec", _ENOUGH),
    _evaluation("no-suites", {"spec.suites": []}, "spec", _ENOUGH),
    _evaluation("suite-without-name", {"spec.suites.0.name": None}, "spec.suites[0].name"),
    _evaluation("suite-name", {"spec.suites": [{**_OWN, "name": "KPI"}]}, "spec.suites[0].name"),
    _evaluation("suite-twice", {"spec.suites": [_OWN, _OWN]}, "spec.suites[1]"),
    _evaluation("unknown-suite", {"spec.suites.0.name": "own"}, "spec.suites[0]", "give type: ceval, mmlu, gsm8k"),
    _evaluation("unknown-type", {"spec.suites.0.type": "exam"}, "spec.suites[0].type"),
    _evaluation(
        "command-without-command", {"spec.suites": [{**_OWN, "command": []}]}, "spec.suites[0]", _NEEDS_COMMAND
    ),
    _evaluation("command-of-questions", {"spec.suites.0.command": ["run"]}, "spec.suites[0]", _NEEDS_COMMAND),
    _evaluation(
        "command-with-questions", {"spec.suites": [{**_OWN, "uri": "pvc://e/c"}]}, "spec.suites[0].uri", _HOLDS
    ),
    _evaluation("no-questions", {"spec.suites.0.uri": None}, "spec.suites[0].uri", _HOLDS),
    _evaluation("results-elsewhere", {"spec.suites": [{**_OWN, "results": "/tmp/a.json"}]}, "spec.suites[0].results"),
    _evaluation("unknown-scoring", {"spec.suites.0.scoring": "Judge"}, "spec.suites[0].scoring"),
    _evaluation("no-questions-at-once", {"spec.suites.0.concurrency": 0}, "spec.suites[0].concurrency"),
    _evaluation("performance-without-prompts", {"spec.performance": {"requests": 3}}, "spec.performance"),
    _evaluation(
        "nobody-at-once",
        {"spec.performance": {"uri": "pvc://e/p", "concurrency": [0]}},
        "spec.performance.concurrency[0]",
    ),
    _evaluation(
        "no-rate",
        {"spec.performance": {"uri": "pvc://e/p", "requestsPerSecond": [0]}},
        "spec.performance.requestsPerSecond[0]",
    ),
    _evaluation("unknown-change", {"spec.triggers.onChange": ["weather"]}, "spec.triggers.onChange[0]"),
    _evaluation("schedule-too-short", {"spec.triggers.schedule": "@daily"}, "spec.triggers.schedule"),
    _evaluation(
        "criterion-of-nothing", {"spec.acceptance": [{"metric": "ceval.accuracy"}]}, "spec.acceptance[0]", "give min"
    ),
    _evaluation("criterion-without-metric", {"spec.acceptance": [{"min": 0.5}]}, "spec.acceptance[0]"),
    _evaluation("drop-below-zero", {"spec.acceptance": [{"metric": "a", "maxDrop": -1}]}, "spec.acceptance[0].maxDrop"),
    _evaluation("reports-in-the-image", {"spec.output.uri": "file:///reports"}, "spec.output.uri"),
    _evaluation("no-history", {"spec.output": {"uri": "pvc://e/r", "historyLimit": 0}}, "spec.output.historyLimit"),
    _evaluation("negative-ttl", {"spec.ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
    _evaluation("negative-limit", {"spec.backoffLimit": -1}, "spec.backoffLimit"),
)

REFUSED = (*_FINE_TUNE, *_SERVICE, *_EVALUATION)

TAKEN = (
    Taken("from-job", {"spec.model": {"fromJob": "tune"}}, AISVC),
    Taken("engine-of-their-own", {"spec.serving": {**_CUSTOM, "readinessPath": "/ready"}}, AISVC),
    Taken("arguments", {"spec.serving": {"engine": "cpu", "engineArgs": {"seed": 3}}}, AISVC),
    Taken("as-many-as-least", {"spec.scaling": {"minReplicas": 2, "maxReplicas": 2}}, AISVC),
    Taken("more-than-most-by-hand", {"spec.scaling": {"replicas": 9, "maxReplicas": 2}}, AISVC),
    Taken("none-at-night", {"spec.scaling.schedules": [{"cron": "0 20 * * *", "minReplicas": 0}]}, AISVC),
    Taken("old-one-makes-room", {"spec.rollout": {"maxSurge": 0, "maxUnavailable": 1}}, AISVC),
    Taken("gate", {"spec.rollout.gate.evaluation": "check"}, AISVC),
    Taken("canary", {"spec.canary.model": {"fromJob": "tune"}}, AISVC),
    Taken(
        "access",
        {
            "spec.access": {
                "apiKeysSecretRef": {"name": "keys"},
                "tlsSecretRef": {"name": "tls"},
                "service": {"type": "LoadBalancer", "annotations": {"kubernetes.io/elb.id": "x"}},
            }
        },
        AISVC,
    ),
    Taken("adapters", {"spec.model.adapters": [{"name": "legal", "uri": "pvc://m/legal"}]}, AISVC),
    Taken("longest-name", {"metadata.name": "a" * 40}, AISVC),
    Taken("server", {"spec.target": _SERVER}, EVJ),
    Taken("against-another", {"spec.baseline": {**_SERVER, "url": "https://a.b:443/"}}, EVJ),
    Taken("command", {"spec.suites": [_OWN]}, EVJ),
    Taken("named-otherwise", {"spec.suites.0": {"name": "own", "type": "mmlu", "uri": "pvc://e/m"}}, EVJ),
    Taken("performance-alone", {"spec.suites": None, "spec.performance": {"uri": "pvc://e/p"}}, EVJ),
    Taken("reports", {"spec.output": {"uri": "pvc://eval/reports"}}, EVJ),
    Taken("again", {"spec.triggers": {"schedule": "0 2 * * *", "onChange": ["target", "suites"]}}, EVJ),
    Taken("criteria", {"spec.acceptance": [{"metric": "ceval.accuracy", "min": 0.5, "maxDrop": 0.0}]}, EVJ),
)
