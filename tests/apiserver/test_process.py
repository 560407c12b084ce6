"""The operator as a process: how it starts, how it ends, with what code and last words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from apiserver.world import OPERATOR, OWN, World, eventually
from ascend_jobs.cluster.verbs import LEASES

pytestmark = pytest.mark.apiserver
ROOT = Path(__file__).parents[2]


@contextmanager
def process(**environ: str) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "ASCENDJOBS_PORT": "0", "ASCENDJOBS_HOST": "127.0.0.1"}
    started = subprocess.Popen(
        [sys.executable, "-m", "ascend_jobs"], env={**env, **environ}, stderr=subprocess.PIPE, text=True
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def read_until(started: subprocess.Popen[str], message: str) -> dict:
    assert started.stderr is not None
    end = time.monotonic() + 60
    seen = []
    for line in started.stderr:
        seen.append(line)
        found = json.loads(line)
        if found["message"] == message:
            return found
        assert time.monotonic() < end
    raise AssertionError(f"ended without {message!r}: {seen}")


async def test_a_stop_that_is_asked_for_ends_well_and_gives_the_lease_back(world: World, namespace: str):
    kubeconfig = str(world.plane.kubeconfig(OPERATOR))
    own = {"ASCENDJOBS_OWN_NAMESPACE": OWN, "ASCENDJOBS_LEASE_NAME": namespace}
    with process(ASCENDJOBS_KUBECONFIG=kubeconfig, **own) as started:
        read_until(started, "lease acquired")
        started.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        read_until(started, "lease released")
        read_until(started, "operator stopped")
        assert started.wait(timeout=30) == 0
        assert time.monotonic() - asked < 10
    lease = await world.api.get(LEASES, OWN, namespace)
    assert not lease["spec"].get("holderIdentity")


async def test_a_lost_lease_ends_it_with_one_line_that_says_so(world: World, namespace: str):
    kubeconfig = str(world.plane.kubeconfig(OPERATOR))
    own = {"ASCENDJOBS_OWN_NAMESPACE": OWN, "ASCENDJOBS_LEASE_NAME": namespace}
    with process(ASCENDJOBS_KUBECONFIG=kubeconfig, **own) as started:
        read_until(started, "lease acquired")
        await world.api.patch(LEASES, OWN, namespace, {"spec": {"holderIdentity": "thief"}})
        last = read_until(started, "operator ended")
        assert last["error"] == "another process holds the lease"
        assert started.wait(timeout=30) == 1


async def test_without_a_cluster_it_says_so(tmp_path: Path):
    missing = str(tmp_path / "none")
    with process(ASCENDJOBS_KUBECONFIG=missing) as started:
        assert "No configuration found" in read_until(started, "operator ended")["error"]
        assert started.wait(timeout=30) == 1


async def test_a_server_that_is_not_there_yet_is_waited_for(world: World, tmp_path: Path):
    text = world.plane.kubeconfig(OPERATOR).read_text().replace(world.plane.url, "https://127.0.0.1:1")
    (tmp_path / "config").write_text(text)
    with process(ASCENDJOBS_KUBECONFIG=str(tmp_path / "config")) as started:
        read_until(started, "API server not asked for its resources")

        async def alive() -> bool:
            return started.poll() is None

        await eventually(alive)
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=30) == 0
