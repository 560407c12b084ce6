#!/usr/bin/env python3
"""Measure how long a rank table takes from the last pod's allocation to the file inside every container.

    .venv/bin/python hack/bench_ranktable.py [--runs 30] [--nodes 2] [--untouched 10]

Runs against the kind cluster with the chart installed (make deploy). With the operator: one job, suspended and resumed
for each run, so that each is a new attempt with new pods; the moment of allocation is when the device plugin's report
on the last pod is seen by a watch, the moment of delivery is the container log's own time stamp of the line in which
the init container says that it has the file. Without the touch, as the floor of what a plain ConfigMap does: pods with
the same init container wait for ConfigMaps that this program completes and then leaves alone.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "tests")]

from ascend_jobs import names  # noqa: E402 - the path is set above
from ascend_jobs.domain.ranktable import INITIALIZING, Member, rank_table  # noqa: E402
from e2e.cluster import CONTEXT, Namespace, demo_image, eventually, kubectl, make_toy_job, runtime_pod  # noqa: E402

JOB = "bench"


class Allocations(threading.Thread):
    """Watches worker pods and notes when each was first seen with a device report (Unix seconds, by pod name)."""

    def __init__(self, namespace: str) -> None:
        super().__init__(daemon=True)
        command = (
            "kubectl",
            "--context",
            CONTEXT,
            "get",
            "pods",
            "-n",
            namespace,
            "-w",
            "-o",
            "json",
            "--output-watch-events",
        )
        self._stream = subprocess.Popen(
            (*command, "-l", f"{names.ROLE}={names.ROLE_WORKER}"), stdout=subprocess.PIPE, text=True
        )
        self.seen: dict[str, float] = {}

    def run(self) -> None:
        """Read events until the stream ends."""
        for line in self._stream.stdout or ():
            meta = json.loads(line)["object"]["metadata"]
            if names.MINDCLUSTER_DEVICES in meta.get("annotations", {}):
                self.seen.setdefault(meta["name"], time.time())

    def stop(self) -> None:
        """End the stream."""
        self._stream.terminate()


def with_operator(runs: int, nodes: int) -> list[float]:
    """Return seconds of each run, with the operator's touch."""
    space = Namespace()
    watch = Allocations(space.name)
    watch.start()
    try:
        space.claim()
        space.apply(runtime_pod("toy", "toy", "/volumes/models/toy"))
        space.wait("pod/toy", lambda pod: pod["status"].get("phase") == "Succeeded")
        idle = {
            "containers": [{"name": "trainer", "command": ["sleep"], "args": ["3600"]}],
            "terminationGracePeriodSeconds": 0,
        }
        space.apply(make_toy_job(JOB, nodes=nodes, runtime={"podTemplate": {"spec": idle}}))
        found = []
        for number in range(runs):
            found.append(one_run(space, watch, nodes))
            print(f"  run {number + 1} of {runs}: {found[-1]:.2f} s", flush=True)
            again(space)
        return found
    finally:
        watch.stop()
        space.remove()


def one_run(space: Namespace, watch: Allocations, nodes: int) -> float:
    """Wait for the present attempt's table in every container; return seconds since the last allocation."""
    running = [{"type": "RankTableReady", "status": "True"}]
    status = space.wait(
        f"ftj/{JOB}",
        lambda o: (
            any(
                c["type"] == running[0]["type"] and c["status"] == "True"
                for c in o.get("status", {}).get("conditions", ())
            )
            and o["status"]["phase"] == "Running"
        ),
    )["status"]
    pods = [names.worker_name(f"{JOB}-ftj", status["attempt"]["number"], index) for index in range(nodes)]
    eventually("allocations", lambda: all(pod in watch.seen for pod in pods))
    return max(delivered(space.name, pod) for pod in pods) - max(watch.seen[pod] for pod in pods)


def again(space: Namespace) -> None:
    """Suspend and resume, which makes a new attempt."""
    suspend(space, True)
    space.job(JOB, phase="Suspended")
    eventually("pods to go", lambda: not space.items("pods", f"{names.ROLE}={names.ROLE_WORKER}"))
    suspend(space, False)


def suspend(space: Namespace, value: bool) -> None:
    """Set spec.suspend."""
    patch = json.dumps({"spec": {"suspend": value}})
    kubectl("patch", f"ftj/{JOB}", "-n", space.name, "--type=merge", "-p", patch)


def delivered(namespace: str, pod: str) -> float:
    """Return when a pod's init container had the table, Unix seconds."""
    log = kubectl("logs", pod, "-c", names.CONTAINER_WAIT, "-n", namespace, "--timestamps")
    line = next(line for line in log.splitlines() if '"delivered"' in line)
    stamp = re.sub(r"(\.\d{6})\d*", r"\1", line.split()[0])
    return datetime.fromisoformat(stamp).timestamp()


def without_touch(count: int) -> list[float]:
    """Return seconds from the completed ConfigMap to the file, side by side for `count` pods of their own."""
    space = Namespace()
    try:
        for index in range(count):
            space.apply(config_map(index, INITIALIZING), waiting_pod(index))
        pods = [
            space.wait(
                f"pod/plain-{index}",
                lambda p: "running" in p["status"].get("initContainerStatuses", [{}])[0].get("state", {}),
            )
            for index in range(count)
        ]
        time.sleep(5)
        published = {}
        for index, pod in enumerate(pods):
            meta, status = pod["metadata"], pod["status"]
            where = (status["podIP"], status["hostIP"], pod["spec"]["nodeName"])
            member = Member(0, meta["name"], meta["uid"], *where, meta["annotations"])
            space.apply(config_map(index, rank_table([member]).document))
            published[index] = time.time()
        for index in range(count):
            space.wait(f"pod/plain-{index}", has_table, 240)
        return [delivered(space.name, f"plain-{index}") - published[index] for index in range(count)]
    finally:
        space.remove()


def has_table(pod: dict[str, Any]) -> bool:
    """Say whether a pod's init container ended."""
    return "terminated" in pod["status"]["initContainerStatuses"][0]["state"]


def config_map(index: int, table: str) -> dict[str, Any]:
    """Return a ConfigMap such as the operator makes."""
    data = {names.RANK_TABLE_KEY: table, names.RANK_TABLE_ATTEMPT_KEY: "0", names.RANK_TABLE_VERSION_KEY: "1"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"plain-{index}"}, "data": data}


def waiting_pod(index: int) -> dict[str, Any]:
    """Return a pod with one NPU whose init container waits for its table."""
    field = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    env = [
        {"name": names.ENV_POD_IP, **field},
        {"name": "MASTER_ADDR", **field},
        {"name": names.ENV_ATTEMPT, "value": "0"},
        {"name": names.ENV_RANK_TABLE_SOURCE, "value": "/source"},
    ]
    report = json.dumps({"devices": [{"device_id": "0", "device_ip": "192.168.0.1"}]})
    wait = {"name": names.CONTAINER_WAIT, "image": demo_image(), "command": ["python", "-m", "ascend_runtime", "wait"],
            "env": env, "volumeMounts": [{"name": "source", "mountPath": "/source"},
                                         {"name": "out", "mountPath": names.RANK_TABLE_DIR}]}  # fmt: skip
    spec = {
        "restartPolicy": "Never",
        "volumes": [{"name": "source", "configMap": {"name": f"plain-{index}"}}, {"name": "out", "emptyDir": {}}],
        "initContainers": [wait],
        "containers": [{"name": "main", "image": demo_image(), "command": ["true"]}],
    }
    metadata = {"name": f"plain-{index}", "annotations": {names.MINDCLUSTER_DEVICES: report}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def told(what: str, seconds: list[float]) -> None:
    """Print one row."""
    p99 = quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
    figures = f"min {min(seconds):6.2f}  median {median(seconds):6.2f}  p99 {p99:6.2f}  max {max(seconds):6.2f} s"
    print(f"{what:28} n={len(seconds):<3} {figures}")


def main() -> int:
    """Measure both ways and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="runs with the operator (default %(default)s)")
    parser.add_argument("--nodes", type=int, default=2, help="pods of the job (default %(default)s)")
    parser.add_argument("--untouched", type=int, default=10, help="pods without the touch (default %(default)s)")
    args = parser.parse_args()
    print("without the touch ...", flush=True)
    plain = without_touch(args.untouched)
    print("with the operator ...", flush=True)
    touched = with_operator(args.runs, args.nodes)
    told("allocation to file, operator", touched)
    told("ConfigMap to file, no touch", plain)
    print(f"ratio of medians: {median(plain) / median(touched):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
