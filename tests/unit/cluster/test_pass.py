"""What a pass observes, what it does when something goes wrong, and the loop around it."""

from __future__ import annotations

import asyncio
import json

import pytest
from ascend_jobs import names
from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.capacity import Capacity
from ascend_jobs.cluster.joblist import JobList
from ascend_jobs.cluster.observe import observe_fine_tune as observe
from ascend_jobs.cluster.queue import WorkQueue
from ascend_jobs.cluster.verbs import CLAIMS, JOBS, NODES, PODS
from ascend_jobs.errors import ApiError, Outdated, SpecInvalid
from ascend_jobs.reconcile import reconcile, work
from builders import NOW
from fake_api import FakeApi, Fault
from unit.cluster.parts import FTJ, KEY, child, make_cluster, put_job
from unit.cluster.source import Source, serving, status, until

SPACE = KEY.namespace


def add_node(api: FakeApi, cluster, name: str, npus: int, **changes) -> None:
    made = {
        "metadata": {"name": name},
        "spec": changes,
        "status": {
            "allocatable": {names.ASCEND_910: str(npus)} if npus else {"cpu": "4"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    cluster.cache.nodes.seen(api.add(NODES, "", made))


def npu_pod(name: str, node: str, npus: int, phase: str = "Running") -> dict:
    limits = {"limits": {names.ASCEND_910: str(npus)}}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"resources": limits}]},
        "status": {"phase": phase},
    }


def lists(api: FakeApi) -> int:
    return sum(call.verb == "list" for call in api.calls)


async def test_claims_and_npus_are_looked_at_until_the_first_attempt_starts():
    api = FakeApi()
    cluster = make_cluster(api, capacity=Capacity(api))
    body = put_job(cluster)
    api.add(CLAIMS, SPACE, {"metadata": {"name": "models"}})
    add_node(api, cluster, "n", 8)
    add_node(api, cluster, "plain", 0)
    seen = await observe(cluster, body, NOW)
    assert seen.missing_claims == ("data",)
    assert seen.free_npus == 8
    assert [node.name for node in seen.nodes] == ["n"]
    started = {**body, "status": {"attempt": {"startTime": "2026-01-01T00:00:00Z"}}}
    calls = len(api.calls)
    seen = await observe(cluster, started, NOW)
    assert (seen.missing_claims, seen.free_npus, len(api.calls)) == (None, None, calls)


async def test_npus_are_counted_again_while_a_pod_finds_no_node():
    api = FakeApi()
    cluster = make_cluster(api, capacity=Capacity(api))
    body = put_job(cluster, attempt={"startTime": "2026-01-01T00:00:00Z"})
    pod = api.add(PODS, SPACE, child("p", body["metadata"]["uid"]))
    waiting = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]
    cluster.cache.pods.seen(
        api.change(PODS, SPACE, pod["metadata"]["name"], {"status": {"conditions": waiting}}, status=True)
    )
    add_node(api, cluster, "n", 8)
    assert (await observe(cluster, body, NOW)).free_npus == 8


async def test_without_nodes_nothing_is_said_of_npus():
    api = FakeApi()
    cluster = make_cluster(api, capacity=None)
    assert (await observe(cluster, put_job(cluster), NOW)).free_npus is None


async def test_a_spec_that_cannot_be_read_is_told():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    bad = api.change(FTJ, SPACE, KEY.name, {"spec": {"nodes": "many"}})
    with pytest.raises(SpecInvalid, match=r"spec\.nodes"):
        await observe(cluster, bad, NOW)
    cluster.cache.jobs[KEY.kind].seen(bad)
    assert await reconcile(cluster, KEY) is None
    status = api.all(FTJ)[0]["status"]
    assert status["phase"] == "Stalled"
    assert "spec.nodes" in status["message"]
    assert body["metadata"]["uid"]


async def test_free_npus_are_those_of_usable_nodes_that_no_living_pod_holds():
    api = FakeApi()
    cluster = make_cluster(api)
    for name, npus, changes in (("a", 8, {}), ("b", 8, {}), ("cordoned", 8, {"unschedulable": True})):
        add_node(api, cluster, name, npus, **changes)
    pods = [
        npu_pod("p1", "a", 2),
        npu_pod("p2", "a", 4),
        npu_pod("over", "b", 99),
        npu_pod("done", "a", 8, "Succeeded"),
        npu_pod("dead", "a", 8, "Failed"),
        npu_pod("pending", "", 8, "Pending"),
        npu_pod("plain", "a", 0),
    ]
    for pod in pods:
        api.add(PODS, SPACE, pod)
        api.change(PODS, SPACE, pod["metadata"]["name"], {"status": pod["status"]}, status=True)
    capacity = Capacity(api)
    nodes = [node for _, node in cluster.cache.nodes]
    assert await capacity.free(nodes) == 2
    counted = lists(api)
    assert await asyncio.gather(*(capacity.free(nodes) for _ in range(5))) == [2] * 5
    assert lists(api) == counted, "one count serves everybody for a while"


async def test_a_refused_action_leaves_the_status_true_and_is_tried_again():
    api = FakeApi()
    cluster = make_cluster(api)
    put_job(cluster)
    for claim in ("models", "data"):
        api.add(CLAIMS, SPACE, {"metadata": {"name": claim}})
    api.refuse = lambda verb, resource, _: ApiError(500, "etcd") if (verb, resource) == ("create", PODS) else None
    object.__setattr__(cluster.defaults, "image", "i")
    with pytest.raises(ApiError):
        await reconcile(cluster, KEY)
    assert api.all(FTJ)[0]["status"]["phase"] == "Preparing"
    api.refuse = lambda *_: None
    await reconcile(cluster, KEY)
    assert len(api.all(PODS)) == 1


async def test_a_job_that_is_being_deleted_gets_no_children():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    going = {
        **body,
        "metadata": {**body["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "999"},
    }
    cluster.cache.jobs[KEY.kind].seen(going)
    await reconcile(cluster, KEY)
    assert api.all(PODS) == []


async def test_children_of_a_job_that_is_gone_are_swept_and_its_log_is_not_followed():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    uid = body["metadata"]["uid"]
    cluster.cache.pods.seen(api.add(PODS, SPACE, child("p", uid)))
    cluster.followers.follow(KEY, uid, ("p", "trainer"))
    cluster.cache.jobs[KEY.kind].gone(body)
    api.fail_at(0, Fault.REFUSED)
    with pytest.raises(ApiError):
        await reconcile(cluster, KEY)
    assert cluster.cache.ended(KEY) == (uid,), "a failed sweep is not forgotten"
    await reconcile(cluster, KEY)
    assert api.all(PODS) == []
    assert cluster.cache.ended(KEY) == ()
    await cluster.followers.close()


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Outdated("newer"), "outdated"),
        (ApiError(500, "etcd"), "refused"),
        (ZeroDivisionError("a bug"), "failed"),
        (ExceptionGroup("side by side", [ValueError("a bug")]), "failed"),
        (None, "done"),
    ],
)
async def test_no_failure_ends_the_loop(monkeypatch, error, result):
    cluster = make_cluster(FakeApi())
    queue = WorkQueue(cluster.metrics)
    passes = []

    async def failing(_, key):
        passes.append(key)
        if error is not None and len(passes) == 1:
            raise error

    monkeypatch.setattr("ascend_jobs.reconcile.reconcile", failing)
    monkeypatch.setattr("ascend_jobs.cluster.queue._FIRST", 0.01)
    worker = asyncio.create_task(work(cluster, queue))
    queue.add(KEY)
    await until(lambda: len(passes) == (1 if error is None else 2))
    queue.close()
    await asyncio.wait_for(worker, 1)
    count = cluster.metrics.registry.get_sample_value("ascendjobs_passes_total", {"kind": KEY.kind, "result": result})
    assert count == 1


async def test_jobs_are_listed_at_the_start_when_asked_and_from_time_to_time(monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.joblist._SETTLE", 0.05)
    monkeypatch.setattr("ascend_jobs.cluster.joblist._RETRY", 0.02)
    monkeypatch.setattr("ascend_jobs.cluster.joblist._EVERY", 0.3)
    kinds = [resource.plural for resource in JOBS.values()]
    absent, there = (404, {}, b"{}"), (200, {}, json.dumps({"resources": [{"name": k} for k in kinds]}).encode())
    source = Source(answers=[absent, (500, {}, b"{}"), there, there, there], lists=[status(500), status(403)])
    async with serving(source) as api:
        jobs = JobList(api, Cache(lambda _: None), ())
        assert jobs.missing == tuple(f"{k} are not discovered" for k in kinds)
        task = asyncio.create_task(jobs.run())
        await jobs.discovered.wait()
        assert jobs.missing == tuple(f"{k} are not listed" for k in kinds)
        await jobs.listed.wait()
        assert jobs.missing == ()
        listed = source.listed
        for _ in range(50):
            jobs.ask()
        await until(lambda: source.listed == listed + len(kinds))
        await asyncio.sleep(0.1)
        assert source.listed == listed + len(kinds), "fifty wishes are one list"
        await until(lambda: source.listed == listed + 2 * len(kinds))
        task.cancel()
