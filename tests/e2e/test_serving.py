"""Services and evaluations in kind: real engines, real requests, a rollout under load, numbers about a real model."""

from __future__ import annotations

import json
import textwrap

import pytest
from e2e.cluster import Namespace, condition, demo_image, kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
MODEL = "file:///opt/ascend-jobs/models/smollm2-135m"
EVAL = "file:///opt/ascend-jobs/eval"
SHORT_GRACE = {"spec": {"terminationGracePeriodSeconds": 30}}
"""A namespace that is deleted waits for half of its pods' grace, which is some minutes by default."""
LOAD = textwrap.dedent(
    """
    import asyncio, json, sys, time
    import aiohttp

    async def ask(session, url):
        body = {"model": "smol", "max_tokens": 8, "temperature": 0, "stream": True,
                "messages": [{"role": "user", "content": "What is a cookie?"}]}
        async with session.post(url, json=body) as answer:
            text = await answer.text()
            assert answer.status == 200, text[:200]
            assert "[DONE]" in text, text[-200:]

    async def client(session, url, end, counts):
        while time.monotonic() < end:
            try:
                await ask(session, url)
                counts["done"] += 1
            except Exception as error:
                counts["failed"] += 1
                counts["errors"].append(f"{type(error).__name__}: {error}"[:200])
            await asyncio.sleep(0.2)

    async def main(url, seconds):
        counts = {"done": 0, "failed": 0, "errors": []}
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            end = time.monotonic() + seconds
            await asyncio.gather(*(client(session, url, end, counts) for _ in range(2)))
        print(json.dumps(counts), flush=True)

    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
    """
)


def service(name: str = "smol", **spec: object) -> dict:
    """An InferenceService of the demo's model."""
    values = {
        "model": {"uri": MODEL},
        "serving": {"maxLength": 1024, "maxConcurrency": 4},
        "runtime": {"resources": {"cpu": "200m", "memory": "1Gi"}, "podTemplate": SHORT_GRACE},
        "probe": {"prompt": "What is a cookie?", "everySeconds": 10},
        **spec,
    }
    return {
        "apiVersion": "ascendjobs.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": values,
    }


def load_pod(seconds: float) -> dict:
    """A pod that asks the service all the time and counts what failed."""
    url = "http://smol-aisvc:8000/v1/chat/completions"
    container = {
        "name": "main",
        "image": demo_image(),
        "imagePullPolicy": "Never",
        "command": ["python", "-c", LOAD, url, str(seconds)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "load"},
        "spec": {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 0},
    }


def ready(namespace: Namespace, name: str = "smol", *, revision: int = 1, seconds: float = 300) -> dict:
    """Wait until a revision serves alone and has answered."""

    def holds(found: dict) -> bool:
        status = found.get("status", {})
        serving = status.get("revision", {}).get("number") == revision and "candidate" not in status
        return serving and condition(status, "Ready")[0] == "True"

    return namespace.wait(f"aisvc/{name}", holds, seconds)["status"]


def test_a_rollout_under_load_drops_no_request_and_a_bad_one_is_rolled_back(namespace: Namespace):
    namespace.apply(service(scaling={"minReplicas": 2}))
    status = ready(namespace)
    assert status["probe"]["firstTokenMilliseconds"] > 0
    assert status["url"] == f"http://smol-aisvc.{namespace.name}.svc:8000"
    namespace.wait("aisvc/smol", lambda o: o["status"]["readyReplicas"] == 2)
    namespace.apply(load_pod(75))
    namespace.wait("pod/load", lambda o: o["status"]["phase"] == "Running")
    namespace.apply(service(scaling={"minReplicas": 2}, serving={"maxLength": 512, "maxConcurrency": 4}))
    ready(namespace, revision=2)
    namespace.wait("pod/load", lambda o: o["status"]["phase"] == "Succeeded", 200)
    counts = json.loads(kubectl("logs", "load", "-n", namespace.name).splitlines()[-1])
    assert counts["failed"] == 0, counts
    assert counts["done"] > 20
    namespace.apply(service(scaling={"minReplicas": 2}, model={"uri": "file:///opt/ascend-jobs/models/none"}))
    failed = namespace.wait("aisvc/smol", lambda o: o["status"].get("failedRevision"))["status"]
    assert failed["failedRevision"]["reason"] == "ModelInvalid"
    assert "spec.model.uri" in failed["failedRevision"]["message"]
    assert condition(failed, "Ready")[0] == "True"
    assert failed["revision"]["number"] == 2


def test_a_service_is_measured_and_compared(namespace: Namespace):
    namespace.claim()
    namespace.apply(service())
    evaluation = {
        "target": {"service": "smol"},
        "baseline": {"service": "smol"},
        "suites": [
            {"name": "ceval", "uri": f"{EVAL}/ceval", "maxTokens": 4},
            {
                "name": "kpi",
                "type": "command",
                "image": demo_image(),
                "command": ["sh", "-c", "echo '{\"resolved\": 0.9}' > /results/metrics.json"],
            },
        ],
        "performance": {"uri": f"{EVAL}/prompts.jsonl", "requests": 6, "warmupRequests": 1, "maxTokens": 16},
        "acceptance": [{"metric": "kpi.resolved", "min": 0.8}, {"metric": "performance.c1.Failed", "max": 0}],
        "output": {"uri": "pvc://models/reports"},
    }
    namespace.apply(
        {
            "apiVersion": "ascendjobs.io/v1alpha1",
            "kind": "EvaluationJob",
            "metadata": {"name": "smol"},
            "spec": evaluation,
        }
    )
    kubectl("wait", "evj/smol", "-n", namespace.name, "--for=condition=Complete", "--timeout=400s")
    status = namespace.get("evj/smol")["status"]
    assert condition(status, "Accepted") == ("True", "Accepted")
    assert status["result"]["verdict"] == "NoDifference"
    assert {c["metric"]: c["value"] for c in status["result"]["criteria"]}["kpi.resolved"] == 0.9
    assert status["result"]["requests"]["failed"] == 0
    assert status["result"]["report"]["uri"].startswith("pvc://models/reports/")


def test_a_replica_of_two_pods_answers_with_a_rank_table_in_both(namespace: Namespace):
    namespace.apply(service(nodes=2, npusPerNode=8))
    status = ready(namespace)
    assert condition(status, "RankTableReady") == ("True", "RankTableReady")
    table = namespace.get("cm/rings-config-smol-aisvc-1-0")["data"]["hccl.json"]
    assert sum(len(server["device"]) for server in json.loads(table)["server_list"]) == 16
    for pod in ("smol-aisvc-1-0-0", "smol-aisvc-1-0-1"):
        inside = kubectl(
            "exec", pod, "-c", "server", "-n", namespace.name, "--", "cat", "/user/serverid/devindex/config/hccl.json"
        )
        assert json.loads(inside) == json.loads(table)
    kubectl("delete", "pod", "smol-aisvc-1-0-1", "-n", namespace.name, "--grace-period=1")
    namespace.wait("aisvc/smol", lambda o: condition(o["status"], "RankTableReady")[0] == "False", 60)
    ready(namespace)


def test_mindie_speaks_its_own_ports(namespace: Namespace):
    namespace.apply(service(serving={"engine": "mindie", "maxLength": 1024, "maxConcurrency": 4}))
    status = ready(namespace)
    assert status["url"].endswith(":1025")
    assert status["engine"] == "mindie"
