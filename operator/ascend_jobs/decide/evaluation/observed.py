"""What one pass over an EvaluationJob knows, read once and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ascend_jobs import names
from ascend_jobs.api.evaluationjob import EvaluationJob
from ascend_jobs.decide.observed import Defaults, NodeView, PodView, ProgressView


@dataclass(frozen=True)
class ServiceView:
    """An InferenceService that the spec names: whether it answers, where, and what it serves."""

    name: str
    found: bool = False
    ready: bool = False
    settled: bool = False
    """No other version is on its way in."""
    message: str = ""
    url: str = ""
    model: str = ""
    engine: str = ""
    revision: str = ""
    """Digest of what it serves."""
    keys_secret: str | None = None


@dataclass(frozen=True)
class EvaluationObserved:
    """Everything a pass decides from. `targets` are the InferenceServices that the spec names, by name."""

    job: EvaluationJob
    now: datetime
    pods: tuple[PodView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    missing_claims: tuple[str, ...] | None = None
    targets: Mapping[str, ServiceView] = field(default_factory=dict)
    progress: ProgressView = field(default_factory=ProgressView)
    defaults: Defaults = field(default_factory=Defaults)

    def pod_of_run(self) -> PodView | None:
        """Return the pod of the present try of the present run."""
        run = self.job.status.run
        name = names.evaluate_name(self.job.base, run.number, run.try_number)
        return next((pod for pod in self.pods if pod.name == name), None)
