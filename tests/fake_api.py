"""The API server's verbs in memory, with what matters of its semantics, and with faults at any call.

Uids and resource versions, merge patches with null, the status subresource, uid and version preconditions, graceful
deletion of pods that have a node, watches, label and field selectors, collection of what lost its owner. Each call
yields to the loop once, so that calls side by side interleave.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from ascend_jobs.api.base import format_time
from ascend_jobs.cluster.client import Page, Query
from ascend_jobs.cluster.clock import utc_now
from ascend_jobs.cluster.verbs import JOBS, PODS, Resource
from ascend_jobs.errors import ApiError

Manifest = dict[str, Any]


def wire_copy(value: Any) -> Any:
    """Return what the other end of a connection gets: JSON, not the same objects."""
    return orjson.loads(orjson.dumps(value)) if isinstance(value, dict | list) else value


READS = frozenset({"discover", "get", "list", "watch", "log"})
_WITH_STATUS = (PODS, *JOBS.values())


class Killed(BaseException):
    """The process was killed here; nothing after it runs."""


class Fault(StrEnum):
    """How a call fails."""

    REFUSED = "refused"  # 500, nothing took effect
    LOST = "lost"  # it took effect, the answer got lost
    KILLED = "killed"  # it took effect, and the operator died before it learnt of it
    KILLED_BEFORE = "killed before"  # the operator died before it took effect


@dataclass(frozen=True)
class Call:
    """One call as it was made."""

    verb: str
    resource: str
    name: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it may change something."""
        return self.verb not in READS


@dataclass(eq=False)
class _Watch:
    query: Query
    events: asyncio.Queue[Manifest | None] = field(default_factory=asyncio.Queue)


class Log:
    """A container's log; `end()` closes its streams as the end of the container does."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._ended = False
        self._news = asyncio.Event()

    def write(self, text: str) -> None:
        """Print a line, or more."""
        self._chunks.append(text.encode())
        self._tell()

    def end(self) -> None:
        """Print nothing more."""
        self._ended = True
        self._tell()

    async def read(self, tail: int) -> AsyncGenerator[bytes]:
        """Yield the last chunks and those to come."""
        position = max(0, len(self._chunks) - tail)
        while True:
            while position < len(self._chunks):
                yield self._chunks[position]
                position += 1
            if self._ended:
                return
            await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class FakeApi:
    """Implements ascend_jobs.cluster.client.Api."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._objects: dict[tuple[str, str, str], Manifest] = {}
        self._resources: dict[str, Resource] = {}
        self._version = 100
        self._watches: list[_Watch] = []
        self._faults: dict[int, Fault] = {}
        self.calls: list[Call] = []
        self.kills = 0
        self.logs: dict[tuple[str, str], Log] = {}
        self.listeners: list[Callable[[str, Resource, Manifest], None]] = []
        """Called with (type, resource, object) for each change, as a watch would see it."""
        self.refuse: Callable[[str, Resource, Manifest], ApiError | None] = lambda verb, resource, manifest: None
        """Admission: asked before a create, patch or delete; what it returns is raised."""

    # -- faults ------------------------------------------------------------------------------------------------------

    def fail_at(self, number: int, how: Fault) -> None:
        """Let the number-th call from now on (0 is the next) fail once."""
        self._faults[len(self.calls) + number] = how

    @property
    def writes(self) -> int:
        """Calls that may have changed something so far."""
        return sum(call.is_write for call in self.calls)

    async def _call(self, verb: str, resource: str, name: str, effect: Callable[[], Any]) -> Any:
        how = self._faults.pop(len(self.calls), None)
        self.calls.append(Call(verb, resource, name))
        await asyncio.sleep(0)
        self.kills += how in (Fault.KILLED, Fault.KILLED_BEFORE)
        if how is Fault.KILLED_BEFORE:
            raise Killed
        if how is Fault.REFUSED:
            raise ApiError(500, "injected", reason="InternalError")
        answer = effect()
        if how is Fault.KILLED:
            raise Killed
        if how is Fault.LOST:
            raise ApiError(0, "injected: answer lost")
        await asyncio.sleep(0)
        return Page(wire_copy(answer.items), answer.version) if isinstance(answer, Page) else wire_copy(answer)

    # -- Api ---------------------------------------------------------------------------------------------------------

    async def discover(self, prefix: str) -> frozenset[str]:
        found = frozenset(r.plural for r in (PODS, *JOBS.values()) if r.prefix == prefix)
        answer: frozenset[str] = await self._call("discover", prefix, "", lambda: found)
        return answer

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        answer: Manifest = await self._call("get", resource.plural, name, lambda: self._find(resource, namespace, name))
        return answer

    async def page(self, query: Query, token: str = "") -> Page:
        answer: Page = await self._call("list", query.resource.plural, "", lambda: self._page(query))
        return answer

    async def watch(self, query: Query, version: str) -> AsyncGenerator[Manifest]:
        await self._call("watch", query.resource.plural, "", lambda: None)
        if int(version) != self._version:
            raise ApiError(410, "too old for this fake", reason="Expired")
        watch = _Watch(query)
        self._watches.append(watch)
        try:
            while (event := await watch.events.get()) is not None:
                yield wire_copy(event)
        finally:
            self._watches.remove(watch)

    async def create(self, resource: Resource, namespace: str, manifest: Manifest) -> Manifest:
        answer: Manifest = await self._call(
            "create", resource.plural, manifest["metadata"]["name"], lambda: self.add(resource, namespace, manifest)
        )
        return answer

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Manifest, *, status: bool = False
    ) -> Manifest:
        plural = f"{resource.plural}/status" if status else resource.plural
        answer: Manifest = await self._call(
            "patch", plural, name, lambda: self.change(resource, namespace, name, patch, status=status)
        )
        return answer

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, *, grace_seconds: int | None = None
    ) -> Manifest:
        answer: Manifest = await self._call(
            "delete",
            resource.plural,
            name,
            lambda: self.remove(resource, namespace, name, uid=uid, grace_seconds=grace_seconds),
        )
        return answer

    async def delete_collection(self, query: Query) -> None:
        def effect() -> None:
            for found in list(self._select(query)):
                self.remove(query.resource, found["metadata"]["namespace"], found["metadata"]["name"])

        await self._call("deletecollection", query.resource.plural, "", effect)

    async def read_log(self, namespace: str, pod: str, container: str, *, tail: int) -> AsyncGenerator[bytes]:
        await self._call("log", "pods/log", pod, lambda: self._find(PODS, namespace, pod))
        async for chunk in self.logs.setdefault((pod, container), Log()).read(tail):
            yield chunk

    # -- what others in the cluster do; not counted, never failing by injection ---------------------------------------

    def add(self, resource: Resource, namespace: str, manifest: Manifest) -> Manifest:
        """Create an object; raises ApiError as the server answers."""
        self._resources[resource.plural] = resource
        made = wire_copy(manifest)
        name = made["metadata"]["name"]
        if refusal := self.refuse("create", resource, made):
            raise refusal
        if (resource.plural, namespace, name) in self._objects:
            raise ApiError(409, f'{resource.plural} "{name}" already exists', reason="AlreadyExists")
        if resource in _WITH_STATUS:
            made.pop("status", None)
        made["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": format_time(self._clock()),
            "generation": 1,
        }
        if resource == PODS:
            made["status"] = {"phase": "Pending"}
        if resource.plural == "services":
            made["spec"].setdefault("clusterIP", f"10.96.{self._version // 250}.{self._version % 250 + 1}")
        self._store(resource, made, "ADDED")
        return made

    def change(
        self, resource: Resource, namespace: str, name: str, patch: Manifest, *, status: bool = False
    ) -> Manifest:
        """Merge-patch an object or its status; preconditions in metadata hold; a patch of nothing changes nothing."""
        old = self._find(resource, namespace, name)
        if refusal := self.refuse("patch", resource, patch):
            raise refusal
        given = patch.get("metadata", {})
        for key in ("uid", "resourceVersion"):
            if key in given and given[key] != old["metadata"].get(key):
                raise ApiError(409, f"{key} is {old['metadata'].get(key)}, not {given[key]}", reason="Conflict")
        new = merged(old, patch)
        if status:
            new = {**old, "status": new.get("status", {})}
        elif resource in _WITH_STATUS:
            new["status"] = old.get("status", {})
        if new == old:
            return old
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        self._store(resource, new, "MODIFIED")
        return new

    def remove(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> Manifest:
        """Delete an object; a pod that has a node goes on until its kubelet removes it (grace_seconds=0)."""
        old = self._find(resource, namespace, name)
        if uid and uid != old["metadata"]["uid"]:
            raise ApiError(409, f"the UID in the precondition is {uid}", reason="Conflict")
        lives_on = resource == PODS and old["spec"].get("nodeName") and grace_seconds != 0 and not _ended(old)
        if lives_on:
            if "deletionTimestamp" in old["metadata"]:
                return old
            marked = wire_copy(old)
            marked["metadata"]["deletionTimestamp"] = format_time(self._clock())
            self._store(resource, marked, "MODIFIED")
            return marked
        del self._objects[(resource.plural, namespace, name)]
        self._version += 1
        last = wire_copy(old)
        last["metadata"]["resourceVersion"] = str(self._version)
        self._announce("DELETED", resource, last)
        return {"kind": "Status", "status": "Success"}

    def all(self, resource: Resource, **labels: str) -> list[Manifest]:
        """Return the objects of a resource, those with these labels where some are given; to be read only."""
        return [
            found
            for (plural, _, _), found in self._objects.items()
            if plural == resource.plural and labels.items() <= (found["metadata"].get("labels") or {}).items()
        ]

    def find(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return an object, None when it is not there; to be read only."""
        return self._objects.get((resource.plural, namespace, name))

    def collect_garbage(self) -> int:
        """Delete what has owners none of which exists, as the garbage collector does; return how many."""
        uids = {found["metadata"]["uid"] for found in self._objects.values()}
        orphans = [
            (self._resources[plural], namespace, name)
            for (plural, namespace, name), found in self._objects.items()
            if "deletionTimestamp" not in found["metadata"]
            and (owners := found["metadata"].get("ownerReferences"))
            and all(o["uid"] not in uids for o in owners)
        ]
        for resource, namespace, name in orphans:
            self.remove(resource, namespace, name)
        return len(orphans)

    def end_watches(self) -> None:
        """End all watch streams, as a server does that goes down."""
        for watch in self._watches:
            watch.events.put_nowait(None)

    def bookmark(self) -> None:
        """Tell all watches how far they are."""
        for watch in self._watches:
            mark = {"metadata": {"resourceVersion": str(self._version)}}
            watch.events.put_nowait({"type": "BOOKMARK", "object": mark})

    # -- inside ------------------------------------------------------------------------------------------------------

    def _find(self, resource: Resource, namespace: str, name: str) -> Manifest:
        found = self._objects.get((resource.plural, namespace if resource.namespaced else "", name))
        if found is None:
            raise ApiError(404, f'{resource.plural} "{name}" not found', reason="NotFound")
        return found

    def _page(self, query: Query) -> Page:
        return Page(list(self._select(query)), str(self._version))

    def _select(self, query: Query) -> Iterator[Manifest]:
        return (found for found in self.all(query.resource) if matches(query, found))

    def _store(self, resource: Resource, manifest: Manifest, type_: str) -> None:
        meta = manifest["metadata"]
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        self._objects[(resource.plural, meta["namespace"] if resource.namespaced else "", meta["name"])] = manifest
        self._announce(type_, resource, manifest)

    def _announce(self, type_: str, resource: Resource, manifest: Manifest) -> None:
        for listener in self.listeners:
            listener(type_, resource, wire_copy(manifest))
        for watch in self._watches:
            if watch.query.resource == resource and matches(watch.query, manifest):
                watch.events.put_nowait({"type": type_, "object": wire_copy(manifest)})


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396, section 2) to a copy."""
    if not isinstance(patch, dict):
        return wire_copy(patch)
    result = wire_copy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def matches(query: Query, manifest: Manifest) -> bool:
    """Say whether a query selects an object; knows `key`, `key=value` and `field!=value`."""
    meta = manifest["metadata"]
    if query.namespace and meta.get("namespace") != query.namespace:
        return False
    labels = meta.get("labels") or {}
    for part in filter(None, query.labels.split(",")):
        key, equals, value = part.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    for part in filter(None, query.fields.split(",")):
        path, _, value = part.partition("!=")
        if _field(manifest, path) == value:
            return False
    return True


def _field(manifest: Manifest, path: str) -> str:
    value: Any = manifest
    for step in path.split("."):
        value = (value or {}).get(step)
    return value or ""


def _ended(pod: Manifest) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
