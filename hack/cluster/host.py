"""What this machine may do and has installed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cluster.stages import Shell, StepFailed, announce

CAP_SYS_RESOURCE = 24  # bit number, linux/capability.h

# Debian packages and the program by which each is recognised.
DOCKER_PACKAGES = {"docker.io": "dockerd", "runc": "runc", "iptables": "iptables", "jq": "jq"}
NODE_PACKAGES = {"debootstrap": "debootstrap"}
_POLICY = Path("/usr/sbin/policy-rc.d")


def may_set_limits(status: str | None = None) -> bool:
    """Tell whether CAP_SYS_RESOURCE is in the bounding set; without it `docker run --privileged` fails."""
    text = status if status is not None else Path("/proc/self/status").read_text()
    for line in text.splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return True


def missing_packages(wanted: dict[str, str]) -> list[str]:
    """Return the packages whose program is not on PATH; system folders count although PATH may lack them."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    return [package for package, program in wanted.items() if shutil.which(program, path=path) is None]


def install_packages(wanted: dict[str, str], step: str) -> None:
    """Install what is missing with apt; does nothing when all is there."""
    missing = missing_packages(wanted)
    if not missing:
        return
    names = " ".join(missing)
    way_out = f"install by hand: {names}"
    if shutil.which("apt-get") is None:
        raise StepFailed(step, f"{names} not installed, and this is no Debian system", way_out)
    if os.geteuid() != 0:
        raise StepFailed(step, f"{names} not installed, and only root may install", f"sudo apt-get install {names}")
    announce(f"{step}: install {names} with apt (usually 30 s)")
    shell = Shell(step, way_out)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with services_kept_stopped():
        shell.run("apt-get", "update", "-q", env=quiet)
        shell.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *missing, env=quiet)


@contextlib.contextmanager
def services_kept_stopped() -> Iterator[None]:
    """Keep packages from starting their services: the daemon we need has flags of its own, and is stopped again."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
