"""The base image of everything built on the machine: a Debian system made by debootstrap."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from cluster.host import NODE_PACKAGES, install_packages
from cluster.places import BUILD, CACHE
from cluster.stages import Shell, Stage, StepFailed

# What a container never reads, a third of the system's size.
_SURPLUS = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)


def rootfs_tar(suite: str) -> Path:
    """Return where the system is kept as a tar file."""
    return CACHE / f"rootfs-{suite}.tar"


def rootfs_tag(suite: str) -> str:
    """Return the name of the image."""
    return f"ascend-jobs/debian:{suite}"


def image_id(tag: str) -> str:
    """Return the id of an image, empty when the daemon does not have it."""
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", tag], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def rootfs_stages(suite: str) -> tuple[Stage, Stage]:
    """Return the stages that make the system and that hand it to the daemon."""
    tar = rootfs_tar(suite)
    made = Stage(
        name="debian",
        title=f"make a small Debian {suite} with debootstrap",
        usual="45 s",
        inputs=(suite, *_SURPLUS),
        present=tar.is_file,
        work=lambda shell: make_rootfs(shell, suite, tar),
        way_out="needs root and the Debian packages; http_proxy is honoured",
    )
    imported = Stage(
        name="debian-image",
        title="hand it to Docker",
        usual="5 s",
        inputs=made.inputs,
        present=lambda: bool(image_id(rootfs_tag(suite))),
        work=lambda shell: import_rootfs(shell, tar, rootfs_tag(suite)),
    )
    return made, imported


def make_rootfs(shell: Shell, suite: str, tar: Path) -> None:
    """Run debootstrap and pack the result."""
    if os.geteuid() != 0:
        raise StepFailed(shell.step, "debootstrap needs root", "run this as root, or use a Docker that can pull images")
    install_packages(NODE_PACKAGES, "debootstrap")
    root = BUILD / "rootfs"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    shell.run("debootstrap", "--variant=minbase", suite, root, *mirror_of_host(suite))
    for surplus in _SURPLUS:
        for entry in (root / surplus).glob("*"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    unfinished = tar.with_suffix(".unfinished")
    shell.run("tar", "-C", root, "--numeric-owner", "-cf", unfinished, ".")
    unfinished.rename(tar)
    shutil.rmtree(root)


def mirror_of_host(suite: str) -> list[str]:
    """Return the mirror this machine installs from, when it runs the same suite; debootstrap's own otherwise."""
    listing = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    try:
        lines = subprocess.run(listing, capture_output=True, text=True, check=False).stdout.splitlines()
    except FileNotFoundError:
        return []
    sites = [line.split()[0] for line in lines if line.split()[1:] == [suite, "main"]]
    return sites[:1]


def import_rootfs(shell: Shell, tar: Path, tag: str) -> None:
    """Make an image of the packed system."""
    shell.run("docker", "import", "--change", 'CMD ["/bin/sh"]', tar, tag)
