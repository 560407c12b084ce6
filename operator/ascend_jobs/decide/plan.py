"""What a pass decides: actions, the new status, events, when to look again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Manifest = dict[str, Any]
"""A Kubernetes object as JSON; the one place where Any is meant."""


class Kind(Enum):
    """The kinds of children; the value is the pair (API path prefix, plural)."""

    POD = ("api/v1", "pods")
    SERVICE = ("api/v1", "services")
    CONFIG_MAP = ("api/v1", "configmaps")
    REVISION = ("apis/apps/v1", "controllerrevisions")


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
class Plan:
    """What one pass does, in this order: actions, status, events, follow.

    Neighbouring actions of the same type and kind may run side by side; others keep their order.
    `status` is the whole new status as JSON, or None when it is not to be written.
    `follow` names the pod and container whose log tells the progress, None when nobody has to be followed.
    """

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    follow: tuple[str, str] | None = None
