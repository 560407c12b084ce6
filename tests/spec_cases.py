"""Specs that are refused, with the field and words of the refusal: for the API server and for offline checks."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

SMALLEST: dict[str, Any] = {
    "apiVersion": "ascendjobs.io/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "faq", "namespace": "default"},
    "spec": {
        "model": {"uri": "file:///opt/model"},
        "dataset": {"uri": "pvc://data/faq.jsonl"},
        "output": {"uri": "pvc://models/faq"},
    },
}
"""The smallest job that is taken."""


@dataclass(frozen=True)
class Refused:
    """A change to the smallest job (path -> value; None removes), the field that is named and words of the reason."""

    id: str
    changes: dict[str, Any]
    field: str
    words: str = ""


def made(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the smallest job with changes at dotted paths."""
    job = copy.deepcopy(SMALLEST)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = job
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return job


REFUSED = (
    Refused("name-too-long", {"metadata.name": "a" * 41}, "metadata.name", "name has at most 40 characters"),
    Refused("name-begins-with-digit", {"metadata.name": "1a"}, "metadata.name", "name begins with a-z"),
    Refused("name-with-dot", {"metadata.name": "a.b"}, "metadata.name", "name begins with a-z"),
    Refused("no-spec", {"spec": None}, "spec"),
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
    Refused("quantity", {"spec.runtime.resources.memory": "much"}, "spec.runtime.resources.memory"),
    Refused("template-is-no-object", {"spec.runtime.podTemplate": "x"}, "spec.runtime.podTemplate"),
    Refused("negative-ttl", {"spec.ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
)
