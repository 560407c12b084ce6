"""The node image, built on the machine from Debian packages and Go modules."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from cluster.gobuild import build_pause, module_folder, sources_digest
from cluster.places import BIN, BUILD, KIND_FILES
from cluster.rootfs import image_id, rootfs_tag
from cluster.stages import Shell, Stage, StepFailed, files_digest

NODE_FAMILIES = ("kind", "etcd", "kube-api", "kube-node", "containerd", "coredns")
# Images whose one static program is all they hold. kube-proxy has tools around it, and a Dockerfile.
_STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "coredns", "pause")
_USR = {
    "bin": ("kubeadm", "kubectl", "kubelet"),
    "local/bin": ("containerd", "containerd-shim-runc-v2", "ctr"),
}


def node_tag(versions: dict[str, str]) -> str:
    """Return the name of the node image; it names the content, so an older one is never taken for it."""
    return f"ascend-jobs/kind-node:{versions['KUBERNETES_VERSION']}-{_digest(versions)[:12]}"


def _digest(versions: dict[str, str]) -> str:
    return node_stage(versions, tag="").digest


def node_stage(versions: dict[str, str], tag: str) -> Stage:
    """Return the stage that builds the node image under a name."""
    return Stage(
        name="node-image",
        title="build the node image from these parts",
        usual="80 s",
        inputs=(
            sources_digest(*NODE_FAMILIES, versions=versions),
            versions["DEBIAN_SUITE"],
            files_digest(*(KIND_FILES / part for part in ("node", "kube-proxy", "pause", "runc-wrapper.sh"))),
        ),
        present=lambda: bool(image_id(tag)),
        work=lambda shell: build_node_image(shell, versions, tag),
        way_out="needs the Debian packages inside `docker build`; then run the same command again",
    )


def build_node_image(shell: Shell, versions: dict[str, str], tag: str) -> None:
    """Gather the build context and build."""
    context = BUILD / "node"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(KIND_FILES / "node", context)
    shutil.copy(KIND_FILES / "runc-wrapper.sh", context)
    copy_base_files(shell, versions, context / "files")
    for folder, programs in _USR.items():
        (context / "usr" / folder).mkdir(parents=True)
        for program in programs:
            shutil.copy(BIN / program, context / "usr" / folder)
    base = rootfs_tag(versions["DEBIAN_SUITE"])
    names = control_plane_names(shell, versions["KUBERNETES_VERSION"])
    for program in _STATIC:
        import_static(shell, program, names[program])
    build_kube_proxy(shell, base, names["kube-proxy"])
    shell.run("docker", "save", "-o", context / "images.tar", *names.values())
    arguments = (f"KUBERNETES_VERSION={versions['KUBERNETES_VERSION']}", f"PAUSE_IMAGE={names['pause']}")
    docker_build(shell, context, tag, f"BASE={base}", *arguments)
    shell.run("docker", "image", "prune", "-f", "--filter", "label=ascendjobs.io/scratch=node-image")
    shutil.rmtree(context)


def docker_build(shell: Shell, context: Path, tag: str, *arguments: str) -> None:
    """Build with the classic builder, which every daemon has; the network is the host's, for machines without NAT."""
    flags = [word for argument in arguments for word in ("--build-arg", argument)]
    classic = {"DOCKER_BUILDKIT": "0"}
    shell.run("docker", "build", "--network", "host", "-t", tag, *flags, context, env=classic)


def copy_base_files(shell: Shell, versions: dict[str, str], target: Path) -> None:
    """Copy kind's own files out of its Go module, where all of them are read-only and none is executable."""
    source = module_folder(shell, "sigs.k8s.io/kind", versions["KIND_VERSION"]) / "images" / "base" / "files"
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        runs = path.is_dir() or path.read_bytes()[:2] == b"#!"
        path.chmod(0o755 if runs else 0o644)


def control_plane_names(shell: Shell, kubernetes: str) -> dict[str, str]:
    """Return image names as kubeadm expects them, by program."""
    listed = shell.ask("kubeadm", "config", "images", "list", "--kubernetes-version", kubernetes).split()
    names = {name.rsplit("/", 1)[1].split(":")[0]: name for name in listed}
    unknown = {*_STATIC, "kube-proxy"} - set(names)
    if unknown:
        raise StepFailed(shell.step, f"kubeadm names no image for {', '.join(sorted(unknown))}", log=shell.log)
    return names


def import_static(shell: Shell, program: str, tag: str) -> None:
    """Make an image that holds one static program."""
    binary = BIN / program
    if program == "pause":
        binary = BUILD / "pause-program"
        build_pause(shell, binary)
    packed = BUILD / f"{program}.tar"
    with tarfile.open(packed, "w") as tar:
        entry = tar.gettarinfo(binary, f"usr/local/bin/{program}")
        entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o755, 0, 0, "", ""
        with binary.open("rb") as content:
            tar.addfile(entry, content)
    path, entrypoint = "ENV PATH=/usr/local/bin", f'ENTRYPOINT ["/usr/local/bin/{program}"]'
    shell.run("docker", "import", "--change", path, "--change", entrypoint, packed, tag)
    packed.unlink()


def build_kube_proxy(shell: Shell, base: str, tag: str) -> None:
    """Build kube-proxy with the tools it calls."""
    context = BUILD / "kube-proxy"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(KIND_FILES / "kube-proxy", context)
    shutil.copy(BIN / "kube-proxy", context)
    docker_build(shell, context, tag, f"BASE={base}")
    shutil.rmtree(context)
