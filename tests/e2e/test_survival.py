"""What a job survives: a killed pod, a killed operator; and sixteen ranks with a full rank table."""

from __future__ import annotations

import json

import pytest
from e2e.cluster import SYSTEM, Namespace, condition, eventually, kubectl, make_toy_job

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def lines_of(namespace: Namespace, pod: str, event: str) -> list[dict]:
    """The trainer's lines of one event."""
    log = kubectl("logs", pod, "-c", "trainer", "-n", namespace.name)
    found = (json.loads(line) for line in log.splitlines() if line.startswith("{"))
    return [line for line in found if line.get("event") == event]


def rank_table(namespace: Namespace, pod: str) -> dict:
    """The table as the trainer's container has it."""
    path = "/user/serverid/devindex/config/hccl.json"
    return json.loads(kubectl("exec", pod, "-c", "trainer", "-n", namespace.name, "--", "cat", path))


def test_a_killed_pod_comes_back_and_training_goes_on_from_the_checkpoint(toy: Namespace):
    toy.apply(make_toy_job("killed", steps=600))
    toy.wait("ftj/killed", lambda o: o.get("status", {}).get("lastCheckpoint", {}).get("step", 0) >= 8)
    old = rank_table(toy, "killed-ftj-0-worker-1")
    before = toy.get("ftj/killed")["status"]
    kubectl("delete", "pod", "killed-ftj-0-worker-1", "-n", toy.name, "--grace-period=0", "--force")
    toy.wait(
        "ftj/killed",
        lambda o: o["status"]["attempt"]["number"] == 1 and condition(o["status"], "Running")[0] == "True",
    )
    again = eventually("steps of the next attempt", lambda: lines_of(toy, "killed-ftj-1-worker-0", "progress"))
    assert again[0]["step"] > before["lastCheckpoint"]["step"] >= 8
    new = rank_table(toy, "killed-ftj-1-worker-1")
    assert new["status"] == "completed"
    assert {s["container_ip"] for s in new["server_list"]} != {s["container_ip"] for s in old["server_list"]}
    status = toy.get("ftj/killed")["status"]
    assert status["restarts"] == {"program": 0, "platform": 1}
    assert status["rankTable"]["version"] > before["rankTable"]["version"]
    kubectl("delete", "ftj", "killed", "-n", toy.name)


def test_an_operator_that_is_killed_loses_nothing(toy: Namespace):
    toy.apply(make_toy_job("orphan", steps=60))
    toy.wait("ftj/orphan", lambda o: o.get("status", {}).get("progress", {}).get("step", 0) >= 1)
    uids = {p["metadata"]["uid"] for p in toy.workers("orphan", 0)}
    kubectl("delete", "pod", "-n", SYSTEM, "-l", "app.kubernetes.io/component=operator", "--grace-period=0", "--force")
    status = toy.job("orphan", phase="Complete")
    assert status["progress"]["step"] == 60
    assert status["attempt"]["number"] == 0
    assert {p["metadata"]["uid"] for p in toy.workers("orphan", 0)} == uids


def test_sixteen_ranks_on_two_nodes(toy: Namespace):
    toy.apply(make_toy_job("sixteen", steps=4, npusPerNode=8))
    toy.wait("ftj/sixteen", lambda o: condition(o["status"], "Running")[0] == "True" if "status" in o else False, 300)
    table = rank_table(toy, "sixteen-ftj-0-worker-1")
    ranks = [d["rank_id"] for s in table["server_list"] for d in s["device"]]
    assert ranks == [str(rank) for rank in range(16)]
    assert table["server_count"] == "2"
    assert len({d["device_ip"] for s in table["server_list"] for d in s["device"]}) == 16
    status = toy.job("sixteen", 600, phase="Complete")
    assert status["rankTable"]["devices"] == 16
    assert status["progress"]["step"] == 4


def test_deleting_a_job_in_the_middle_leaves_no_object_and_keeps_the_volume(toy: Namespace):
    toy.apply(make_toy_job("gone", steps=10000))
    toy.wait("ftj/gone", lambda o: o.get("status", {}).get("phase") == "Running")
    kubectl("delete", "ftj", "gone", "-n", toy.name)
    kinds = "pods,services,configmaps,controllerrevisions"
    eventually("children to go", lambda: not toy.items(kinds, "ascendjobs.io/job-name=gone"), 90)
    assert toy.get("pvc/models")["status"]["phase"] == "Bound"
