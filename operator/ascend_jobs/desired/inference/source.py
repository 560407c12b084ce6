"""What a service serves: the model's folder and its adapters, from spec.model or from a FineTuneJob's result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ascend_jobs.api.inferenceservice import InferenceService


@dataclass(frozen=True)
class AdapterSource:
    """A LoRA adapter: its model name in requests, its URI, and the field that names it."""

    name: str
    uri: str
    field: str


@dataclass(frozen=True)
class Source:
    """Model and adapters by URI. `digest` tells results of a job apart that stand at the same URI."""

    model_uri: str
    model_name: str
    """Model name in requests of the model itself; the served name may be an adapter's."""
    adapters: tuple[AdapterSource, ...] = ()
    digest: str = ""
    field: str = "spec.model.uri"

    @property
    def uris(self) -> tuple[str, ...]:
        """All URIs that are read."""
        return (self.model_uri, *(adapter.uri for adapter in self.adapters))


def base_model_name(served: str) -> str:
    """Return the model name of the base when an adapter carries the served name."""
    return f"{served}-base"


def input_digest(service: InferenceService, source: Source, track: str) -> str:
    """Return the SHA-256 of all that a revision is made of; what the installation gives is not part of it.

    So an upgrade of the operator, with other default images, leaves running services as they are.
    """
    spec = service.spec
    made_of: dict[str, Any] = {
        "source": [source.model_uri, source.model_name, [[a.name, a.uri] for a in source.adapters], source.digest],
        "quantization": spec.model.quantization.wire() if spec.model.quantization else None,
        "serving": spec.serving.wire(),
        "nodes": spec.nodes,
        "npusPerNode": spec.npus_per_node,
        "runtime": spec.runtime.wire(),
        "track": track,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
