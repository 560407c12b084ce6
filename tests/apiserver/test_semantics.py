"""What the operator relies on in a real API server, and how two operators share it."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
import pytest
from apiserver.test_lives import apply, delete, end_well, prepare, train
from apiserver.world import CRDS, FTJ, OWN, Resource, World, eventually
from ascend_jobs.api.crd import crd_manifests
from ascend_jobs.cluster.act import outdated_or
from ascend_jobs.cluster.client import HttpApi, Query
from ascend_jobs.cluster.connection import Endpoint, FileToken, Pool
from ascend_jobs.cluster.report import merge_patch
from ascend_jobs.cluster.verbs import CHILDREN, LEASES, PODS
from ascend_jobs.decide.plan import Kind
from ascend_jobs.errors import ApiError, Outdated

pytestmark = pytest.mark.apiserver
MAPS = CHILDREN[Kind.CONFIG_MAP]


async def test_the_second_replica_waits_warm_and_takes_over_at_once(world: World, namespace: str):
    async with world.operator(leader_election=True, identity="one") as one:
        await eventually(_is_leading(one))
        async with world.operator(leader_election=True, identity="two") as two:
            await apply(world, namespace, nodes=2)
            await prepare(world, namespace)
            await eventually(_knows_pods(two, namespace, 3))
            assert not two.leads
            assert two.missing() == ()
            # one ends first, in good order
            released = asyncio.get_running_loop().time()
            await world.stop(one)
            await eventually(_is_leading(two))
            assert asyncio.get_running_loop().time() - released < 10, "a released lease is not waited for"
            assert (await world.holder()).startswith("two_")
            await end_well(world, namespace, await train(world, namespace))
            await delete(world, namespace)


async def test_who_loses_the_lease_ends(world: World, namespace: str):
    with pytest.raises(ExceptionGroup, match="TaskGroup"):
        async with world.operator(leader_election=True, identity="one", lease_name=namespace) as one:
            await eventually(_is_leading(one))
            stolen = {"spec": {"holderIdentity": "thief"}}
            await world.api.patch(LEASES, OWN, namespace, stolen)
            await eventually(_has_ended(world, one))


async def test_it_is_not_ready_before_the_definitions_are_there(world: World, namespace: str):
    definition = next(d for d in crd_manifests() if d["spec"]["names"]["plural"] == FTJ.plural)
    found = await world.api.get(CRDS, "", definition["metadata"]["name"])
    await world.api.delete(CRDS, "", found["metadata"]["name"], found["metadata"]["uid"])

    async def gone() -> bool:
        return FTJ.plural not in await world.api.discover(FTJ.prefix)

    await eventually(gone)
    async with world.operator() as engine, aiohttp.ClientSession() as session:
        await eventually(_listed(engine))
        url = f"http://127.0.0.1:{engine.port}"
        async with session.get(f"{url}/readyz") as answer:
            assert answer.status == 503
            assert "finetunejobs are not discovered" in await answer.text()
        async with session.get(f"{url}/livez") as answer:
            assert answer.status == 200
        await world.ensure(CRDS, "", definition)
        await apply_when_served(world, namespace)
        await prepare(world, namespace)
        async with session.get(f"{url}/readyz") as answer:
            assert answer.status == 200
        async with session.get(f"{url}/metrics") as answer:
            text = await answer.text()
        assert 'ascendjobs_jobs{kind="ftj",phase="' in text
        assert "ascendjobs_leader 1.0" in text
        assert 'ascendjobs_api_calls_total{code="201",resource="pods",verb="create"}' in text


async def apply_when_served(world: World, namespace: str) -> None:
    async def applied() -> bool:
        try:
            await apply(world, namespace)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    await eventually(applied)


async def test_a_patch_with_another_uid_is_refused(world: World, namespace: str):
    await world.api.create(MAPS, namespace, {"metadata": {"name": "a"}, "data": {"k": "1"}})
    with pytest.raises(ApiError) as refused:
        await world.api.patch(MAPS, namespace, "a", {"metadata": {"uid": "other"}, "data": {"k": "2"}})
    assert isinstance(outdated_or(refused.value, "a"), Outdated), refused.value
    with pytest.raises(ApiError) as refused:
        await world.api.patch(MAPS, namespace, "a", {"metadata": {"resourceVersion": "1"}, "data": {"k": "2"}})
    assert refused.value.status == 409
    with pytest.raises(ApiError) as refused:
        found = await world.api.get(MAPS, namespace, "a")
        await world.api.delete(MAPS, namespace, "a", "other")
    assert refused.value.status == 409
    assert (await world.api.get(MAPS, namespace, "a")) == found


async def test_a_status_write_removes_what_is_absent(world: World, namespace: str):
    await apply(world, namespace)
    job = await world.job(namespace)
    first = {"phase": "Pending", "message": "m", "attempt": {"number": 1, "image": "i"}}
    await _write_status(world, namespace, {}, first)
    second = {"phase": "Running", "attempt": {"number": 1}}
    await _write_status(world, namespace, first, second)
    found = await world.job(namespace)
    assert found["status"] == second
    stale = {"metadata": {"resourceVersion": job["metadata"]["resourceVersion"]}, "status": {"phase": "Failed"}}
    with pytest.raises(ApiError) as refused:
        await world.api.patch(FTJ, namespace, "faq", stale, status=True)
    assert refused.value.status == 409


async def _write_status(world: World, namespace: str, before: dict[str, object], after: dict[str, object]) -> None:
    await world.api.patch(FTJ, namespace, "faq", {"status": merge_patch(before, after)}, status=True)


async def test_a_list_in_pages_is_one_list(world: World, namespace: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ascend_jobs.cluster.client.PAGE", 2)
    for number in range(5):
        await world.api.create(MAPS, namespace, {"metadata": {"name": f"a{number}", "labels": {"x": "y"}}})
    seen, token = [], ""
    while True:
        page = await world.api.page(Query(MAPS, namespace, labels="x=y"), token)
        seen += [item["metadata"]["name"] for item in page.items]
        token = page.token
        if not token:
            break
    assert seen == [f"a{number}" for number in range(5)]


async def test_a_token_is_read_again_when_it_was_refused(world: World, namespace: str, tmp_path):
    """The file is renewed by the kubelet; what was read before is refused one day."""
    accounts = Resource("api/v1", "serviceaccounts")
    await world.ensure(accounts, namespace, {"metadata": {"name": "robot"}})
    made = await world.api.create(
        Resource("api/v1", "serviceaccounts/robot/token"), namespace, {"spec": {}, "metadata": {"name": "robot"}}
    )
    file = tmp_path / "token"
    file.write_text("stale-token")
    tls = ssl.create_default_context(cafile=str(world.plane.folder / "ca.crt"))
    pool = Pool(Endpoint(world.plane.url, tls, FileToken(file)))
    api = HttpApi(pool)
    with pytest.raises(ApiError) as refused:
        await api.get(PODS, namespace, "x")
    assert refused.value.status == 401
    file.write_text(made["status"]["token"])
    with pytest.raises(ApiError) as refused:
        await api.get(PODS, namespace, "x")
    assert refused.value.status == 403, "known by now, but allowed nothing"
    await api.close()
    await pool.close()


def _is_leading(engine):
    async def holds() -> bool:
        return engine.leads

    return holds


def _listed(engine):
    async def holds() -> bool:
        return not any("listed" in what for what in engine.missing())

    return holds


def _knows_pods(engine, namespace, count):
    async def holds() -> bool:
        return sum(key.namespace == namespace for key, _ in engine.cache.pods) == count

    return holds


def _has_ended(world, engine):
    async def holds() -> bool:
        return world.tasks[engine].done()

    return holds
