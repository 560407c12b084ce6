"""One kind cluster: what it is made of, making it and taking it away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cluster.health import WORKERS, Stamp, nodes_of
from cluster.places import KIND_FILES, cluster_folder, program_path
from cluster.podnetwork import POD_SUBNET, connect, wait_ready
from cluster.stages import Shell, announce, digest_of
from cluster.volumes import make_folders, offer

STEP = "cluster"
_EMULATED = "ascendjobs.io/emulated"  # the emulator's DaemonSet selects nodes by this label
_WAY_OUT = "`python3 hack/cluster down`, then `up`; `docker logs <node>` tells what a node says"


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


def create(cluster: Cluster) -> None:
    """Make the cluster from nothing, up to Ready nodes and DNS; its stamp is written last."""
    shell = Shell(STEP, _WAY_OUT)
    announce(f"{STEP}: create {cluster.name} with kind, 1 control plane and {WORKERS} workers (usually 50 s)")
    started = time.monotonic()
    shutil.rmtree(cluster.folder, ignore_errors=True)
    make_folders(cluster.shared)
    config = cluster.folder / "kind.yaml"
    config.write_text(cluster.config)
    shell.run("kind", "create", "cluster", "--name", cluster.name, "--image", cluster.node_image, "--config", config)
    if cluster.built:
        connect(shell, cluster.name)
    wait_ready(shell, cluster.name)
    offer(shell, cluster.name)
    started_at = [node.started for node in nodes_of(cluster.name)]
    cluster.stamp.write_text(json.dumps(Stamp(digest=cluster.digest, built=cluster.built, started=started_at)))
    announce(f"{STEP}: done in {time.monotonic() - started:.0f} s")


def ensure_context(name: str) -> None:
    """Write the kubeconfig entry again when it is gone."""
    config = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or str(Path.home() / ".kube" / "config")
    if not Path(config).is_file() or f"kind-{name}" not in Path(config).read_text():
        Shell(STEP, _WAY_OUT).run("kind", "export", "kubeconfig", "--name", name)


def delete(name: str) -> bool:
    """Take the cluster away with its kubeconfig entry and its shared folder; return whether there was one."""
    states = {node.name: node.state for node in nodes_of(name)}
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
