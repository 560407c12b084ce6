"""What a pass decides: actions, the new status, events, when to look again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ascend_jobs import names

Manifest = dict[str, Any]
"""A Kubernetes object as JSON; the one place where Any is meant."""


class Kind(Enum):
    """The kinds of children; the value is the pair (API path prefix, plural). What makes pods comes before pods."""

    DEPLOYMENT = ("apis/apps/v1", "deployments")
    STATEFUL_SET = ("apis/apps/v1", "statefulsets")
    POD = ("api/v1", "pods")
    SERVICE = ("api/v1", "services")
    CONFIG_MAP = ("api/v1", "configmaps")
    REVISION = ("apis/apps/v1", "controllerrevisions")
    EVALUATION = (f"apis/{names.API_VERSION}", names.EVALUATION_JOBS)


@dataclass(frozen=True)
class Create:
    """POST a child; success also when a child of this job with that name is already there."""

    kind: Kind
    manifest: Manifest


@dataclass(frozen=True)
class Update:
    """Merge-patch a child seen to be ours; the patch carries its uid, and `version` (resourceVersion) when given."""

    kind: Kind
    name: str
    uid: str
    patch: Manifest
    version: str | None = None


@dataclass(frozen=True)
class Delete:
    """Delete a child with its uid as precondition; success also when it is gone."""

    kind: Kind
    name: str
    uid: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class DeleteJob:
    """Delete the job itself (its TTL ended)."""


Action = Create | Update | Delete | DeleteJob


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event on the job; posted after the status that it announces was written."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class ProbeTarget:
    """A completion that is asked for again and again: where, of which model, with which prompt, how often."""

    name: str
    """What the answer is known by in the next passes."""
    service: str
    address: str
    """Its cluster IP. Not its name: that of a new Service may be answered by somebody else's DNS for a while."""
    port: int
    model: str
    prompt: str
    max_tokens: int
    every_seconds: float
    tls: bool = False


@dataclass(frozen=True)
class ScrapeTarget:
    """A pod whose engine tells its load: names of its metrics for requests running and waiting, and KV-cache use.

    With `proxy` it is a proxy that tells the traffic of each version instead.
    """

    pod: str
    ip: str
    port: int
    path: str
    running: str = ""
    waiting: str = ""
    kv_cache: str = ""
    proxy: bool = False


@dataclass(frozen=True)
class Plan:
    """What one pass does, in this order: actions, status, events, follow.

    Neighbouring actions of the same type and kind may run side by side; others keep their order.
    `status` is the whole new status as JSON, or None when it is not to be written.
    `follow` names the pod and container whose log tells the progress, None when nobody has to be followed;
    `probes` and `scrapes` what has to be asked from now on.
    """

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    follow: tuple[str, str] | None = None
    probes: tuple[ProbeTarget, ...] = ()
    scrapes: tuple[ScrapeTarget, ...] = ()
