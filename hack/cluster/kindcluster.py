"""One kind cluster: what it is made of, whether it is well, making it and taking it away.

kubectl runs inside the control plane's node, so that nothing is needed on the host.
"""

from __future__ import annotations

import enum
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cluster.places import KIND_FILES, cluster_folder, program_path
from cluster.stages import Shell, StepFailed, announce, digest_of

STEP = "cluster"
WORKERS = 2
POD_SUBNET = "10.244.0.0/16"
_READY_SECONDS = 180.0  # measured: 15 s to all nodes Ready, 25 s to CoreDNS; longer on a busy machine
_SERVICE_SECONDS = 60.0  # measured: 3 s
_EMULATED = "ascendjobs.io/emulated"  # the emulator's DaemonSet selects nodes by this label
_WAY_OUT = "`python3 hack/cluster down`, then `up`; `docker logs <node>` tells what a node says"


class Health(enum.Enum):
    """What was found of a cluster."""

    ABSENT = "absent"
    BROKEN = "broken"
    HEALTHY = "healthy"


@dataclass(frozen=True)
class Cluster:
    """A cluster and what it is made from; `built` says that the node image comes from this machine, without a CNI."""

    name: str
    node_image: str
    built: bool

    @property
    def folder(self) -> Path:
        """Where its config, its stamp and the folder its nodes share are kept."""
        return cluster_folder(self.name)

    @property
    def shared(self) -> Path:
        """The host folder that every node mounts at /shared."""
        return self.folder / "shared"

    @property
    def stamp(self) -> Path:
        """The file that says that the cluster was finished, and from what."""
        return self.folder / "stamp"

    @property
    def config(self) -> str:
        """The kind configuration, as JSON, which is YAML."""
        return json.dumps(kind_config(self), indent=2)

    @property
    def digest(self) -> str:
        """One digest of all that the cluster is made from."""
        return digest_of(self.node_image, self.config, (KIND_FILES / "volumes.yaml").read_text())


def kind_config(cluster: Cluster) -> dict[str, object]:
    """Return the kind configuration: one control plane, two workers, one folder they all share."""
    mounts = [{"hostPath": str(cluster.shared), "containerPath": "/shared"}]
    worker = {"role": "worker", "extraMounts": mounts, "labels": {_EMULATED: "true"}}
    config: dict[str, object] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraMounts": mounts}, *[worker] * WORKERS],
    }
    if cluster.built:
        # No registry, so no kindnet; kubelets of 1.35 and later refuse cgroup v1 unless told otherwise; the gate
        # forgives limits and oom scores that a machine without CAP_SYS_RESOURCE cannot set.
        config["networking"] = {"disableDefaultCNI": True, "podSubnet": POD_SUBNET}
        config["featureGates"] = {"KubeletInUserNamespace": True}
        config["kubeadmConfigPatches"] = ["kind: KubeletConfiguration\nfailCgroupV1: false\n"]
    return config


def node_states(name: str) -> dict[str, str]:
    """Return the node containers of a cluster with their states, the control plane first."""
    wanted = ["--filter", f"label=io.x-k8s.kind.cluster={name}", "--format", "{{.Names}} {{.State}}"]
    done = subprocess.run(["docker", "ps", "-a", *wanted], capture_output=True, text=True, check=False)
    return dict(sorted(line.split(maxsplit=1) for line in done.stdout.splitlines()))


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
    """Look at a cluster. Broken: half-created, with a stopped node, or not Ready within `patience` seconds."""
    states = node_states(name)
    if not states:
        return Health.ABSENT
    if not (cluster_folder(name) / "stamp").is_file():
        return Health.BROKEN
    if len(states) != 1 + WORKERS or set(states.values()) != {"running"}:
        return Health.BROKEN
    deadline = time.monotonic() + patience
    while ready_nodes(name) != 1 + WORKERS:
        if time.monotonic() > deadline:
            return Health.BROKEN
        time.sleep(2)
    return Health.HEALTHY


def create(cluster: Cluster) -> None:
    """Make the cluster from nothing, up to Ready nodes and DNS; its stamp is written last."""
    shell = Shell(STEP, _WAY_OUT)
    announce(f"{STEP}: create {cluster.name} with kind, 1 control plane and {WORKERS} workers (usually 50 s)")
    started = time.monotonic()
    shutil.rmtree(cluster.folder, ignore_errors=True)
    make_volume_folders(cluster.shared)
    config = cluster.folder / "kind.yaml"
    config.write_text(cluster.config)
    shell.run("kind", "create", "cluster", "--name", cluster.name, "--image", cluster.node_image, "--config", config)
    if cluster.built:
        connect(shell, cluster.name)
    wait_ready(shell, cluster.name)
    apply_volumes(shell, cluster.name)
    cluster.stamp.write_text(cluster.digest)
    announce(f"{STEP}: done in {time.monotonic() - started:.0f} s")


def make_volume_folders(shared: Path) -> None:
    """Make the volumes' folders writable for all: fsGroup has no effect on hostPath, and our pods are not root."""
    for name in re.findall(r"path: /shared/(\S+)", (KIND_FILES / "volumes.yaml").read_text()):
        folder = shared / name
        folder.mkdir(parents=True)
        folder.chmod(0o777)


def connect(shell: Shell, name: str) -> None:
    """Give pods a network: an address range for each node, and a route on every node to the ranges of the others."""
    listed = json.loads(in_control_plane(shell, name, "get", "nodes", "-o", "json"))
    nodes = {item["metadata"]["name"]: item for item in listed["items"]}
    ranges = {node: item["spec"]["podCIDR"] for node, item in nodes.items()}
    addresses = {
        node: next(a["address"] for a in item["status"]["addresses"] if a["type"] == "InternalIP")
        for node, item in nodes.items()
    }
    conflist = (KIND_FILES / "10-ascend-jobs.conflist").read_text()
    for node, own in ranges.items():
        routes = [f"ip route replace {ranges[peer]} via {addresses[peer]}" for peer in ranges if peer != node]
        masquerade = f"iptables -t nat -A POSTROUTING -s {own} ! -d {POD_SUBNET} -j MASQUERADE"
        script = "\n".join(["set -e", "cat >/etc/cni/net.d/10-ascend-jobs.conflist", *routes, masquerade])
        shell.run("docker", "exec", "-i", node, "sh", "-c", script, stdin=conflist.replace("POD_CIDR", own))


def in_control_plane(shell: Shell, name: str, *arguments: str, stdin: str = "") -> str:
    """Run kubectl inside the control plane, logged."""
    command = ("docker", "exec", "-i", f"{name}-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf")
    return shell.run(*command, *arguments, stdin=stdin)


def wait_ready(shell: Shell, name: str) -> None:
    """Wait until every node is Ready and DNS answers."""
    deadline = time.monotonic() + _READY_SECONDS
    while ready_nodes(name) != 1 + WORKERS:
        if time.monotonic() > deadline:
            raise StepFailed(STEP, f"nodes are not Ready after {_READY_SECONDS:.0f} s", _WAY_OUT, shell.log)
        time.sleep(1)
    timeout = f"--timeout={_READY_SECONDS:.0f}s"
    in_control_plane(shell, name, "-n", "kube-system", "rollout", "status", "deployment/coredns", timeout)
    wait_services(shell, name)


def wait_services(shell: Shell, name: str) -> None:
    """Wait until Services work from every node: kube-proxy may run well and yet fail to write its rules."""
    where = ("get", "service", "kube-dns", "-n", "kube-system", "-o", "jsonpath={.spec.clusterIP}")
    address = in_control_plane(shell, name, *where).strip()
    deadline = time.monotonic() + _SERVICE_SECONDS
    for node in node_states(name):
        probe = [
            "docker",
            "exec",
            node,
            "curl",
            "-s",
            "-f",
            "-m",
            "2",
            "-o",
            "/dev/null",
            f"http://{address}:9153/metrics",
        ]
        while subprocess.run(probe, capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise StepFailed(
                    STEP, f"{node} does not reach the DNS Service; see kube-proxy's log", _WAY_OUT, shell.log
                )
            time.sleep(1)


def apply_volumes(shell: Shell, name: str) -> None:
    """Offer the shared folder as volumes."""
    in_control_plane(shell, name, "apply", "-f", "-", stdin=(KIND_FILES / "volumes.yaml").read_text())


def recycle_volumes(name: str) -> list[str]:
    """Empty and offer again the shared volumes whose claim was deleted; return their names.

    Static volumes stay Released for ever otherwise. What the claim held is deleted.
    """
    listed = json.loads(kubectl(name, "get", "persistentvolumes", "-o", "json"))
    released = [
        item["metadata"]["name"]
        for item in listed["items"]
        if item["spec"].get("storageClassName") == "shared" and item["status"].get("phase") == "Released"
    ]
    for volume in released:
        empty = ["docker", "exec", f"{name}-control-plane", "find", f"/shared/{volume}", "-mindepth", "1", "-delete"]
        subprocess.run(empty, capture_output=True, check=False)
        kubectl(name, "patch", "persistentvolume", volume, "--type=merge", "-p", '{"spec":{"claimRef":null}}')
    return released


def ensure_context(name: str) -> None:
    """Write the kubeconfig entry again when it is gone."""
    config = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or str(Path.home() / ".kube" / "config")
    if not Path(config).is_file() or f"kind-{name}" not in Path(config).read_text():
        Shell(STEP, _WAY_OUT).run("kind", "export", "kubeconfig", "--name", name)


def delete(name: str) -> bool:
    """Take the cluster away with its kubeconfig entry and its shared folder; return whether there was one."""
    states = node_states(name)
    folder = cluster_folder(name)
    found = bool(states) or folder.exists()
    if states.get(f"{name}-control-plane") == "running":
        # Files of pods may belong to other users; inside the node we are root in any case.
        clear = ["docker", "exec", f"{name}-control-plane", "find", "/shared", "-mindepth", "1", "-delete"]
        subprocess.run(clear, capture_output=True, check=False)
    if shutil.which("kind", path=program_path()):
        Shell("cluster-delete").run("kind", "delete", "cluster", "--name", name)
    elif states:
        subprocess.run(["docker", "rm", "-f", "-v", *states], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    return found
