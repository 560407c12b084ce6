"""etcd, kube-apiserver and kube-controller-manager as processes: a real API server without a cluster.

Nodes have no kubelet here, pods no scheduler: tests play both. The garbage collector and the namespace controller run.
Flags as envtest and kwokctl give them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import yaml
from apiserver.certificates import Authority

ROOT = Path(__file__).parents[2]
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
_PATIENCE = 120.0
"""Seconds a program gets to answer; 3-8 on an idle machine."""
_PR_SET_PDEATHSIG = 1


def find_programs() -> Path:
    """Return the folder of the programs: KUBEBUILDER_ASSETS, else built once by hack/cluster (8 minutes)."""
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        return Path(given)
    made = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "cluster"), "assets"], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(made.stdout.strip().splitlines()[-1])


class ControlPlane:
    """The three processes; `admin` may do everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = find_programs()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._authority = Authority(folder)
        self.url = ""
        self.prepared = False
        """The definitions and roles of the tests are there."""

    def start(self) -> None:
        """Start all; on failure the end of the log is in the error."""
        authority = self._authority
        authority.server("apiserver")
        authority.client("admin", "system:masters")
        authority.key_pair("service-accounts")
        etcd, peer, secure, manager = (_free_port() for _ in range(4))
        self._start_etcd(etcd, peer)
        self.url = f"https://127.0.0.1:{secure}"
        self._start_api_server(etcd, secure)
        self._start_controller_manager(manager)

    def stop(self) -> None:
        """Kill all, the last first; nothing of theirs is kept."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def kubeconfig(self, user: str, group: str = "") -> Path:
        """Return a kubeconfig for a user, made at the first call."""
        path = self.folder / f"{user}.kubeconfig"
        if not path.exists():
            if not (self.folder / f"{user}.crt").exists():
                self._authority.client(user, group)
            path.write_text(yaml.safe_dump(self._kubeconfig(user)))
        return path

    def _kubeconfig(self, user: str) -> dict[str, object]:
        files = {"client-certificate": f"{self.folder}/{user}.crt", "client-key": f"{self.folder}/{user}.key"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self._authority.path)}}
            ],
            "users": [{"name": user, "user": files}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }

    def _start_etcd(self, port: int, peer: int) -> None:
        url = f"http://127.0.0.1:{port}"
        self._start(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync=true",
        )
        self._wait("etcd", lambda: _answers(f"{url}/health", None))

    def _start_api_server(self, etcd: int, port: int) -> None:
        folder = self.folder
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={folder}/apiserver.crt",
            f"--tls-private-key-file={folder}/apiserver.key",
            f"--client-ca-file={self._authority.path}",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={self.url}/",
            f"--service-account-key-file={folder}/service-accounts.pub",
            f"--service-account-signing-key-file={folder}/service-accounts.key",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        )
        trust = ssl.create_default_context(cafile=str(self._authority.path))
        trust.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        self._wait("kube-apiserver", lambda: _answers(f"{self.url}/readyz", trust))

    def _start_controller_manager(self, port: int) -> None:
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('admin')}",
            f"--service-account-private-key-file={self.folder}/service-accounts.key",
            "--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller,"
            "resourcequota-controller",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--authorization-always-allow-paths=/healthz",
        )
        self._wait("kube-controller-manager", lambda: _answers(f"https://127.0.0.1:{port}/healthz", _any_server()))

    def _start(self, program: str, *flags: str) -> None:
        with (self.folder / f"{program}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [str(self._programs / program), *flags],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_die_with_parent,
                )
            )

    def _wait(self, program: str, ready: Callable[[], bool]) -> None:
        process, end = self._processes[-1], time.monotonic() + _PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                tail = (self.folder / f"{program}.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise RuntimeError(f"{program} does not answer:\n{tail}")
            time.sleep(0.2)


def _answers(url: str, trust: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(url, context=trust, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _any_server() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """Ask the kernel to end this process when the test process ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
