"""Which resources the operator touches and what it does to each: the source of its roles.

RULES is what the code uses and nothing more; a test runs whole lives as a user who may do exactly this.
No verb on Secrets: a missing one is read from the state of the pod that needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ascend_jobs import names
from ascend_jobs.decide.plan import Kind


@dataclass(frozen=True)
class Resource:
    """A resource of the API server: path prefix (`api/v1`, `apis/GROUP/VERSION`), plural, and whether namespaced."""

    prefix: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """API group, empty for the core group."""
        parts = self.prefix.split("/")
        return parts[1] if parts[0] == "apis" else ""


CHILDREN = {kind: Resource(*kind.value) for kind in Kind}
"""The resource of each kind of child."""
PODS = CHILDREN[Kind.POD]
NODES = Resource("api/v1", "nodes", namespaced=False)
CLAIMS = Resource("api/v1", "persistentvolumeclaims")
EVENTS = Resource("api/v1", "events")
LEASES = Resource("apis/coordination.k8s.io/v1", "leases")
JOBS = {
    names.FINE_TUNE_SHORT: Resource(f"apis/{names.API_VERSION}", names.FINE_TUNE_JOBS),
    names.INFERENCE_SHORT: Resource(f"apis/{names.API_VERSION}", names.INFERENCE_SERVICES),
    names.EVALUATION_SHORT: Resource(f"apis/{names.API_VERSION}", names.EVALUATION_JOBS),
}
"""The custom resources by short kind."""


class Scope(StrEnum):
    """Where a rule holds."""

    CLUSTER = "cluster"  # only in a ClusterRole; without it (namespaced mode) the operator lacks what `why` says
    NAMESPACE = "namespace"  # in every namespace that is served: a ClusterRole, or a Role in each
    OWN = "own"  # a Role in the operator's own namespace


@dataclass(frozen=True)
class Rule:
    """One rule of a role: these verbs on this resource (`pods/log` for a subresource), and why."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    scope: Scope
    why: str


_CHILD_VERBS = ("get", "list", "watch", "create", "patch", "delete", "deletecollection")

RULES = (
    Rule("", "pods", _CHILD_VERBS, Scope.NAMESPACE, "prepare and training pods; free NPUs are counted from all pods"),
    Rule("", "pods/log", ("get",), Scope.NAMESPACE, "progress lines of running trainers"),
    Rule("", "configmaps", _CHILD_VERBS, Scope.NAMESPACE, "rank tables, files of engines"),
    Rule("", "services", _CHILD_VERBS, Scope.NAMESPACE, "the DNS name of rank 0, addresses of services"),
    Rule("apps", "controllerrevisions", _CHILD_VERBS, Scope.NAMESPACE, "what an attempt or a revision is made of"),
    Rule("apps", "deployments", _CHILD_VERBS, Scope.NAMESPACE, "replicas of a service that are one pod each"),
    Rule("apps", "statefulsets", _CHILD_VERBS, Scope.NAMESPACE, "replicas of a service that span pods"),
    Rule("", "events", ("create", "patch"), Scope.NAMESPACE, "what a person can follow in kubectl describe"),
    Rule("", "persistentvolumeclaims", ("get",), Scope.NAMESPACE, "a missing claim is told before any pod is made"),
    Rule(
        names.GROUP,
        names.FINE_TUNE_JOBS,
        ("list", "watch", "delete"),
        Scope.NAMESPACE,
        "the jobs; delete when ttlSecondsAfterFinished has passed",
    ),
    Rule(names.GROUP, f"{names.FINE_TUNE_JOBS}/status", ("patch",), Scope.NAMESPACE, "what was seen and decided"),
    Rule(names.GROUP, names.INFERENCE_SERVICES, ("list", "watch"), Scope.NAMESPACE, "the services"),
    Rule(
        names.GROUP,
        names.EVALUATION_JOBS,
        ("get", "list", "watch", "create", "delete"),
        Scope.NAMESPACE,
        "the evaluations; delete when a TTL has passed; get and create for the gate of a rollout",
    ),
    Rule(names.GROUP, f"{names.EVALUATION_JOBS}/status", ("patch",), Scope.NAMESPACE, "what was seen and decided"),
    Rule(names.GROUP, f"{names.INFERENCE_SERVICES}/status", ("patch",), Scope.NAMESPACE, "what was seen and decided"),
    Rule("", "nodes", ("list", "watch"), Scope.CLUSTER, "node findings, chip families, free NPUs"),
    Rule("coordination.k8s.io", "leases", ("get", "create", "patch"), Scope.OWN, "leader election"),
)
"""Source of the generated ClusterRole and Roles."""
