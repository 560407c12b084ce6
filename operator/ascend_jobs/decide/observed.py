"""What one pass knows: the job, its children, the nodes and the clock, read once and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.decide.plan import Manifest


class PodPhase(StrEnum):
    """A pod's phase (Kubernetes API, PodStatus.phase)."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class ContainerView:
    """State of one container: waiting, running or exited; `restarts` counts kubelet restarts."""

    name: str
    waiting_reason: str = ""
    waiting_message: str = ""
    running: bool = False
    exit_code: int | None = None
    exit_reason: str = ""
    exit_message: str = ""
    """Of the container's end, or of its last one when it was restarted since."""
    restarts: int = 0
    ended: datetime | None = None
    """When it exited."""


@dataclass(frozen=True)
class PodView:
    """A pod of the job. `attempt` and `index` come from its labels (0 when absent, as for the prepare pod)."""

    name: str
    uid: str
    role: str
    attempt: int
    index: int
    phase: PodPhase = PodPhase.PENDING
    ready: bool = False
    """Condition Ready: a Service sends it requests."""
    revision: int = 0
    """Of a service's pod: label revision; `index` is then its number in its replica, `replica` the replica's."""
    replica: int = 0
    created: datetime | None = None
    deleting: bool = False
    node: str = ""
    ip: str = ""
    host_ip: str = ""
    reason: str = ""
    message: str = ""
    scheduling_message: str = ""
    """Message of condition PodScheduled while it is False."""
    disrupted: bool = False
    """Condition DisruptionTarget is True: evicted, preempted, drained, deleted by the pod garbage collector."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Only the device reports, hccl/rankIndex, the touch and the digest of a proxy."""
    containers: tuple[ContainerView, ...] = ()
    """Init containers first, in the order of the spec."""

    def container(self, name: str) -> ContainerView | None:
        """Return the state of a container by name, None before the kubelet reported it."""
        return next((c for c in self.containers if c.name == name), None)

    @property
    def finished(self) -> bool:
        """Say whether all containers ended for good."""
        return self.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)


@dataclass(frozen=True)
class ChildView:
    """A ConfigMap, Service or ControllerRevision of the job, whole."""

    name: str
    uid: str
    version: str
    """resourceVersion."""
    manifest: Manifest
    deleting: bool = False


@dataclass(frozen=True)
class NodeView:
    """A node that offers NPUs: allocatable and requested counts by resource name, CPU in cores, memory in bytes."""

    name: str
    ready: bool
    schedulable: bool
    labels: Mapping[str, str]
    npus: Mapping[str, int]
    cpu: float
    memory: int


@dataclass(frozen=True)
class ProgressView:
    """The newest lines a log stream gave, already checked; each as the contract's JSON object."""

    progress: Mapping[str, object] | None = None
    validation: Mapping[str, object] | None = None
    checkpoint: Mapping[str, object] | None = None


@dataclass(frozen=True)
class RivalView:
    """Another job of the namespace that is not terminal and writes to an output URI."""

    name: str
    uid: str
    created: datetime
    output: str


@dataclass(frozen=True)
class Defaults:
    """What the installation gives to jobs that do not say: images and pull secrets from the chart."""

    image: str = ""
    prepare_image: str = ""
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()
    serve_image: str = ""
    proxy_image: str = ""
    engine: str = ""


@dataclass(frozen=True)
class Observed:
    """Everything a pass decides from."""

    job: FineTuneJob
    now: datetime
    pods: tuple[PodView, ...] = ()
    config_maps: tuple[ChildView, ...] = ()
    services: tuple[ChildView, ...] = ()
    revisions: tuple[ChildView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    free_npus: int | None = None
    """NPUs that no pod holds, over ready and schedulable nodes; None when nodes cannot be read (namespaced mode)."""
    missing_claims: tuple[str, ...] | None = None
    """PersistentVolumeClaims of the spec that do not exist; None when nobody looked (only before the first attempt)."""
    rivals: tuple[RivalView, ...] = ()
    progress: ProgressView = ProgressView()
    defaults: Defaults = Defaults()
