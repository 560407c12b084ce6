"""Whether a cluster is well.

kubectl runs inside the control plane's node, so that nothing is needed on the host.
"""

from __future__ import annotations

import enum
import json
import subprocess
import time
from dataclasses import dataclass
from typing import TypedDict

from cluster.places import cluster_folder
from cluster.stages import Shell

WORKERS = 2


class Health(enum.Enum):
    """What was found of a cluster."""

    ABSENT = "absent"
    BROKEN = "broken"
    HEALTHY = "healthy"


@dataclass(frozen=True)
class Node:
    """A node's container: its name, its state in Docker's words, and when it was started."""

    name: str
    state: str
    started: str


def nodes_of(name: str) -> list[Node]:
    """Return the node containers of a cluster, the control plane first."""
    wanted = ["docker", "ps", "-aq", "--filter", f"label=io.x-k8s.kind.cluster={name}"]
    ids = subprocess.run(wanted, capture_output=True, text=True, check=False).stdout.split()
    if not ids:
        return []
    form = "{{.Name}} {{.State.Status}} {{.State.StartedAt}}"
    described = subprocess.run(["docker", "inspect", "-f", form, *ids], capture_output=True, text=True, check=False)
    nodes = [Node(*line.removeprefix("/").split()) for line in described.stdout.splitlines()]
    return sorted(nodes, key=lambda node: node.name)


def kubectl(name: str, *arguments: str, stdin: str = "") -> str:
    """Run kubectl inside the control plane; raises CalledProcessError when it fails."""
    command = ["docker", "exec", "-i", f"{name}-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"]
    done = subprocess.run([*command, *arguments], input=stdin, capture_output=True, text=True, check=True)
    return done.stdout


def ready_nodes(name: str) -> int:
    """Return how many nodes are Ready; 0 also when the API server does not answer within 5 s."""
    try:
        listed = json.loads(kubectl(name, "get", "nodes", "-o", "json", "--request-timeout=5s"))
    except (subprocess.CalledProcessError, json.JSONDecodeError):
        return 0
    conditions = [item["status"]["conditions"] for item in listed["items"]]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in of_node) for of_node in conditions)


def look(name: str, patience: float = 60.0) -> Health:
    """Look at a cluster.

    Broken: half-created, with a stopped node, or not Ready within `patience` seconds. So is one whose nodes were
    started again when we connected them: the routes between them are gone, although every node says Ready.
    """
    nodes = nodes_of(name)
    if not nodes:
        return Health.ABSENT
    stamp = read_stamp(name)
    if stamp is None or len(nodes) != 1 + WORKERS or any(node.state != "running" for node in nodes):
        return Health.BROKEN
    if stamp["built"] and stamp["started"] != [node.started for node in nodes]:
        return Health.BROKEN
    deadline = time.monotonic() + patience
    while ready_nodes(name) != 1 + WORKERS:
        if time.monotonic() > deadline:
            return Health.BROKEN
        time.sleep(2)
    return Health.HEALTHY


class Stamp(TypedDict):
    """What is remembered of a finished cluster."""

    digest: str
    built: bool
    started: list[str]


def read_stamp(name: str) -> Stamp | None:
    """Return what was remembered when the cluster was finished; None when it never was."""
    try:
        found: Stamp = json.loads((cluster_folder(name) / "stamp").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and set(found) == set(Stamp.__annotations__) else None


def in_control_plane(shell: Shell, name: str, *arguments: str, stdin: str = "") -> str:
    """Run kubectl inside the control plane, logged."""
    command = ("docker", "exec", "-i", f"{name}-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf")
    return shell.ask(*command, *arguments, stdin=stdin)
