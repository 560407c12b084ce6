"""What an engine is told and what it gives: the types between the service's builder and the engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ascend_jobs.api.inferenceservice import Engine, QuantizationMethod, Serving

Problem = tuple[str, str]
"""Field path as users write it, and a sentence that says what to do."""


@dataclass(frozen=True)
class ServedAdapter:
    """A LoRA adapter: its name in requests, its folder in the container, its rank where it is known."""

    name: str
    path: str
    rank: int | None = None


@dataclass(frozen=True)
class EngineInput:
    """All that decides how a replica's containers are started."""

    engine: Engine
    version: str | None
    """Version of the engine in the image; None: the newest that is known."""
    model_path: str
    """Folder in the container."""
    served_name: str
    adapters: tuple[ServedAdapter, ...]
    serving: Serving
    nodes: int
    npus: int
    """NPUs of each pod."""
    quantization: QuantizationMethod | None
    head: str
    """DNS name of the replica's pod 0; only used with more than one node."""
    files_name: str
    """Name of the ConfigMap that holds EngineParts.files."""


@dataclass(frozen=True)
class MetricsSource:
    """Where the engine tells its load (Prometheus text), and the names of the three gauges that scaling reads."""

    port: int
    path: str
    running: str
    waiting: str
    kv_cache: str


@dataclass(frozen=True)
class EngineParts:
    """What the engine adds to a pod; image, resources and claims are added by the caller."""

    container: Mapping[str, Any]
    """The container `server`."""
    port: int
    """Port of the OpenAI API."""
    metrics: MetricsSource | None
    init_containers: tuple[Mapping[str, Any], ...] = ()
    """In order, after those that wait for a rank table; without images."""
    volumes: tuple[Mapping[str, Any], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Data of the ConfigMap `files_name`; no ConfigMap is needed when empty."""
    pod_security: Mapping[str, Any] = field(default_factory=dict)
    """The pod's securityContext."""
    grace_seconds: int = 30
    """terminationGracePeriodSeconds."""
    needs_rank_table: bool = False
    """The pod needs the rank table in names.RANK_TABLE_DIR, and an init container that waits for it."""
