"""Programs built from Go modules, for machines on which they cannot be downloaded.

Each module is built in its own source folder of the module cache, with a copy of its go.mod beside the build
(-modfile): the versions and checksums of all that it needs are those its authors released it with. Replacements that
point to folders of the authors' repository are turned into the released modules of the same name, which Go checks
against its checksum database. `usual` times are for two cores and a cold build cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster.places import BIN, BUILD, KIND_FILES
from cluster.stages import Shell, Stage, StepFailed, digest_of, files_digest

_GO_MISSING = "install Go 1.21 or newer (it fetches the toolchain each module asks for) and put `go` on PATH"


@dataclass(frozen=True)
class Family:
    """Programs of one Go module that are built together.

    `programs` maps the file name in the bin folder to the package below the module. `siblings` is the version of the
    modules that the module's go.mod replaces with folders of its repository. `overlay` maps files below the module to
    our own files that take their place.
    """

    name: str
    module: str
    version: str
    programs: dict[str, str]
    usual: str
    siblings: str = ""
    tags: str = ""
    ldflags: str = "-s -w"
    overlay: tuple[tuple[str, Path], ...] = ()

    @property
    def binaries(self) -> list[Path]:
        """Where the programs are put."""
        return [BIN / program for program in self.programs]


def kubernetes_ldflags(version: str) -> str:
    """Return linker flags that stamp the version; without them kubeadm and kubectl misjudge the skew."""
    major, minor = version.removeprefix("v").split(".")[:2]
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items())


def _kubernetes(name: str, version: str, programs: tuple[str, ...], usual: str) -> Family:
    return Family(
        name=name,
        module="k8s.io/kubernetes",
        version=version,
        programs={program: f"./cmd/{program}" for program in programs},
        usual=usual,
        siblings="v0." + version.removeprefix("v1."),
        ldflags=kubernetes_ldflags(version),
    )


def families(versions: dict[str, str]) -> dict[str, Family]:
    """Return everything that can be built, by name."""
    kubernetes, etcd = versions["KUBERNETES_VERSION"], versions["ETCD_VERSION"]
    coredns = KIND_FILES / "coredns"
    every = (
        Family("etcd", "go.etcd.io/etcd/server/v3", etcd, {"etcd": "."}, "50 s", siblings=etcd),
        _kubernetes("kube-api", kubernetes, ("kube-apiserver", "kube-controller-manager", "kubectl"), "8-11 minutes"),
        _kubernetes("kube-node", kubernetes, ("kubelet", "kubeadm", "kube-scheduler", "kube-proxy"), "1 minute"),
        Family("kind", "sigs.k8s.io/kind", versions["KIND_VERSION"], {"kind": "."}, "10 s"),
        Family(
            "containerd",
            "github.com/containerd/containerd/v2",
            versions["CONTAINERD_VERSION"],
            {name: f"./cmd/{name}" for name in ("containerd", "ctr", "containerd-shim-runc-v2")},
            "1 minute",
            tags="no_btrfs no_devmapper no_zfs",
        ),
        Family(
            "coredns",
            "github.com/coredns/coredns",
            versions["COREDNS_VERSION"],
            {"coredns": "."},
            "1 minute",
            overlay=(
                ("core/plugin/zplugin.go", coredns / "zplugin.go"),
                ("core/dnsserver/zdirectives.go", coredns / "zdirectives.go"),
            ),
        ),
        Family("helm", "helm.sh/helm/v4", versions["HELM_VERSION"], {"helm": "./cmd/helm"}, "2 minutes"),
        Family("kwok", "sigs.k8s.io/kwok", versions["KWOK_VERSION"], {"kwok": "./cmd/kwok"}, "90 s to 4 minutes"),
    )
    return {family.name: family for family in every}


def build_stage(family: Family) -> Stage:
    """Return the stage that builds a family into the bin folder."""
    programs = ", ".join(family.programs)
    return Stage(
        name=f"go-{family.name}",
        title=f"compile {programs} from the Go module {family.module} {family.version}",
        usual=f"{family.usual} with a cold build cache",
        inputs=(
            family.module,
            family.version,
            repr(sorted(family.programs.items())),
            family.siblings,
            family.tags,
            family.ldflags,
            files_digest(*(ours for _, ours in family.overlay)),
        ),
        present=lambda: all(os.access(binary, os.X_OK) for binary in family.binaries),
        work=lambda shell: build(shell, family),
        way_out="needs the Go module proxy (`go env GOPROXY`) and 4 GB of disk; then run the same command again",
    )


def build(shell: Shell, family: Family) -> None:
    """Compile a family and move its programs into the bin folder; a program there is always a whole one."""
    check_go(shell)
    source = module_folder(shell, family.module, family.version)
    scratch = BUILD / f"go-{family.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    flags = [f"-modfile={write_modfile(shell, family, source, scratch)}", "-mod=mod", "-trimpath"]
    flags += [f"-ldflags={family.ldflags}", f"-tags={family.tags}"]
    if family.overlay:
        source = copy_with_overlay(family, source, scratch / "source")
    out = scratch / "out"
    out.mkdir()
    packages = list(family.programs.values())
    target = str(out / next(iter(family.programs))) if len(packages) == 1 else f"{out}/"
    shell.run("go", "build", *flags, "-o", target, *packages, cwd=source, env=go_environment())
    BIN.mkdir(parents=True, exist_ok=True)
    for binary in family.binaries:
        (out / binary.name).rename(binary)
    shutil.rmtree(scratch)


def build_pause(shell: Shell, target: Path) -> None:
    """Compile the program that holds a pod's namespaces."""
    check_go(shell)
    flags = ("-trimpath", "-ldflags=-s -w", "-o", str(target))
    shell.run("go", "build", *flags, KIND_FILES / "pause" / "main.go", env=go_environment())


def go_environment() -> dict[str, str]:
    """Return settings for reproducible static programs; a newer toolchain is fetched where a module asks for one."""
    return {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "auto"}


def check_go(shell: Shell) -> None:
    """Raise StepFailed unless there is a Go that can fetch newer toolchains by itself."""
    if shutil.which("go") is None:
        raise StepFailed(shell.step, "Go is not installed", _GO_MISSING)
    version = shell.ask("go", "env", "GOVERSION", env={"GOTOOLCHAIN": "local"}).strip()
    match = re.match(r"go1\.(\d+)", version)
    if match is None or int(match[1]) < 21:
        raise StepFailed(shell.step, f"{version} is too old", _GO_MISSING)


def module_folder(shell: Shell, module: str, version: str) -> Path:
    """Fetch a module and return its folder in the module cache, which is read-only."""
    answer = json.loads(shell.ask("go", "mod", "download", "-json", f"{module}@{version}", env=go_environment()))
    return Path(answer["Dir"])


def write_modfile(shell: Shell, family: Family, source: Path, scratch: Path) -> Path:
    """Copy go.mod and go.sum, and let released modules stand in for folders of the authors' repository."""
    modfile = scratch / "go.mod"
    modfile.write_bytes((source / "go.mod").read_bytes())
    (scratch / "go.sum").write_bytes((source / "go.sum").read_bytes())
    described = json.loads(shell.ask("go", "mod", "edit", "-json", modfile, env=go_environment()))
    required = {needed["Path"] for needed in described.get("Require") or []}
    edits = []
    for replaced in described.get("Replace") or []:
        path, new = replaced["Old"]["Path"], replaced["New"]["Path"]
        if new.startswith("."):
            edits.append(f"-replace={path}={path}@{family.siblings}" if path in required else f"-dropreplace={path}")
    if edits:
        shell.run("go", "mod", "edit", *edits, modfile, env=go_environment())
    return modfile


def copy_with_overlay(family: Family, source: Path, target: Path) -> Path:
    """Copy a module and put our files in place of its own; go refuses to do so inside the module cache."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for theirs, ours in family.overlay:
        (target / theirs).parent.chmod(0o755)
        shutil.copyfile(ours, target / theirs)
    for folder in target.rglob("*"):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    return target


def sources_digest(*names: str, versions: dict[str, str]) -> str:
    """Return one digest over all that decides the programs of some families."""
    every = families(versions)
    return digest_of(*(build_stage(every[name]).digest for name in names))
