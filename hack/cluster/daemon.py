"""The Docker daemon: the one that runs, or one of our own where none does.

A daemon of ours keeps its data below the cache folder and its process id in a file; both are removed by name. Proxy
settings are those of the environment, untouched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from cluster.host import DOCKER_PACKAGES, install_packages, may_set_limits
from cluster.places import CACHE, DOCKER_DATA, DOCKER_PID, KIND_FILES, LOGS
from cluster.stages import StepFailed, alone, announce

STEP = "docker"
_LOG = LOGS / "dockerd.log"
_POLICY = CACHE / "forward-policy"
_START_SECONDS = 60.0  # measured: 2 s; more with many images on a slow disk
_STOP_SECONDS = 30.0  # dockerd gives containers 10 s and itself 15


def docker_answers() -> bool:
    """Tell whether a daemon answers within 20 s."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def ensure_daemon() -> None:
    """Start a daemon unless one answers."""
    if docker_answers():
        return
    with alone(STEP):
        _ensure_daemon()


def _ensure_daemon() -> None:
    install_packages(DOCKER_PACKAGES, STEP)
    if docker_answers():
        return
    if os.geteuid() != 0:
        raise StepFailed(STEP, "no daemon answers, and only root can start one", "start Docker, or run this as root")
    announce(f"{STEP}: start dockerd (usually 3 s)")
    started = time.monotonic()
    process = _launch()
    while not docker_answers():
        if process.poll() is not None or time.monotonic() - started > _START_SECONDS:
            raise StepFailed(STEP, "dockerd did not come up", "read the log; a daemon of your own does as well", _LOG)
        time.sleep(0.5)
    announce(f"{STEP}: done in {time.monotonic() - started:.0f} s")


def _launch() -> subprocess.Popen[bytes]:
    """Start dockerd detached from this terminal; its process id goes to the file that `stop_daemon` reads."""
    LOGS.mkdir(parents=True, exist_ok=True)
    DOCKER_DATA.mkdir(parents=True, exist_ok=True)
    forget_dead(Path("/var/run/docker.pid"), "dockerd")
    forget_dead(Path("/var/run/docker/containerd/containerd.pid"), "containerd")
    _POLICY.write_text(forward_policy())
    command = ["dockerd", "--data-root", str(DOCKER_DATA)]
    if not may_set_limits():
        command += ["--add-runtime", f"limited={install_wrapper(CACHE)}", "--default-runtime", "limited"]
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    with _LOG.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PATH": path},
        )
    DOCKER_PID.write_text(f"{process.pid}\n")
    return process


def forward_policy() -> str:
    """Return the packet filter's policy for forwarded packets; dockerd changes it and does not change it back."""
    listed = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout
    return next((line.split()[2] for line in listed.splitlines() if line.startswith("-P FORWARD ")), "ACCEPT")


def install_wrapper(folder: Path) -> Path:
    """Write the runc wrapper with this machine's path of runc; return the script."""
    real = shutil.which("runc", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    text = (KIND_FILES / "runc-wrapper.sh").read_text()
    script = folder / "runc-wrapper.sh"
    script.write_text(text.replace("/usr/sbin/runc", real) if real else text)
    script.chmod(0o755)
    return script


def our_daemon() -> int | None:
    """Return the process id of the daemon we started, None when there is none or it has ended."""
    return live_pid(DOCKER_PID, "dockerd")


def live_pid(file: Path, program: str) -> int | None:
    """Return the process id in a file if that process is the program; numbers are used again after a crash."""
    try:
        pid = int(file.read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    return pid if name == program else None


def forget_dead(file: Path, program: str) -> None:
    """Remove a pid file whose process is gone, or is another by now; dockerd would wait for it in vain."""
    if live_pid(file, program) is None:
        file.unlink(missing_ok=True)


def stop_daemon() -> bool:
    """Stop the daemon if it is ours, and take away what it put into the network; return whether it was ours."""
    pid = our_daemon()
    if pid is None:
        DOCKER_PID.unlink(missing_ok=True)
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while our_daemon() is not None:
        if time.monotonic() > deadline:
            raise StepFailed(STEP, f"dockerd (process {pid}) does not stop", f"kill -9 {pid}", _LOG)
        time.sleep(0.2)
    DOCKER_PID.unlink(missing_ok=True)
    _remove_network()
    _remove_traces()
    return True


def _remove_traces() -> None:
    """Remove what dockerd leaves in /run and its empty control groups."""
    for mounted in Path("/run/docker/netns").glob("*"):
        subprocess.run(["umount", str(mounted)], capture_output=True, check=False)
    shutil.rmtree("/run/docker", ignore_errors=True)
    for group in Path("/sys/fs/cgroup").glob("*/docker"):
        with contextlib.suppress(OSError):
            group.rmdir()


def _remove_network() -> None:
    """Remove the bridge and the packet filter chains that dockerd leaves behind when it stops."""
    subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)
    for table in ("filter", "nat"):
        listed = subprocess.run(["iptables-save", "-t", table], capture_output=True, text=True, check=False).stdout
        for words in chain_removals(listed):
            subprocess.run(["iptables", "-t", table, *words], capture_output=True, check=False)
    if _POLICY.exists():
        subprocess.run(["iptables", "-P", "FORWARD", _POLICY.read_text()], capture_output=True, check=False)
        _POLICY.unlink()


def chain_removals(saved: str) -> list[list[str]]:
    """Return the iptables arguments that remove every chain of Docker's and every rule that names one.

    `saved` is the text of iptables-save. Rules go first, then the chains are emptied, then removed.
    """
    chains = [line.split()[0][1:] for line in saved.splitlines() if line.startswith(":DOCKER")]
    rules = [line.split() for line in saved.splitlines() if line.startswith("-A ")]
    jumps = [["-D", *rule[1:]] for rule in rules if not rule[1].startswith("DOCKER") and names_docker(rule)]
    return jumps + [["-F", chain] for chain in chains] + [["-X", chain] for chain in chains]


def names_docker(rule: list[str]) -> bool:
    """Tell whether a rule jumps to a chain of Docker's or belongs to its default bridge."""
    return any(word.startswith("DOCKER") or word == "docker0" for word in rule)
