"""What tests do to the API server as admin: definitions, roles, namespaces, and the parts of nodes and schedulers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from apiserver.plane import ControlPlane
from ascend_jobs import names
from ascend_jobs.api.crd import crd_manifests
from ascend_jobs.cluster.calls import Call
from ascend_jobs.cluster.client import HttpApi, Query
from ascend_jobs.cluster.connection import Pool, kubeconfig_endpoint
from ascend_jobs.cluster.verbs import CHILDREN, CLAIMS, EVENTS, JOBS, LEASES, PODS, RULES, Resource, Scope
from ascend_jobs.errors import ApiError
from ascend_jobs.handlers.engine import Engine
from ascend_jobs.settings import Settings
from builders import make_report

Manifest = dict[str, Any]
FTJ = JOBS[names.FINE_TUNE_SHORT]
CRDS = Resource("apis/apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)
NAMESPACES = Resource("api/v1", "namespaces", namespaced=False)
QUOTAS = Resource("api/v1", "resourcequotas")
_RBAC = "apis/rbac.authorization.k8s.io/v1"
CLUSTER_ROLES = Resource(_RBAC, "clusterroles", namespaced=False)
CLUSTER_BINDINGS = Resource(_RBAC, "clusterrolebindings", namespaced=False)
ROLES = Resource(_RBAC, "roles")
BINDINGS = Resource(_RBAC, "rolebindings")
OWN = "ascend-jobs-system"
OPERATOR = "operator"
LIMITED = "limited-operator"
"""An operator that may only serve one namespace."""


class World:
    """The API server as admin sees it, and operators that run against it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self._pool = Pool(kubeconfig_endpoint(str(plane.kubeconfig("admin"))))
        self.api = HttpApi(self._pool)
        self._stops: dict[Engine, asyncio.Event] = {}
        self.tasks: dict[Engine, asyncio.Task[None]] = {}
        self.calls: set[Call] = set()
        """What all operators of this test asked for."""

    async def close(self) -> None:
        """Close the connections of admin."""
        await self.api.close()
        await self._pool.close()

    async def set_up(self) -> None:
        """Apply definitions, the operator's namespace and its roles, made of RULES and nothing else; once a plane."""
        if self.plane.prepared:
            return
        await self.make_namespace(OWN)
        for manifest in crd_manifests():
            await self.ensure(CRDS, "", manifest)
        clusterwide = [_rule(r) for r in RULES if r.scope is not Scope.OWN]
        own = [_rule(r) for r in RULES if r.scope is Scope.OWN]
        await self.ensure(CLUSTER_ROLES, "", {"metadata": {"name": "ascend-jobs"}, "rules": clusterwide})
        await self.ensure(CLUSTER_BINDINGS, "", _binding("ascend-jobs", "ClusterRole", OPERATOR))
        await self.ensure(ROLES, OWN, {"metadata": {"name": "ascend-jobs"}, "rules": own})
        for user in (OPERATOR, LIMITED):
            await self.ensure(BINDINGS, OWN, _binding("ascend-jobs", "Role", user))

        async def served() -> bool:
            return {job.plural for job in JOBS.values()} <= await self.api.discover(FTJ.prefix)

        await eventually(served)
        self.plane.prepared = True

    async def allow_in(self, namespace: str) -> None:
        """Give the limited operator its roles in one namespace."""
        rules = [_rule(r) for r in RULES if r.scope is Scope.NAMESPACE]
        await self.ensure(ROLES, namespace, {"metadata": {"name": "ascend-jobs"}, "rules": rules})
        await self.ensure(BINDINGS, namespace, _binding("ascend-jobs", "Role", LIMITED))

    async def make_namespace(self, name: str) -> None:
        """Make a namespace with the claims that builders.make_body names."""
        await self.ensure(NAMESPACES, "", {"metadata": {"name": name}})
        for claim in ("models", "data"):
            spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
            await self.ensure(CLAIMS, name, {"metadata": {"name": claim}, "spec": spec})

    async def ensure(self, resource: Resource, namespace: str, manifest: Manifest) -> None:
        """Create an object unless it is there."""
        try:
            await self.api.create(resource, namespace, manifest)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def put(self, resource: Resource, namespace: str, name: str, manifest: Manifest) -> Manifest:
        """Replace an object or a subresource (`NAME/scale`), as kubectl and the HPA do; the operator never does."""
        url = f"{self.plane.url}/{resource.prefix}/namespaces/{namespace}/{resource.plural}/{name}"
        async with self._pool.session() as session, session.put(url, json=manifest) as answer:
            found: Manifest = await answer.json()
        if answer.status >= 400:
            raise ApiError(answer.status, found["message"], reason=found.get("reason", ""))
        return found

    async def all(self, resource: Resource, namespace: str, labels: str = "") -> list[Manifest]:
        """List objects of a namespace."""
        return (await self.api.page(Query(resource, namespace, labels=labels))).items

    async def job(self, namespace: str, name: str = "faq") -> Manifest:
        """Read a job."""
        return await self.api.get(FTJ, namespace, name)

    async def children(self, namespace: str) -> list[str]:
        """Return `plural/name` of all children of jobs in a namespace."""
        return [
            f"{resource.plural}/{found['metadata']['name']}"
            for resource in CHILDREN.values()
            for found in await self.all(resource, namespace, labels=names.JOB_UID)
        ]

    async def events(self, namespace: str) -> list[str]:
        """Return the reasons of all Events in a namespace."""
        return [event["reason"] for event in await self.all(EVENTS, namespace)]

    async def phase_is(self, namespace: str, phase: str, name: str = "faq") -> None:
        """Wait until a job has a phase."""

        async def reached() -> bool:
            return (await self.job(namespace, name)).get("status", {}).get("phase") == phase

        await eventually(reached, lambda: self.job(namespace, name))

    async def holder(self) -> str:
        """Return who holds the Lease."""
        try:
            return str((await self.api.get(LEASES, OWN, "ascend-jobs"))["spec"].get("holderIdentity") or "")
        except ApiError:
            return ""

    # -- scheduler, device plugin, kubelet ---------------------------------------------------------------------------

    async def pods(self, namespace: str, role: str, count: int) -> list[str]:
        """Wait for so many live pods of a role that have no node; return their names."""
        found: list[str] = []

        async def there() -> bool:
            pods = await self.all(PODS, namespace, labels=f"{names.ROLE}={role}")
            found[:] = sorted(p["metadata"]["name"] for p in pods if not p["spec"].get("nodeName"))
            return len(found) == count

        await eventually(there)
        return found

    async def start(self, namespace: str, pod: str, index: int) -> None:
        """Bind a pod, report devices, let the init container wait."""
        binding = {"target": {"apiVersion": "v1", "kind": "Node", "name": f"node-{index}"}, "metadata": {"name": pod}}
        await self.api.create(Resource("api/v1", f"pods/{pod}/binding"), namespace, binding)
        found = await self.api.get(PODS, namespace, pod)
        host = f"10.0.0.{index + 1}"
        report = make_report(pod, found["metadata"]["uid"], host, [0])
        await self._status(namespace, pod, hostIP=host, podIP=f"10.244.{index}.5", **_states(found, waited=False))
        await self.api.patch(PODS, namespace, pod, {"metadata": {"annotations": report}})

    async def run(self, namespace: str, pod: str) -> None:
        """Let the init containers of a pod end well and the others run."""
        found = await self.api.get(PODS, namespace, pod)
        await self._status(namespace, pod, phase="Running", **_states(found, waited=True))

    async def end(self, namespace: str, pod: str, code: int = 0, words: Manifest | None = None) -> None:
        """End a pod's containers."""
        found = await self.api.get(PODS, namespace, pod)
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": json.dumps(words or {})}
        statuses = [_container(c["name"], {"terminated": ended}) for c in found["spec"]["containers"]]
        await self._status(namespace, pod, phase="Failed" if code else "Succeeded", containerStatuses=statuses)

    async def lose(self, namespace: str, pod: str) -> None:
        """Take a pod away at once, if it is still there."""
        try:
            found = await self.api.get(PODS, namespace, pod)
            await self.api.delete(PODS, namespace, pod, found["metadata"]["uid"], grace_seconds=0)
        except ApiError as error:
            if error.status != 404:
                raise

    async def _status(self, namespace: str, pod: str, **fields: Any) -> None:
        await self.api.patch(PODS, namespace, pod, {"status": fields}, status=True)

    # -- operators ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def operator(self, *, user: str = OPERATOR, kill: bool = False, **changes: Any) -> AsyncIterator[Engine]:
        """Run an operator in this process until the block ends: in good order, or killed."""
        values = {"own_namespace": OWN, "host": "127.0.0.1", "port": 0, "image": "registry.example.com/runtime:1"}
        settings = Settings(**{**values, "identity": "test", "leader_election": False, **changes})
        engine = Engine(settings, kubeconfig_endpoint(str(self.plane.kubeconfig(user))))
        self._stops[engine] = asyncio.Event()
        self.tasks[engine] = task = asyncio.create_task(engine.run(self._stops[engine]))
        try:
            yield engine
        finally:
            if kill:
                task.cancel()
            await self.stop(engine)
            self.calls |= engine.calls
        if not kill:
            task.result()

    async def stop(self, engine: Engine) -> None:
        """Stop an operator in good order and wait for its end."""
        self._stops[engine].set()
        _, late = await asyncio.wait([self.tasks[engine]], timeout=60)
        assert not late, "the operator does not stop"


async def eventually(
    holds: Callable[[], Awaitable[bool]],
    explain: Callable[[], Awaitable[object]] | None = None,
    *,
    seconds: float = 60.0,
) -> None:
    """Wait until something holds; looks five times a second."""
    end = asyncio.get_running_loop().time() + seconds
    while not await holds():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"not within {seconds} s: {await explain() if explain else holds}")
        await asyncio.sleep(0.2)


def _states(pod: Manifest, *, waited: bool) -> Manifest:
    init = {"terminated": {"exitCode": 0, "reason": "Completed"}} if waited else {"running": {}}
    main = {"running": {}} if waited else {"waiting": {"reason": "PodInitializing"}}
    spec = pod["spec"]
    return {
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [_container(c["name"], init) for c in spec.get("initContainers") or ()],
        "containerStatuses": [_container(c["name"], main) for c in spec["containers"]],
    }


def _container(name: str, state: Manifest) -> Manifest:
    return {"name": name, "state": state, "ready": False, "restartCount": 0, "image": "", "imageID": ""}


def _rule(rule: Any) -> Manifest:
    return {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)}


def _binding(role: str, kind: str, user: str) -> Manifest:
    return {
        "metadata": {"name": f"{role}-{user}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
