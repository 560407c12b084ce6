"""The informer against a server that lists and watches well, and badly."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from ascend_jobs import names
from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.client import Query
from ascend_jobs.cluster.informer import Informer, WentBack
from ascend_jobs.cluster.verbs import PODS
from ascend_jobs.metrics import Metrics
from unit.cluster.source import Source, bookmark, event, pod, serving, status, until


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.informer._BACKOFF", (0.01, 0.05))
    monkeypatch.setattr("ascend_jobs.cluster.client._IDLE_WATCH", 0.5)


@asynccontextmanager
async def watching(source: Source):
    cache = Cache(lambda _: None)
    async with serving(source) as api:
        informer = Informer(api, Query(PODS, labels=names.JOB_UID), cache.pods, Metrics())
        task = asyncio.create_task(informer.run())
        try:
            yield cache, informer
        finally:
            task.cancel()
            await asyncio.wait([task])


def known(cache: Cache) -> set[str]:
    return {view.name for _, view in cache.pods}


async def test_it_lists_in_pages_and_then_watches_from_there():
    source = Source([pod(n, n) for n in range(5)], page_size=2, scripts=[[event("ADDED", pod(9, 101)), 3600.0]])
    async with watching(source) as (cache, informer):
        await until(lambda: "pod-9" in known(cache))
        assert known(cache) == {"pod-0", "pod-1", "pod-2", "pod-3", "pod-4", "pod-9"}
        assert informer.listed.is_set()
    assert source.watched_from == ["100"]
    first, watch = source.asked[0], next(r for r in source.asked if "watch" in r.query)
    assert first.query["labelSelector"] == names.JOB_UID == watch.query["labelSelector"]
    assert watch.query["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize(
    ("script", "resumed_from", "lists"),
    [
        pytest.param([event("MODIFIED", pod(0, 105))], "105", 1, id="the-stream-ends"),
        pytest.param([bookmark(120)], "120", 1, id="a-bookmark-counts"),
        pytest.param([event("MODIFIED", pod(0, 105)), b'{"type": "MODI'], "105", 1, id="a-line-is-cut"),
        pytest.param([event("MODIFIED", pod(0, 105)), b"<html>\n"], "105", 1, id="a-line-is-broken"),
        pytest.param([event("MODIFIED", pod(0, 105)), b"[1]\n"], "105", 1, id="a-line-is-no-object"),
        pytest.param([bookmark(130), 3600.0], "130", 1, id="the-stream-is-silent-too-long"),
        pytest.param([bookmark(110), event("ERROR", status(500, "etcd"))], "110", 1, id="an-error-event"),
        pytest.param([event("ERROR", status(410, "too old"))], "100", 2, id="gone-as-an-event"),
        pytest.param(status(410, "too old"), "100", 2, id="gone-as-an-answer"),
        pytest.param(status(503, "overloaded"), "100", 1, id="refused-for-now"),
    ],
)
async def test_it_goes_on(script, resumed_from, lists):
    """Where it left off if the server can, else from a new list."""
    source = Source([pod(0, 1)], scripts=[script, [event("ADDED", pod(7, 200)), 3600.0]])
    async with watching(source) as (cache, _):
        await until(lambda: "pod-7" in known(cache))
        assert known(cache) == {"pod-0", "pod-7"}
    assert source.watched_from[1] == resumed_from
    assert source.listed == lists


async def test_a_new_list_brings_what_was_missed_deletes_included():
    source = Source([pod(0, 1), pod(1, 2)])

    async def meanwhile() -> None:
        source.items, source.version = [pod(1, 150), pod(2, 151)], 160

    source.scripts = [[meanwhile, event("ERROR", status(410))]]
    async with watching(source) as (cache, _):
        await until(lambda: known(cache) == {"pod-1", "pod-2"})


@pytest.mark.parametrize(
    "failures",
    [
        pytest.param([status(403, "forbidden")] * 2, id="forbidden"),
        pytest.param([status(500, "etcd")] * 2, id="broken"),
        pytest.param([status(410, "continue token")], id="page-token-expired"),
    ],
)
async def test_a_failed_list_is_tried_again_and_is_no_list(failures):
    source = Source([pod(0, 1)], lists=list(failures))
    async with watching(source) as (cache, informer):
        assert not informer.listed.is_set()
        await until(informer.listed.is_set)
        assert known(cache) == {"pod-0"}


async def test_an_event_in_pieces_is_one_event():
    line = event("ADDED", pod(3, 101, note="ä" * 50))
    pieces = [step for n in range(0, len(line), 7) for step in (line[n : n + 7], 0.001)]
    async with watching(Source(scripts=[[*pieces, 3600.0]])) as (cache, _):
        await until(lambda: known(cache) == {"pod-3"})


async def test_a_server_that_ends_every_watch_at_once_is_not_hammered():
    source = Source(scripts=[[] for _ in range(1000)])
    async with watching(source):
        await asyncio.sleep(0.5)
    assert len(source.watched_from) < 30


async def test_watches_that_keep_failing_lead_to_a_new_list():
    source = Source([pod(0, 1)], scripts=[status(500) for _ in range(8)])
    async with watching(source):
        await until(lambda: source.listed >= 2)


async def test_a_server_that_was_restored_from_a_backup_ends_the_process():
    source = Source([pod(0, 1)])

    async def restored() -> None:
        source.version = 50

    source.scripts = [[event("ADDED", pod(1, 120)), restored, event("ERROR", status(410))]]
    cache = Cache(lambda _: None)
    async with serving(source) as api:
        informer = Informer(api, Query(PODS), cache.pods, Metrics())
        with pytest.raises(WentBack, match="50 after 120"):
            await asyncio.wait_for(informer.run(), 5)
