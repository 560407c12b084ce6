"""What one pass over an InferenceService knows, read once and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.decide.observed import ChildView, Defaults, NodeView, PodView


@dataclass(frozen=True)
class JobView:
    """A FineTuneJob that the spec names: where it stands and what it made."""

    name: str
    found: bool = False
    complete: bool = False
    failed: bool = False
    message: str = ""
    artifact_type: str = ""
    """adapter or model."""
    artifact_uri: str = ""
    artifact_sha256: str = ""
    model_uri: str = ""
    """Its base model."""
    image: str | None = None


@dataclass(frozen=True)
class ProbeView:
    """The last completion that was asked for: milliseconds to its first token, tokens a second after that."""

    time: datetime
    answered: bool
    message: str = ""
    first_token_milliseconds: float | None = None
    tokens_per_second: float | None = None
    failures: int = 0


@dataclass(frozen=True)
class TrafficView:
    """What a proxy counted for one version: requests, errors among them, mean milliseconds of the last 1024."""

    requests: int = 0
    errors: int = 0
    milliseconds: float = 0.0


@dataclass(frozen=True)
class LoadView:
    """What a pod's engine told of itself: requests running and waiting, share of the KV cache in use."""

    time: datetime
    running: float = 0.0
    waiting: float = 0.0
    kv_cache: float = 0.0
    traffic: Mapping[str, TrafficView] = field(default_factory=dict)
    """Of a proxy: by version, stable and canary."""


@dataclass(frozen=True)
class GateView:
    """The EvaluationJob of spec.rollout.gate, and its copy for the present candidate."""

    spec: Mapping[str, Any] | None = None
    """Spec of the one that the service names; None when it is not there."""
    started: bool = False
    """The copy is there."""
    complete: bool = False
    failed: bool = False
    accepted: bool | None = None
    message: str = ""


@dataclass(frozen=True)
class ServiceObserved:
    """Everything a pass decides from. `jobs` are the FineTuneJobs that the spec names, by name."""

    service: InferenceService
    now: datetime
    pods: tuple[PodView, ...] = ()
    config_maps: tuple[ChildView, ...] = ()
    services: tuple[ChildView, ...] = ()
    revisions: tuple[ChildView, ...] = ()
    deployments: tuple[ChildView, ...] = ()
    stateful_sets: tuple[ChildView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    missing_claims: tuple[str, ...] | None = None
    jobs: Mapping[str, JobView] = field(default_factory=dict)
    probes: Mapping[str, ProbeView] = field(default_factory=dict)
    loads: Mapping[str, LoadView] = field(default_factory=dict)
    """By pod name."""
    gate: GateView | None = None
    """None without spec.rollout.gate."""
    gates: tuple[ChildView, ...] = ()
    """All copies of gates, of earlier versions too."""
    defaults: Defaults = field(default_factory=Defaults)

    def servers(self, revision: int) -> tuple[PodView, ...]:
        """Return a revision's pods that are neither ended nor on their way out, in the order of their names."""
        found = (p for p in self.pods if p.role == names.ROLE_SERVER and p.revision == revision)
        return tuple(sorted((p for p in found if not p.deleting and not p.finished), key=lambda p: p.name))
