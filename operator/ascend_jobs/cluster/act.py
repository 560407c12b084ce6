"""Action → API call. Each may be done twice; none touches what was not seen to be ours.

Refusals that the job's owner can do something about become JobErrors; a refusal because something newer is there
becomes Outdated; everything else stays an ApiError and is retried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

import structlog

from ascend_jobs import names
from ascend_jobs.api.conditions import Reason
from ascend_jobs.cluster.client import Query
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import CHILDREN, JOBS
from ascend_jobs.decide.plan import Action, Create, Delete, DeleteJob, Kind, Manifest, Update
from ascend_jobs.errors import ApiError, JobError, MissingPrerequisite, Outdated, SpecInvalid, Waiting

log = structlog.get_logger()
AT_ONCE = 32
"""Actions in flight for one job: enough to keep an API server busy that needs 15 ms a pod, and no more."""
_NOUNS = {
    Kind.DEPLOYMENT: "Deployment",
    Kind.STATEFUL_SET: "StatefulSet",
    Kind.POD: "Pod",
    Kind.SERVICE: "Service",
    Kind.CONFIG_MAP: "ConfigMap",
    Kind.REVISION: "ControllerRevision",
    Kind.EVALUATION: names.EVALUATION_JOB,
}


class Actor:
    """Carries out the actions of a pass over one job."""

    def __init__(self, cluster: Cluster, key: Key, uid: str) -> None:
        """Take the job by key and uid."""
        self._api, self._cache, self._key, self._uid = cluster.api, cluster.cache, key, uid

    async def act(self, actions: Sequence[Action]) -> None:
        """Carry out actions in their order, neighbours of one type and kind side by side.

        After a failure nothing new is begun, what is in flight is awaited, and the first failure is raised.
        """
        for _, group in groupby(actions, key=lambda action: (type(action), getattr(action, "kind", None))):
            await self._side_by_side(list(group))

    async def sweep(self) -> None:
        """Delete all children of the job; the garbage collector would too, in its own time."""
        for kind, resource in CHILDREN.items():
            if self._cache.child_store(kind).owned(self._uid):
                query = Query(resource, self._key.namespace, labels=f"{names.JOB_UID}={self._uid}")
                await self._api.delete_collection(query)

    async def _side_by_side(self, group: Sequence[Action]) -> None:
        failures: list[Exception] = []
        left = iter(group)

        async def worker() -> None:
            for action in left:
                try:
                    await self._apply(action)
                except (JobError, Outdated, ApiError) as error:
                    failures.append(error)
                if failures:
                    return

        if len(group) == 1:
            await worker()
        else:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(AT_ONCE, len(group))):
                    tasks.create_task(worker())
        if failures:
            raise failures[0]
        _tell(group)

    async def _apply(self, action: Action) -> None:
        match action:
            case Create():
                await self._create(action.kind, action.manifest)
            case Update():
                await self._update(action)
            case Delete():
                await self._delete(action)
            case DeleteJob():
                await self._delete_job()

    async def _create(self, kind: Kind, manifest: Manifest) -> None:
        try:
            made = await self._api.create(CHILDREN[kind], self._key.namespace, manifest)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise _refusal_of_create(error, kind, manifest["metadata"]["name"]) from error
            made = await self._existing(kind, manifest["metadata"]["name"])
        self._cache.child_store(kind).seen(made, written=True)

    async def _existing(self, kind: Kind, name: str) -> Manifest:
        """Return the object of a name that was taken, if it is a child of this job."""
        try:
            found = await self._api.get(CHILDREN[kind], self._key.namespace, name)
        except ApiError as error:
            raise (Outdated(f"{name} came and went") if error.status == 404 else error) from error
        if not _is_child(found, self._uid):
            message = f"{_NOUNS[kind]} {name} exists and does not belong to this job; delete or rename it"
            raise MissingPrerequisite(Reason.NAME_CONFLICT, message, retry_after=30)
        return found

    async def _update(self, action: Update) -> None:
        meta = {**action.patch.get("metadata", {}), "uid": action.uid}
        if action.version is not None:
            meta["resourceVersion"] = action.version
        patch = {**action.patch, "metadata": meta}
        try:
            found = await self._api.patch(CHILDREN[action.kind], self._key.namespace, action.name, patch)
        except ApiError as error:
            raise outdated_or(error, action.name) from error
        self._cache.child_store(action.kind).seen(found, written=True)

    async def _delete(self, action: Delete) -> None:
        store, resource = self._cache.child_store(action.kind), CHILDREN[action.kind]
        try:
            answer = await self._api.delete(
                resource, self._key.namespace, action.name, action.uid, grace_seconds=action.grace_seconds
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            answer = {"kind": "Status"}
        if answer.get("kind") == "Status":
            store.drop(action.uid)
        elif "deletionTimestamp" in answer["metadata"]:
            store.seen(answer, written=True)

    async def _delete_job(self) -> None:
        try:
            await self._api.delete(JOBS[self._key.kind], self._key.namespace, self._key.name, self._uid)
        except ApiError as error:
            if error.status not in (404, 409):
                raise


def _tell(group: Sequence[Action]) -> None:
    """Log a change of the world, one line for all that were alike."""
    first = group[0]
    words = {Create: "created", Update: "updated", Delete: "deleted", DeleteJob: "job deleted"}[type(first)]
    if isinstance(first, DeleteJob):
        log.info(words)
    else:
        name = first.manifest["metadata"]["name"] if isinstance(first, Create) else first.name
        log.info(words, kind=_NOUNS[first.kind], count=len(group), first=name)


def outdated_or(error: ApiError, name: str) -> Exception:
    """Return Outdated if a patch was refused because the object is another one, a newer one or gone, else the error."""
    other_uid = error.status == 422 and "metadata.uid" in error.message
    return Outdated(f"{name}: {error.message}") if error.status in (404, 409) or other_uid else error


def _is_child(found: Manifest, uid: str) -> bool:
    meta = found["metadata"]
    owned = any(o.get("uid") == uid and o.get("controller") for o in meta.get("ownerReferences") or ())
    return owned and (meta.get("labels") or {}).get(names.JOB_UID) == uid


def _refusal_of_create(error: ApiError, kind: Kind, name: str) -> Exception:
    """Return what a refused POST means to the job's owner, or the error itself.

    Sources: quota and namespace texts of k8s.io/apiserver admission (plugins resourcequota, lifecycle); other 403
    answers that are not about our own rights come from admission (PodSecurity, ServiceAccount, LimitRanger, webhooks).
    """
    text = f"{_NOUNS[kind]} {name}: {error.message}"
    if error.status in (400, 422):
        return SpecInvalid(Reason.POD_REJECTED, text)
    if error.status == 409:
        return Outdated(text)
    if error.status != 403 or "cannot create resource" in error.message:
        return error
    if "exceeded quota" in error.message:
        return MissingPrerequisite(Reason.QUOTA_EXCEEDED, text, retry_after=60)
    if "because it is being terminated" in error.message:
        return Waiting(Reason.NAMESPACE_TERMINATING, text, retry_after=60)
    return MissingPrerequisite(Reason.POD_REJECTED, text, retry_after=60)
