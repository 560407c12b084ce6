"""`python3 hack/images.py build [TARGET...] [--load CLUSTER]`: the container images, from wheels fetched on the host.

Prints one line a target: its name and the image's name by content. Each image is also tagged :dev. A target whose
inputs are unchanged is not built again, an image that the nodes have is not loaded again. runtime-npu needs
`--npu-base IMAGE`, the vendor's image with CANN, torch and torch_npu.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nodeload
from cluster import daemon
from cluster.nodeimage import docker_build
from cluster.places import BUILD, HACK, KIND_FILES, PROJECT
from cluster.rootfs import image_id, rootfs_stages, rootfs_tag
from cluster.stages import Shell, Stage, StepFailed, alone, announce, digest_of, files_digest, finish
from cluster.versions import read_versions
from dockerfile import slice_for
from wheels import LOCKS, build_project, project_digest, stage_inputs, wheelhouse, wheels_stage

_CONTEXT = BUILD / "images"
_DEMO_SCRIPTS = HACK / "demo"
EVALUATION = PROJECT / "examples" / "eval"
"""Small suites and prompts; in the demo image at /opt/ascend-jobs/eval."""
_KEPT = 4  # images by content a target; each costs little beside the layers they share


@dataclass(frozen=True)
class Target:
    """A target of the Dockerfile: the wheels its stages need, and how long a build takes on two cores."""

    name: str
    roles: tuple[str, ...]
    usual: str
    demo: bool = False


# In the order of the Dockerfile.
TARGETS = (
    Target("operator", ("operator",), "20 s"),
    Target("proxy", (), "20 s"),
    Target("emulator", ("emulator",), "15 s"),
    Target("runtime-cpu", ("torch", "runtime"), "1 minute; with CUDA libraries 5"),
    Target("demo", ("torch", "runtime", "demo"), "1 minute", demo=True),
    Target("runtime-npu", ("runtime",), "1 minute"),
)
_BY_NAME = {target.name: target for target in TARGETS}


@dataclass(frozen=True)
class Bases:
    """The images that ours stand on."""

    python: str
    npu: str = ""

    def arguments(self) -> list[str]:
        """Return them as build arguments."""
        return [f"BASE={self.python}", *([f"NPU_BASE={self.npu}"] if self.npu else [])]


def python_base() -> str:
    """Return a Python image: the official one where it can be had, else Debian's, built here.

    One built here before is taken without asking the registry again.
    """
    versions = read_versions()
    suite = versions["DEBIAN_SUITE"]
    local, official = f"ascend-jobs/python:{suite}", versions["PYTHON_IMAGE"]
    if not image_id(local) and not image_id(official):
        subprocess.run(["docker", "pull", "-q", official], capture_output=True, check=False)
    if image_id(official):
        return official
    for stage in (*rootfs_stages(suite), python_stage(suite, local)):
        finish(stage)
    return local


def python_stage(suite: str, tag: str) -> Stage:
    """Return the stage that adds Debian's Python to the Debian system."""
    context = KIND_FILES / "python"
    base = rootfs_tag(suite)
    return Stage(
        name="python-image",
        title="make a Python base image from Debian's packages, as none can be pulled",
        usual="20 s",
        inputs=(suite, files_digest(context)),
        present=lambda: bool(image_id(tag)),
        work=lambda shell: docker_build(shell, context, tag, f"BASE={base}"),
    )


def image_digest(target: Target, bases: Bases) -> str:
    """Return a digest of all that goes into an image."""
    demo = files_digest(*demo_scripts(), EVALUATION) if target.demo else ""
    base = image_id(bases.npu) if target.name == "runtime-npu" else image_id(bases.python)
    wheels = (stage_inputs(role) for role in target.roles)
    return digest_of(base, recipe(target), project_digest(), demo, *wheels)


def demo_scripts() -> list[Path]:
    """Return the scripts that make the demo's model and data."""
    return [_DEMO_SCRIPTS / "convert_smollm2.py", _DEMO_SCRIPTS / "foldoc.py"]


def lay_context(shell: Shell, target: Target) -> Path:
    """Lay the build context: the stages needed, their wheels and locks, our own wheel, the demo's scripts."""
    shutil.rmtree(_CONTEXT, ignore_errors=True)
    (_CONTEXT / "locks").mkdir(parents=True)
    (_CONTEXT / "Dockerfile").write_text(recipe(target))
    for role in target.roles:
        finish(wheels_stage(role))
        shutil.copytree(wheelhouse(role), _CONTEXT / "wheels" / role, copy_function=os.link)
        if role != "torch":
            shutil.copy(LOCKS / f"{role}.txt", _CONTEXT / "locks")
    build_project(shell, _CONTEXT / "dist")
    if target.demo:
        (_CONTEXT / "demo").mkdir()
        for script in demo_scripts():
            shutil.copy(script, _CONTEXT / "demo")
        shutil.copytree(EVALUATION, _CONTEXT / "demo" / "eval")
    return _CONTEXT


def recipe(target: Target) -> str:
    """Return the stages of the Dockerfile that a target needs."""
    return slice_for((PROJECT / "Dockerfile").read_text(), target.name)


def build(target: Target, bases: Bases) -> tuple[str, str]:
    """Build one image unless it is there; return its name by content and its moving name."""
    moving = f"ascend-jobs/{target.name}:dev"
    name = f"ascend-jobs/{target.name}:{image_digest(target, bases)[:12]}"
    if not image_id(name):
        announce(f"image {target.name}: build (usually {target.usual})")
        started = time.monotonic()
        shell = Shell(f"image-{target.name}", "read the log, then run the same command again: finished layers are kept")
        context = lay_context(shell, target)
        docker_build(shell, context, name, *bases.arguments())
        shutil.rmtree(context)
        announce(f"image {target.name}: done in {time.monotonic() - started:.0f} s")
    subprocess.run(["docker", "tag", name, moving], check=True)
    forget_old(target.name)
    return name, moving


def forget_old(target: str) -> None:
    """Remove all but the newest images of a target from the daemon; those of nodes are not touched."""
    listing = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", f"ascend-jobs/{target}"]  # newest first
    names = subprocess.run(listing, capture_output=True, text=True, check=False).stdout.split()
    old = [name for name in names if not name.endswith((":dev", ":<none>"))][_KEPT:]
    if old:
        subprocess.run(["docker", "rmi", *old], capture_output=True, check=False)


def build_all(names: list[str], npu_base: str, cluster: str) -> None:
    """Build the named targets in the Dockerfile's order, then load them if asked."""
    if "runtime-npu" in names and not npu_base:
        raise StepFailed("image-runtime-npu", "no base image given", "--npu-base IMAGE, the vendor's with torch_npu")
    daemon.ensure_daemon()
    with alone("images"):
        bases = Bases(python_base(), npu_base)
        built = [(target.name, *build(target, bases)) for target in TARGETS if target.name in names]
        if cluster:
            load_all(cluster, [(name, moving) for _, name, moving in built])
    for target, name, _ in built:
        print(f"{target} {name}")


def load_all(cluster: str, images: list[tuple[str, str]]) -> None:
    """Load images into the cluster's workers."""
    announce(f"images: load into the nodes of {cluster} what they lack (usually 1 s; 1 to 3 minutes when all is new)")
    started = time.monotonic()
    nodeload.load(Shell("image-load", "python3 hack/cluster up"), cluster, images)
    announce(f"images: done in {time.monotonic() - started:.0f} s")


def main() -> int:
    """Read the command line and turn expected failures into a message and a code."""
    parser = argparse.ArgumentParser(prog="python3 hack/images.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build images")
    builder.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(_BY_NAME)}; default: all but the last"
    )
    builder.add_argument("--load", default="", metavar="CLUSTER", help="load into this kind cluster's nodes")
    builder.add_argument("--npu-base", default="", metavar="IMAGE", help="base of runtime-npu")
    options = parser.parse_args()
    unknown = sorted(set(options.targets) - set(_BY_NAME))
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    names = options.targets or [target.name for target in TARGETS if target.name != "runtime-npu"]
    try:
        build_all(names, options.npu_base, options.load)
    except StepFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
