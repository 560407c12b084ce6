"""The main job on real input, with fewer steps: SmolLM2 learns from a dictionary, is served, measured and accepted."""

from __future__ import annotations

import json

import pytest
import yaml
from e2e.cluster import EXAMPLE, Namespace, condition, kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_the_example_trains_and_learns(namespace: Namespace):
    claim, job, service, evaluation = yaml.safe_load_all(EXAMPLE.read_text())
    job["spec"]["training"]["hyperparameters"]["maxSteps"] = 12
    job["spec"]["checkpoint"]["everySteps"] = 6
    service["spec"]["runtime"] = {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 30}}}
    namespace.apply(claim, job, service, evaluation)
    name = job["metadata"]["name"]
    waiting = namespace.wait(f"aisvc/{job['metadata']['name']}", lambda o: o.get("status", {}).get("conditions"))
    assert condition(waiting["status"], "ModelReady") == ("False", "WaitingForJob")
    first = namespace.wait(f"ftj/{name}", lambda o: o.get("status", {}).get("progress"), 600)["status"]["progress"]
    kubectl("wait", f"ftj/{name}", "-n", namespace.name, "--for=condition=Complete", "--timeout=900s")
    status = namespace.get(f"ftj/{name}")["status"]
    assert status["progress"]["step"] == status["progress"]["totalSteps"] == 12
    assert status["progress"]["loss"] < first["loss"]
    assert status["lastCheckpoint"]["step"] in (6, 12)
    assert [a["type"] for a in status["artifacts"]] == ["adapter"]
    assert status["restarts"] == {"program": 0, "platform": 0}
    assert condition(status, "RankTableReady") == ("True", "RankTableReady")
    pods = namespace.workers(name, 0)
    assert len({p["spec"]["nodeName"] for p in pods}) == 2
    reasons = {e["reason"] for e in namespace.items("events") if e["involvedObject"]["name"] == name}
    assert {"Preparing", "Prepared", "PodsCreated", "RankTablePublished", "Training", "Complete"} <= reasons
    line = kubectl("get", "ftj", name, "-n", namespace.name)
    assert "Complete" in line
    assert "12" in line
    log = kubectl("logs", pods[0]["metadata"]["name"], "-c", "trainer", "-n", namespace.name)
    steps = [json.loads(line) for line in log.splitlines() if line.startswith('{"event": "progress"')]
    assert [s["step"] for s in steps] == list(range(1, 13))
    check_service(namespace, name)


def check_service(namespace: Namespace, name: str) -> None:
    """The service takes the job's adapter, answers; the evaluation asks it and accepts."""
    kubectl("wait", f"aisvc/{name}", "-n", namespace.name, "--for=condition=Ready", "--timeout=300s")
    served = namespace.get(f"aisvc/{name}")["status"]
    assert served["servedName"] == name
    assert served["probe"]["tokensPerSecond"] > 0
    kubectl("wait", f"evj/{name}", "-n", namespace.name, "--for=condition=Complete", "--timeout=400s")
    status = namespace.get(f"evj/{name}")["status"]
    assert condition(status, "Accepted") == ("True", "Accepted")
    assert status["result"]["requests"]["failed"] == 0
    assert any(m["name"] == "ceval.accuracy" for m in status["result"]["metrics"])
