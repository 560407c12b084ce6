"""The work queue: once each, never twice at once, later after failures, drained at the end."""

from __future__ import annotations

import asyncio

import pytest
from ascend_jobs.cluster.queue import WorkQueue
from ascend_jobs.cluster.store import Key
from ascend_jobs.metrics import Metrics

ONE, TWO = Key("ftj", "a", "one"), Key("ftj", "a", "two")


@pytest.fixture
async def queue() -> WorkQueue:
    return WorkQueue(Metrics())


async def take(queue: WorkQueue, seconds: float = 1.0) -> Key | None:
    try:
        async with asyncio.timeout(seconds):
            async for key in queue:
                return key
    except TimeoutError:
        pass
    return None


async def test_a_key_is_handed_out_once(queue):
    for key in (ONE, TWO, ONE, ONE):
        queue.add(key)
    assert [await take(queue), await take(queue), await take(queue, 0.01)] == [ONE, TWO, None]


async def test_a_key_in_work_is_not_handed_out_again_before_it_is_given_back(queue):
    queue.add(ONE)
    assert await take(queue) == ONE
    queue.add(ONE)
    queue.add(ONE)
    assert await take(queue, 0.01) is None
    queue.done(ONE, None)
    assert await take(queue) == ONE
    queue.done(ONE, None)
    assert await take(queue, 0.01) is None


async def test_a_key_comes_back_when_asked_for(queue):
    queue.add(ONE)
    await take(queue)
    queue.done(ONE, 0.05)
    assert await take(queue, 0.01) is None
    assert await take(queue) == ONE


async def test_the_earlier_of_two_times_counts_and_a_pass_makes_both_void(queue):
    queue.add_after(ONE, 0.02)
    queue.add_after(ONE, 0.06)
    assert await take(queue) == ONE
    queue.done(ONE, None)
    assert await take(queue, 0.1) is None


async def test_one_timer_serves_many(queue):
    keys = [Key("ftj", "a", str(n)) for n in range(20)]
    for number, key in enumerate(reversed(keys)):
        queue.add_after(key, 0.01 + number * 0.002)
    assert [await take(queue) for _ in keys] == list(reversed(keys))


async def test_failures_are_tried_again_later_and_later(queue, monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.queue.random.uniform", lambda low, high: high)
    pauses = []
    monkeypatch.setattr(queue, "add_after", lambda key, seconds: pauses.append(seconds))
    for _ in range(15):
        queue.retry(ONE)
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == 300.0
    queue.done(ONE, None)
    queue.retry(ONE)
    assert pauses[-1] == 0.25


async def test_events_wait_as_long_as_the_last_pass_took_but_a_time_asked_for_is_kept(queue):
    queue.add(ONE)
    await take(queue)
    await asyncio.sleep(0.2)
    queue.add(ONE)
    queue.done(ONE, None)
    assert await take(queue, 0.1) is None
    assert await take(queue, 0.2) == ONE
    await asyncio.sleep(0.2)
    queue.done(ONE, 0.0)
    assert await take(queue, 0.05) == ONE


async def test_pauses_of_jobs_that_are_gone_are_forgotten(queue, monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.queue._PAUSES", 10)
    for number in range(30):
        key = Key("ftj", "a", str(number))
        queue.add(key)
        await take(queue)
        queue.done(key, None)
    queue.add_after(ONE, 0.01)
    await take(queue)
    assert len(queue._not_before) <= 1


async def test_news_of_a_failed_key_do_not_undo_the_pause(queue, monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.queue._FIRST", 0.2)
    queue.add(ONE)
    await take(queue)
    queue.add(ONE)  # its own writes, say
    queue.retry(ONE)
    assert await take(queue, 0.05) is None
    assert await take(queue, 0.5) == ONE


async def test_news_end_a_long_pause_early(queue, monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.queue._FIRST", 60.0)
    monkeypatch.setattr("ascend_jobs.cluster.queue._IMPATIENT", 0.05)
    queue.add(ONE)
    await take(queue)
    queue.retry(ONE)
    assert await take(queue, 0.1) is None
    queue.add(ONE)
    assert await take(queue, 0.1) == ONE


async def test_a_closed_queue_hands_out_nothing_and_lets_all_workers_end(queue):
    ended = []

    async def worker(number: int) -> None:
        async for key in queue:
            await asyncio.sleep(0.05)
            queue.done(key, None)
        ended.append(number)

    workers = [asyncio.create_task(worker(n)) for n in range(3)]
    queue.add(ONE)
    await asyncio.sleep(0.01)
    queue.add(TWO)
    queue.add_after(ONE, 0.01)
    queue.close()
    await asyncio.wait_for(asyncio.gather(*workers), 1.0)
    assert sorted(ended) == [0, 1, 2]


async def test_what_is_measured(queue):
    metrics = queue._metrics
    assert queue.oldest_age() == 0
    queue.add(ONE)
    queue.add(TWO)
    await asyncio.sleep(0.02)
    assert metrics.registry.get_sample_value("ascendjobs_queue_depth") == 2
    assert queue.oldest_age() >= 0.02
    await take(queue)
    assert metrics.registry.get_sample_value("ascendjobs_queue_seconds_count") == 1
