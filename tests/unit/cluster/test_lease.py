"""One holder at a time, whoever dies, hangs or is cut off."""

from __future__ import annotations

import asyncio

import pytest
from ascend_jobs.cluster.lease import Lease, LeaseLost, Timing
from ascend_jobs.cluster.verbs import LEASES
from fake_api import FakeApi, Fault

QUICK = Timing(duration=1.0, deadline=0.3, retry=0.05)


def candidate(api: FakeApi, name: str) -> Lease:
    return Lease(api, "own", "lease", name, QUICK)


def spec(api: FakeApi) -> dict:
    found = api.find(LEASES, "own", "lease")
    assert found is not None
    return found["spec"]


async def soon(coroutine, seconds: float = 1.0):
    async with asyncio.timeout(seconds):
        return await coroutine


async def test_the_first_makes_it_and_the_second_waits():
    api = FakeApi()
    one, two = candidate(api, "one"), candidate(api, "two")
    await soon(one.acquire())
    assert spec(api)["holderIdentity"] == one.identity
    assert spec(api)["leaseDurationSeconds"] == 1
    with pytest.raises(TimeoutError):
        await soon(two.acquire(), 0.3)


async def test_a_released_lease_is_taken_at_once():
    api = FakeApi()
    one, two = candidate(api, "one"), candidate(api, "two")
    await soon(one.acquire())
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(0.1)
    await one.release()
    await soon(waiting, 0.2)
    assert spec(api)["holderIdentity"] == two.identity
    assert spec(api)["leaseTransitions"] == 1


async def test_a_lease_whose_holder_died_is_taken_when_it_was_seen_unchanged_for_its_time():
    api = FakeApi()
    await soon(candidate(api, "one").acquire())
    started = asyncio.get_running_loop().time()
    await soon(candidate(api, "two").acquire(), 3.0)
    assert asyncio.get_running_loop().time() - started > QUICK.duration


async def test_a_lease_that_is_renewed_is_not_taken():
    api = FakeApi()
    one = candidate(api, "one")
    await soon(one.acquire())
    keeper = asyncio.create_task(one.keep())
    with pytest.raises(TimeoutError):
        await soon(candidate(api, "two").acquire(), 1.5)
    assert not keeper.done()
    keeper.cancel()


async def test_failures_that_pass_are_outlived():
    api = FakeApi()
    one = candidate(api, "one")
    for number, how in enumerate([Fault.REFUSED, Fault.LOST, Fault.REFUSED]):
        api.fail_at(number, how)
    await soon(one.acquire())
    keeper = asyncio.create_task(one.keep())
    api.fail_at(1, Fault.REFUSED)
    api.fail_at(2, Fault.LOST)
    await asyncio.sleep(0.5)
    assert not keeper.done()
    keeper.cancel()


async def test_who_cannot_renew_gives_up_before_another_may_take_it():
    api = FakeApi()
    one = candidate(api, "one")
    await soon(one.acquire())
    for number in range(100):
        api.fail_at(number, Fault.REFUSED)
    started = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost, match="not renewed"):
        await soon(one.keep())
    assert asyncio.get_running_loop().time() - started < QUICK.duration


async def test_who_was_blocked_too_long_gives_up():
    api = FakeApi()
    one = candidate(api, "one")
    await soon(one.acquire())
    api.get = api.patch = lambda *_, **__: asyncio.sleep(60)
    with pytest.raises(LeaseLost):
        await soon(one.keep())


async def test_who_finds_another_holder_ends():
    api = FakeApi()
    one = candidate(api, "one")
    await soon(one.acquire())
    api.change(LEASES, "own", "lease", {"spec": {"holderIdentity": "thief"}})
    with pytest.raises(LeaseLost, match="another"):
        await soon(one.keep())


async def test_a_restarted_pod_is_somebody_else():
    api = FakeApi()
    assert candidate(api, "pod").identity != candidate(api, "pod").identity
