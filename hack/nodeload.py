"""Put images into the nodes of a kind cluster, only those that they lack.

Images are named by their content, so a name that a node has is an image that it has. `kind load` would look with
crictl, which nodes built on this machine do not have, and load everything every time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster.health import nodes_of
from cluster.places import BUILD
from cluster.stages import Shell, StepFailed
from layers import write_lacking

_LIBRARY = "docker.io/"  # how containerd spells out names without a host
_CTR = ("ctr", "--namespace", "k8s.io", "images")


def load(shell: Shell, cluster: str, images: Sequence[tuple[str, str]]) -> bool:
    """Give every worker the images, each a pair (name by content, moving name); return whether any was missing.

    Workers only: with workers present nothing of ours runs on the control plane.
    """
    workers = [node.name for node in nodes_of(cluster) if node.state == "running" and "worker" in node.name]
    if not workers:
        raise StepFailed(shell.step, f"cluster {cluster} has no running worker", "python3 hack/cluster up")
    missing = {node: lacking(node, images) for node in workers}
    union = [image for image in images if any(image in found for found in missing.values())]
    if union:
        send(shell, cluster, [node for node in workers if missing[node]], union)
    for node in workers:
        settle(node, images)
    return bool(union)


def send(shell: Shell, cluster: str, nodes: Sequence[str], images: Sequence[tuple[str, str]]) -> None:
    """Give nodes the images, of which only the layers are sent that not all of them have."""
    saved, archive = BUILD / f"save-{cluster}.tar", BUILD / f"load-{cluster}.tar"
    BUILD.mkdir(parents=True, exist_ok=True)
    shell.run("docker", "save", "-o", saved, *(name for image in images for name in image))
    write_lacking(saved, archive, set.intersection(*(layers_in(node) for node in nodes)))
    saved.unlink()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: import_archive(shell, node, archive), nodes))
    archive.unlink()


def layers_in(node: str) -> set[str]:
    """Return the digests of everything in a node's content store."""
    listing = ["docker", "exec", node, "ctr", "--namespace", "k8s.io", "content", "ls", "-q"]
    return set(subprocess.run(listing, capture_output=True, text=True, check=False).stdout.split())


def lacking(node: str, images: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the images that a node does not have."""
    present = names_in(node)
    return [image for image in images if _LIBRARY + image[0] not in present]


def names_in(node: str) -> set[str]:
    """Return all image names a node knows."""
    done = subprocess.run(["docker", "exec", node, *_CTR, "list", "-q"], capture_output=True, text=True, check=False)
    return set(done.stdout.split())


def import_archive(shell: Shell, node: str, archive: Path) -> None:
    """Unpack saved images in a node."""
    shell.run("docker", "exec", "-i", node, *_CTR, "import", "--all-platforms", "--digests", "-", stdin=archive)


def settle(node: str, images: Sequence[tuple[str, str]]) -> None:
    """Point the moving names to these images. Earlier ones stay: pods that name them may start again."""
    for name, moving in images:
        tag = ["docker", "exec", node, *_CTR, "tag", "--force", _LIBRARY + name, _LIBRARY + moving]
        subprocess.run(tag, capture_output=True, check=False)
