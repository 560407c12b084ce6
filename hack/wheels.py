"""Wheels for the images, fetched on the host and cached by the digest of what was asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cluster.host import install_packages
from cluster.places import BUILD, CACHE, HACK, PROJECT
from cluster.stages import Shell, Stage, digest_of, files_digest
from cluster.versions import read_versions

LOCKS = HACK / "locks"
_WHEELHOUSES = CACHE / "wheels"
_PYTHON = ("--python-version", "3.11", "--only-binary=:all:")  # that of the images, whatever runs here
_GPU_ONLY = {"triton"}  # compiles kernels for GPUs, 0.7 GB installed; torch imports without it, not without the others
_PROJECT_INPUTS = ("pyproject.toml", "README.md", "LICENSE", "operator")
_NO_INDEX = "needs the package index that pip is set up for (`pip config list`); then run the same command again"


def pip(shell: Shell) -> tuple[str, ...]:
    """Return a command that runs pip: this Python's, or one in an environment of our own."""
    here = (sys.executable, "-m", "pip")
    if subprocess.run([*here, "--version"], capture_output=True, check=False).returncode == 0:
        return here
    own = CACHE / "pip"
    if not (own / "bin" / "pip").exists():
        install_packages({"python3-venv": "python3-venv"}, "pip")
        shutil.rmtree(own, ignore_errors=True)
        shell.run(sys.executable, "-m", "venv", own)
    return (str(own / "bin" / "python"), "-m", "pip")


def wheelhouse(role: str) -> Path:
    """Return the folder that holds the wheels of a role: a lock's name, or torch."""
    return _WHEELHOUSES / f"{role}-{stage_inputs(role)[:12]}"


def stage_inputs(role: str) -> str:
    """Return a digest of what decides the wheels of a role."""
    if role == "torch":
        given = sorted(path.name for folder in torch_folders() for path in folder.glob("torch*.whl"))
        return digest_of(read_versions()["TORCH_VERSION"], *given, (LOCKS / "runtime.txt").read_text())
    return digest_of((LOCKS / f"{role}.txt").read_text())


def wheels_stage(role: str) -> Stage:
    """Return the stage that fetches the wheels of a role."""
    target = wheelhouse(role)
    return Stage(
        name=f"wheels-{role}",
        title=f"fetch the wheels of {role}",
        usual="10 s; with CUDA libraries, where torch has no CPU build, 2 minutes" if role == "torch" else "10 s",
        inputs=(stage_inputs(role),),
        present=target.is_dir,
        work=lambda shell: fetch(shell, role, target),
        way_out=_NO_INDEX,
    )


def fetch(shell: Shell, role: str, target: Path) -> None:
    """Download the wheels of a role; the folder appears when it is complete. Older ones of the role are removed."""
    unfinished = target.with_name(f".{role}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    download = (*pip(shell), "download", "--no-cache-dir", *_PYTHON, "-d", str(unfinished))
    if role == "torch":
        fetch_torch(shell, download, unfinished)
    else:
        shell.run(*download, "--no-deps", "--require-hashes", "-r", LOCKS / f"{role}.txt")
    for old in _WHEELHOUSES.glob(f"{role}-*"):
        shutil.rmtree(old)
    unfinished.rename(target)


def torch_folders() -> list[Path]:
    """Return the folders in which a wheel of torch may lie: $TORCH_WHEELS, then ../shared/wheels."""
    named = os.environ.get("TORCH_WHEELS", "")
    folders = [Path(named)] if named else []
    return [folder for folder in (*folders, PROJECT / ".." / "shared" / "wheels") if folder.is_dir()]


def fetch_torch(shell: Shell, download: tuple[str, ...], folder: Path) -> None:
    """Download torch: a CPU build from a given folder or index if there is one, else what the index has.

    On x86-64 the latter may be the CUDA build, which works on CPU but cannot be imported without its libraries; they
    are fetched with it, at the versions torch asks for. What the lock of the runtime has is not fetched twice.
    """
    links = [word for given in torch_folders() for word in ("--find-links", str(given))]
    shell.run(*download, *links, "--no-deps", f"torch=={read_versions()['TORCH_VERSION']}")
    wheel = next(folder.glob("torch-*.whl"))
    if "+cpu" in wheel.name or "x86_64" not in wheel.name:
        return
    pins = re.findall(r"^(\S+==.*?) *\\\\?$", (LOCKS / "runtime.txt").read_text(), re.MULTILINE)  # with markers
    constraints = BUILD / "constraints.txt"
    constraints.parent.mkdir(parents=True, exist_ok=True)
    constraints.write_text("\n".join(pins))
    shell.run(*download, "--constraint", constraints, wheel)
    locked = {pin.split("==")[0].replace("-", "_").lower() for pin in pins}
    for extra in folder.glob("*.whl"):
        if extra.name.split("-")[0].lower() in locked | _GPU_ONLY:
            extra.unlink()


def project_digest() -> str:
    """Return a digest of the project's own sources."""
    return files_digest(*(PROJECT / part for part in _PROJECT_INPUTS))


def build_project(shell: Shell, target: Path) -> None:
    """Build the project's wheel from a copy, so that nothing stale and nothing new stays in the source tree."""
    copy = BUILD / "project"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for part in _PROJECT_INPUTS:
        source = PROJECT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, copy)
    same_times = {"SOURCE_DATE_EPOCH": "315532800"}  # 1980, the first year a zip file can hold
    shell.run(*pip(shell), "wheel", "--no-deps", "-w", target, copy, env=same_times)
    shutil.rmtree(copy)
