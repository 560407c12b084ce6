"""`python3 hack/cluster up | down | status | assets | recycle`: the local cluster and the programs that tests need."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cluster import daemon, health, kindcluster, nodeimage, volumes
from cluster.gobuild import build_stage, families
from cluster.health import Health
from cluster.host import NODE_PACKAGES, install_packages
from cluster.kindcluster import Cluster
from cluster.places import BIN, CACHE, DOCKER_DATA, cluster_folder, program_path
from cluster.rootfs import image_id, rootfs_stages
from cluster.stages import StepFailed, alone, announce, finish
from cluster.versions import read_versions

API_FAMILIES = ("etcd", "kube-api")
EXTRA_PROGRAMS = {"kubectl": "kube-api", "kind": "kind", "helm": "helm", "kwok": "kwok"}


def up(name: str, node_image: str) -> None:
    """Bring the cluster up, from whatever state; a healthy one is left as it is, without waiting for anybody."""
    if not (daemon.docker_answers() and health.look(name, patience=0) is Health.HEALTHY):
        with alone(f"cluster-{name}"):
            make(name, node_image)
    kindcluster.ensure_context(name)
    tell_if_outdated(name)
    announce(f"cluster {name} is up: kubectl --context kind-{name} get nodes")
    print(f"kind-{name}")


def tell_if_outdated(name: str) -> None:
    """Say when a cluster was made from other versions or files than this checkout has; it is left alone."""
    stamp, versions = health.read_stamp(name), read_versions()
    if stamp is None:
        return
    image = nodeimage.node_tag(versions) if stamp["built"] else versions["KIND_NODE_IMAGE"]
    if stamp["digest"] != Cluster(name, image, built=stamp["built"]).digest:
        announce(f"cluster {name} was made from other versions or files; `down`, then `up`, makes it anew")


def make(name: str, node_image: str) -> None:
    """Make the cluster unless it is healthy by now; one that is half-made or stopped is removed first."""
    daemon.ensure_daemon()
    found = health.look(name)
    if found is Health.BROKEN:
        announce(f"cluster {name} is half-made or has stopped; it is made anew, its shared folder emptied")
        kindcluster.delete(name)
    if found is not Health.HEALTHY:
        create(name, node_image, read_versions())


def create(name: str, node_image: str, versions: dict[str, str]) -> None:
    """Make what the cluster needs, then the cluster."""
    if node_image == "pull" or (node_image == "auto" and can_pull(versions)):
        if shutil.which("kind", path=program_path()) is None:
            finish(build_stage(families(versions)["kind"]))
        kindcluster.create(Cluster(name, versions["KIND_NODE_IMAGE"], built=False))
        return
    every = families(versions)
    install_packages(NODE_PACKAGES, "packages")
    for family in nodeimage.NODE_FAMILIES:
        finish(build_stage(every[family]))
    for stage in rootfs_stages(versions["DEBIAN_SUITE"]):
        finish(stage)
    tag = nodeimage.node_tag(versions)
    finish(nodeimage.node_stage(versions, tag))
    kindcluster.create(Cluster(name, tag, built=True))


def can_pull(versions: dict[str, str]) -> bool:
    """Tell whether kind's own node image is there or can be had; one built here before is taken without asking."""
    if image_id(nodeimage.node_tag(versions)):
        return False
    image = versions["KIND_NODE_IMAGE"]
    if image_id(image):
        return True
    announce(f"node image: pull {image.split('@')[0]} (usually 1 minute)")
    started = time.monotonic()
    done = subprocess.run(["docker", "pull", "-q", image], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        announce("node image: it cannot be pulled here, so it is built from Go modules and Debian packages")
        return False
    announce(f"node image: done in {time.monotonic() - started:.0f} s")
    return True


def down(name: str, *, cache: bool) -> None:
    """Take away the cluster, the daemon if it is ours and has no other cluster, and the cache if asked."""
    folder = cluster_folder(name)
    if folder.exists() and DOCKER_DATA.exists() and not daemon.docker_answers():
        daemon.ensure_daemon()  # stopped nodes are still in its data
    if daemon.docker_answers():
        found = kindcluster.delete(name)
        announce(f"cluster {name} deleted" if found else f"there is no cluster {name}")
    others = list((CACHE / "clusters").glob("*"))
    if not others:
        remove_leftovers(cache=cache)
    if cache and not others:
        shutil.rmtree(CACHE, ignore_errors=True)
        announce(f"cache {CACHE} deleted")


def remove_leftovers(*, cache: bool) -> None:
    """Remove kind's network and our daemon; with `cache` also our images from a daemon that is not ours."""
    subprocess.run(["docker", "network", "rm", "kind"], capture_output=True, check=False)
    if daemon.stop_daemon():
        announce("docker daemon stopped")
    elif cache and daemon.docker_answers():
        listed = subprocess.run(
            ["docker", "images", "-q", "--filter", "reference=ascend-jobs/*"],
            capture_output=True,
            text=True,
            check=False,
        )
        subprocess.run(["docker", "rmi", "-f", *set(listed.stdout.split())], capture_output=True, check=False)


def status(name: str) -> int:
    """Print what is there; return 0 when the cluster is healthy."""
    ours = daemon.our_daemon()
    answers = daemon.docker_answers()
    print(f"docker:  {'answers' if answers else 'does not answer'}{f', started by us as {ours}' if ours else ''}")
    found = health.look(name) if answers else Health.ABSENT
    print(f"cluster: {name} {found.value}, context kind-{name}")
    for node in health.nodes_of(name) if answers else []:
        print(f"         {node.name} {node.state}")
    print(f"shared:  {cluster_folder(name) / 'shared'}")
    print(f"cache:   {CACHE}")
    return 0 if found is Health.HEALTHY else 1


def assets(extra: list[str]) -> None:
    """Make sure that the API server's programs are built; print their folder as the last line."""
    unknown = set(extra) - set(EXTRA_PROGRAMS)
    if unknown:
        raise StepFailed("assets", f"cannot build {', '.join(sorted(unknown))}", f"one of {', '.join(EXTRA_PROGRAMS)}")
    given = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nonexistent"))
    honoured = all(os.access(given / program, os.X_OK) for program in ("etcd", "kube-apiserver"))
    wanted = [] if honoured else list(API_FAMILIES)
    wanted += [EXTRA_PROGRAMS[program] for program in extra if shutil.which(program) is None]
    every = families(read_versions())
    stages = [build_stage(every[family]) for family in dict.fromkeys(wanted)]
    for stage in stages:
        finish(stage)
    print(given if honoured else BIN)


def recycle(name: str) -> None:
    """Empty the volumes whose claims are gone and offer them again."""
    if not daemon.docker_answers() or health.look(name, patience=0) is not Health.HEALTHY:
        raise StepFailed("recycle", f"cluster {name} is not up", "python3 hack/cluster up")
    for volume in volumes.recycle(name):
        print(volume)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 hack/cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {"up": "make the cluster", "down": "remove it", "status": "look at it", "recycle": "empty Released volumes"}
    parsers = {command: commands.add_parser(command, help=text) for command, text in texts.items()}
    for command in parsers.values():
        command.add_argument("--name", default="ascend-jobs", help="name of the cluster (default: %(default)s)")
    parsers["up"].add_argument(
        "--node-image", choices=("auto", "pull", "build"), default="auto", help="where the node image comes from"
    )
    parsers["down"].add_argument("--cache", action="store_true", help="remove built programs and images too")
    built = commands.add_parser("assets", help="build etcd, kube-apiserver, kube-controller-manager, kubectl")
    built.add_argument("--with", dest="extra", default="", help=f"also, by comma: {', '.join(EXTRA_PROGRAMS)}")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    """Carry out one command; return the exit code."""
    if options.command == "assets":
        assets([program for program in options.extra.split(",") if program])
    elif options.command == "status":
        return status(options.name)
    elif options.command == "recycle":
        recycle(options.name)
    elif options.command == "up":
        up(options.name, options.node_image)
    else:
        with alone(f"cluster-{options.name}"):
            down(options.name, cache=options.cache)
    return 0


def main() -> int:
    """Turn expected failures into a message and a code."""
    try:
        return run(arguments())
    except StepFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
