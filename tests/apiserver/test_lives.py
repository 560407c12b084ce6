"""Lives over a real API server, by an operator that may do exactly what RULES says."""

from __future__ import annotations

import pytest
from apiserver.world import FTJ, LIMITED, QUOTAS, World, eventually
from ascend_jobs import names
from ascend_jobs.cluster.calls import Call
from ascend_jobs.cluster.verbs import CHILDREN, CLAIMS, PODS, RULES
from ascend_jobs.decide.plan import Kind
from builders import make_body

pytestmark = pytest.mark.apiserver
LAST_WORDS = {"steps": 2, "loss": 0.5, "validationLoss": 0.6, "artifacts": []}
PREPARED = {"documents": 10, "trainDocuments": 9, "validationDocuments": 1, "tokens": 900, "alreadyComplete": False}


async def apply(world: World, namespace: str, name: str = "faq", **spec: object) -> None:
    body = make_body(name, spec=spec)
    body["metadata"] = {"name": name}
    await world.api.create(FTJ, namespace, body)


async def prepare(world: World, namespace: str) -> None:
    (pod,) = await world.pods(namespace, names.ROLE_PREPARE, 1)
    await world.start(namespace, pod, 0)
    await world.run(namespace, pod)
    await world.end(namespace, pod, 0, PREPARED)


async def train(world: World, namespace: str, nodes: int = 2, *, started: bool = False) -> list[str]:
    if started:
        pods = sorted(p["metadata"]["name"] for p in await world.all(PODS, namespace, f"{names.ROLE}=worker"))
    else:
        pods = await world.pods(namespace, names.ROLE_WORKER, nodes)
        for index, pod in enumerate(pods):
            await world.start(namespace, pod, index)

    async def published() -> bool:
        job = await world.job(namespace)
        return bool(job["status"]["rankTable"].get("sha256"))

    if nodes > 1:
        await eventually(published, lambda: world.job(namespace))
    for pod in pods:
        await world.run(namespace, pod)
    await world.phase_is(namespace, "Running")
    return pods


async def end_well(world: World, namespace: str, pods: list[str]) -> None:
    for pod in pods:
        await world.end(namespace, pod, 0, LAST_WORDS)
    await world.phase_is(namespace, "Complete")


async def delete(world: World, namespace: str) -> None:
    job = await world.job(namespace)
    await world.api.delete(FTJ, namespace, "faq", job["metadata"]["uid"])

    async def nothing_left() -> bool:
        for pod in await world.all(PODS, namespace):  # there is no kubelet that would remove them
            if "deletionTimestamp" in pod["metadata"]:
                await world.lose(namespace, pod["metadata"]["name"])
        return not await world.children(namespace)

    await eventually(nothing_left, lambda: world.children(namespace))


async def test_from_create_to_nothing_left(world: World, namespace: str):
    async with world.operator() as engine:
        await apply(world, namespace, nodes=2)
        await prepare(world, namespace)
        pods = await train(world, namespace)
        await end_well(world, namespace, pods)
        assert {"PodsCreated", "Complete"} <= set(await world.events(namespace))
        await delete(world, namespace)
    assert_allowed(engine.calls)


async def test_an_operator_that_is_killed_loses_nothing(world: World, namespace: str):
    async with world.operator(kill=True):
        await apply(world, namespace, nodes=2)
        await world.pods(namespace, names.ROLE_PREPARE, 1)
    async with world.operator(kill=True):
        await prepare(world, namespace)
        pods = await world.pods(namespace, names.ROLE_WORKER, 2)
    for index, pod in enumerate(pods):  # while nobody looks
        await world.start(namespace, pod, index)
    async with world.operator(kill=True):
        await train(world, namespace, started=True)
    async with world.operator():
        await world.lose(namespace, pods[1])
        pods = await train(world, namespace)
        assert pods == ["faq-ftj-1-worker-0", "faq-ftj-1-worker-1"]
        await end_well(world, namespace, pods)
        await delete(world, namespace)
    assert (await world.all(CLAIMS, namespace))[0]["metadata"].get("deletionTimestamp") is None


async def test_jobs_deleted_at_any_moment_leave_nothing(world: World, namespace: str):
    async with world.operator():
        await apply(world, namespace, nodes=2)
        await world.pods(namespace, names.ROLE_PREPARE, 1)
        await delete(world, namespace)
        await apply(world, namespace, nodes=2)
        await prepare(world, namespace)
        await world.pods(namespace, names.ROLE_WORKER, 2)
        await delete(world, namespace)
        await apply(world, namespace, nodes=2)
        await prepare(world, namespace)
        await train(world, namespace)
        await delete(world, namespace)


async def test_a_job_deleted_while_no_operator_ran(world: World, namespace: str):
    async with world.operator():
        await apply(world, namespace, nodes=2)
        await world.pods(namespace, names.ROLE_PREPARE, 1)
    await delete(world, namespace)


async def test_a_foreign_object_of_our_name_is_left_alone(world: World, namespace: str):
    rings = CHILDREN[Kind.CONFIG_MAP]
    foreign = {"metadata": {"name": "rings-config-faq-ftj"}, "data": {"hccl.json": "theirs"}}
    before = await world.api.create(rings, namespace, foreign)
    async with world.operator():
        await apply(world, namespace, nodes=2)
        await prepare(world, namespace)
        await world.phase_is(namespace, "Stalled")
        (stalled,) = [c for c in (await world.job(namespace))["status"]["conditions"] if c["type"] == "Stalled"]
        assert stalled["reason"] == "NameConflict"
        assert "rings-config-faq-ftj" in stalled["message"]
    assert await world.api.get(rings, namespace, "rings-config-faq-ftj") == before


async def test_pods_beyond_the_quota(world: World, namespace: str):
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await world.api.create(QUOTAS, namespace, quota)

    async def counted() -> bool:
        return "hard" in (await world.api.get(QUOTAS, namespace, "none")).get("status", {})

    await eventually(counted)
    async with world.operator():
        await apply(world, namespace)
        await world.phase_is(namespace, "Stalled")
        assert "exceeded quota" in (await world.job(namespace))["status"]["message"]


async def test_a_missing_claim_costs_no_pod(world: World, namespace: str):
    async with world.operator():
        await apply(world, namespace, dataset={"uri": "pvc://elsewhere/faq.jsonl"})
        await world.phase_is(namespace, "Stalled")
        assert await world.children(namespace) == []


async def test_a_finished_job_goes_when_its_time_has_come(world: World, namespace: str):
    async with world.operator():
        await apply(world, namespace, ttlSecondsAfterFinished=8)
        await prepare(world, namespace)
        await end_well(world, namespace, await train(world, namespace, nodes=1))

        async def gone() -> bool:
            return not await world.all(FTJ, namespace)

        await eventually(gone)


async def test_an_operator_of_one_namespace_needs_no_more(world: World, namespace: str):
    await world.allow_in(namespace)
    async with world.operator(user=LIMITED, namespaces=(namespace,)) as engine:
        await apply(world, namespace, nodes=2)
        await prepare(world, namespace)
        await end_well(world, namespace, await train(world, namespace))
        await delete(world, namespace)
    assert not any(call.resource == "nodes" for call in engine.calls)


def assert_allowed(calls: set[Call]) -> None:
    """Nothing was asked that RULES does not say."""
    allowed = {(rule.group, rule.resource, verb) for rule in RULES for verb in rule.verbs}
    asked = {(call.group, call.resource, call.verb) for call in calls if call.resource}
    assert asked <= allowed, asked - allowed
