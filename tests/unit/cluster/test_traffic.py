"""What HAProxy's statistics say of each version."""

import asyncio

import pytest
from aiohttp import web
from ascend_jobs.cluster.reach import DirectReach
from ascend_jobs.cluster.scraper import Scraper
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.traffic import parse_traffic
from ascend_jobs.decide.inference.observed import TrafficView
from ascend_jobs.decide.plan import ScrapeTarget
from builders import NOW

HEAD = "# pxname,svname,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,srv_abrt,ttime,\n"


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        pytest.param("", {}, id="none"),
        pytest.param(
            "stable,pods,9,9,9,9,9,9,9,9,\nstable,BACKEND,0,90,0,4,5,1,2,250,\ncanary,BACKEND,0,10,0,0,0,0,0,400,\n",
            {"stable": TrafficView(100, 8, 250.0), "canary": TrafficView(10, 0, 400.0)},
            id="both",
        ),
        pytest.param("public,FRONTEND,0,9,0,0,0,0,0,,\nmetrics,BACKEND,0,9,0,0,0,0,0,1,\n", {}, id="others"),
        pytest.param("stable,BACKEND,,7,,-,x,,,\n", {"stable": TrafficView(7, 0, 0.0)}, id="odd"),
        pytest.param("stable,BACKEND\n", {"stable": TrafficView(0, 0, 0.0)}, id="short"),
        pytest.param(f"stable,BACKEND,0,7,{'9' * 5000},\n", {"stable": TrafficView(7, 0, 0.0)}, id="too-large"),
    ],
)
def test_rows(rows, wanted):
    assert parse_traffic(HEAD + rows) == wanted


def test_a_page_of_somebody_else():
    with pytest.raises(ValueError, match="HAProxy"):
        parse_traffic("<html>")


async def test_it_is_read_from_the_proxy_over_a_connection():
    async def page(request: web.Request) -> web.Response:
        assert request.path_qs == "/stats;csv"
        return web.Response(text=f"{HEAD}canary,BACKEND,0,10,0,0,1,0,0,400,\n")

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reach, woken = DirectReach(), asyncio.Event()
    scraper = Scraper(reach, lambda _: woken.set(), lambda: NOW)
    target = ScrapeTarget("a", "127.0.0.1", runner.addresses[0][1], "/stats;csv", proxy=True)
    scraper.want(Key("aisvc", "team-a", "faq"), "u", [target])
    task = asyncio.create_task(scraper.run())
    await asyncio.wait_for(woken.wait(), 5)
    assert scraper.view("u")["a"].traffic == {"canary": TrafficView(11, 1, 400.0)}
    task.cancel()
    await reach.close()
    await runner.cleanup()
