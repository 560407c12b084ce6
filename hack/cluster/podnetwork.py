"""The network of pods where no CNI image can be pulled, and the proof that nodes, DNS and Services work."""

from __future__ import annotations

import json
import subprocess
import time

from cluster.health import WORKERS, in_control_plane, nodes_of, ready_nodes
from cluster.places import KIND_FILES
from cluster.stages import Shell, StepFailed

POD_SUBNET = "10.244.0.0/16"
_READY_SECONDS = 180.0  # measured: 15 s to all nodes Ready, 25 s to CoreDNS; longer on a busy machine
_SERVICE_SECONDS = 60.0  # measured: 3 s


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


def wait_ready(shell: Shell, name: str) -> None:
    """Wait until every node is Ready and DNS answers."""
    deadline = time.monotonic() + _READY_SECONDS
    while ready_nodes(name) != 1 + WORKERS:
        if time.monotonic() > deadline:
            raise StepFailed(shell.step, f"nodes are not Ready after {_READY_SECONDS:.0f} s", shell.way_out, shell.log)
        time.sleep(1)
    timeout = f"--timeout={_READY_SECONDS:.0f}s"
    in_control_plane(shell, name, "-n", "kube-system", "rollout", "status", "deployment/coredns", timeout)
    wait_services(shell, name)


def wait_services(shell: Shell, name: str) -> None:
    """Wait until Services work from every node: kube-proxy may run well and yet fail to write its rules."""
    where = ("get", "service", "kube-dns", "-n", "kube-system", "-o", "jsonpath={.spec.clusterIP}")
    address = in_control_plane(shell, name, *where).strip()
    deadline = time.monotonic() + _SERVICE_SECONDS
    for node in (node.name for node in nodes_of(name)):
        while not reaches(node, f"http://{address}:9153/metrics"):
            if time.monotonic() > deadline:
                what = f"{node} does not reach the DNS Service; see kube-proxy's log"
                raise StepFailed(shell.step, what, shell.way_out, shell.log)
            time.sleep(1)


def reaches(node: str, url: str) -> bool:
    """Tell whether a node gets an answer within 2 s."""
    probe = ["docker", "exec", node, "curl", "-s", "-f", "-m", "2", "-o", "/dev/null", url]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0
