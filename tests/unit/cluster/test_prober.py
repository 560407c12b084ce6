"""Completions asked of a real server over a real connection, and the load read from a real page."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from ascend_jobs.cluster.prober import Prober
from ascend_jobs.cluster.reach import DirectReach
from ascend_jobs.cluster.scraper import Scraper
from ascend_jobs.cluster.store import Key
from ascend_jobs.decide.plan import ProbeTarget, ScrapeTarget
from builders import NOW

KEY = Key("aisvc", "team-a", "faq")
TARGET = ProbeTarget("public", "faq-aisvc", "127.0.0.1", 8000, "faq", "1+1=", 8, 0.2)


@asynccontextmanager
async def served(**handlers):
    """A server on loopback; DirectReach finds it by address."""
    app = web.Application()
    app.add_routes([web.route("*", path.replace("__", "/"), handler) for path, handler in handlers.items()])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def events(*chunks: dict) -> web.Response:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return web.Response(text="".join([*lines, "data: [DONE]\n\n"]), content_type="text/event-stream")


def chat(text: str) -> dict:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


async def ask(port: int):
    reach, target = DirectReach(), replace(TARGET, port=port)
    try:
        return await Prober(reach, lambda _: None, lambda: NOW).ask(KEY, target, 2)
    finally:
        await reach.close()


@pytest.mark.parametrize(
    ("answer", "answered", "words"),
    [
        (lambda: events(chat(""), chat("2"), chat(" and")), True, "2 and"),
        (lambda: events({"choices": [{"delta": {"reasoning_content": "hm"}}]}), True, "hm"),
        (lambda: events(chat("")), False, "without a token"),
        (lambda: events({"error": {"message": "out of memory"}}), False, "out of memory"),
        (lambda: web.Response(text="data: {oops\n\n"), False, "unexpected character"),
        (lambda: web.Response(text="data: [1]\n\n"), False, "no object"),
        (lambda: web.Response(status=503, text="draining"), False, "HTTP 503: draining"),
    ],
)
async def test_only_tokens_are_an_answer(answer, answered, words):
    async def handler(request):
        body = await request.json()
        assert body["model"] == "faq"
        return answer()

    async with served(__v1__chat__completions=handler) as port:
        view = await ask(port)
    assert (view.answered, view.failures) == (answered, 0 if answered else 3)
    assert words in view.message
    assert (view.first_token_milliseconds is not None) == answered


async def test_a_model_without_a_chat_template_completes_the_text():
    async def no_template(request):
        return web.json_response({"error": {"message": "no chat template"}}, status=400)

    async def complete(request):
        assert (await request.json())["prompt"] == "1+1="
        return events({"choices": [{"text": "2"}]})

    async with served(__v1__chat__completions=no_template, __v1__completions=complete) as port:
        view = await ask(port)
    assert (view.answered, view.message) == (True, "2")


async def test_nobody_there():
    view = await ask(1)
    assert not view.answered
    assert "Cannot connect" in view.message


async def test_the_load_is_summed_over_labels_and_old_pods_are_forgotten():
    async def page(request):
        return web.Response(
            text='# HELP x\nvllm:num_requests_waiting{engine="0"} 3\nvllm:num_requests_waiting{engine="1"} 4\n'
            "vllm:num_requests_running 2.0\nvllm:kv_cache_usage_perc 0.5\nother 1\n"
        )

    woken = asyncio.Event()
    reach = DirectReach()
    async with served(__metrics=page) as port:
        scraper = Scraper(reach, lambda _: woken.set(), lambda: NOW)
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
        scraper.want(
            KEY,
            "u",
            [ScrapeTarget("a", "127.0.0.1", port, "/metrics", *names), ScrapeTarget("b", "127.0.0.1", 1, "/", *names)],
        )
        task = asyncio.create_task(scraper.run())
        await asyncio.wait_for(woken.wait(), 5)
        views = scraper.view("u")
        assert set(views) == {"a"}
        assert (views["a"].running, views["a"].waiting, views["a"].kv_cache) == (2.0, 7.0, 0.5)
        scraper.want(KEY, "u", [])
        assert scraper.view("u") == {}
        task.cancel()
    await reach.close()


NAMES = ("run", "wait", "kv")


async def read_once(handler, before=()):
    """Return the views after each page in turn was read."""
    reach, told = DirectReach(), []
    async with served(__metrics=handler) as port:
        scraper = Scraper(reach, lambda _: None, lambda: NOW)
        scraper.want(KEY, "u", [ScrapeTarget("a", "127.0.0.1", port, "/metrics", *NAMES)])
        for _ in range(max(1, len(before))):
            await scraper._read("u", *scraper._wanted["u"])
            told.append(scraper.view("u").get("a"))
    await reach.close()
    return told


@pytest.mark.parametrize(
    "page",
    [
        "run NaN\n",
        "run -1\n",
        "run +Inf\nwait 1\n",
        "wait 1e300\n",
        'run{m="\x00a", =n="b"} 2\n',
        "run}a:b{\n",
        "other 1\n",
        "",
        "run " + "9" * 5000,
    ],
)
async def test_no_page_breaks_the_scraper(page):
    async def handler(_):
        return web.Response(body=page.encode())

    assert await read_once(handler) == [None]


async def test_a_page_that_comes_in_pieces_is_read_whole():
    async def slowly(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"# HELP other\n" * 100)
        await asyncio.sleep(0.05)
        await answer.write(b"run 3\nwait 2\nkv 0.5\n")
        return answer

    [view] = await read_once(slowly)
    assert view is not None
    assert (view.running, view.waiting, view.kv_cache) == (3.0, 2.0, 0.5)


async def test_a_page_without_end_is_not_kept():
    async def endless(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(80):
            await answer.write(b"x" * 100_000)
        return answer

    assert await read_once(endless) == [None]


async def test_one_page_that_does_not_come_changes_nothing():
    pages = iter(["run 3\n", None])

    async def handler(_):
        page = next(pages)
        return web.Response(text=page) if page else web.Response(status=500)

    first, second = await read_once(handler, before=("", ""))
    assert first == second
    assert first is not None


async def test_an_answer_without_end_is_no_answer():
    async def endless(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(100_000):
            await answer.write(b'data: {"choices": [{"delta": {"content": "ha"}}]}\n\n')
        return answer

    async with served(__v1__chat__completions=endless) as port:
        view = await ask(port)
    assert not view.answered
    assert "does not end" in view.message


async def test_a_target_is_asked_again_and_again_until_it_is_not_wanted():
    asked = 0

    class Counting(Prober):
        async def ask(self, key, target, failures):
            nonlocal asked
            asked += 1
            return await super().ask(key, target, failures)

    reach = DirectReach()
    prober = Counting(reach, lambda _: None, lambda: NOW)
    prober.want(KEY, "u", [ProbeTarget("public", "faq", "127.0.0.1", 1, "m", "p", 1, 0.05)])
    await asyncio.sleep(0.4)
    assert asked >= 2
    assert "public" in prober.view("u")
    prober.want(KEY, "u", [])
    assert prober.view("u") == {}
    seen = asked
    await asyncio.sleep(0.2)
    assert asked == seen
    await prober.close()
    await reach.close()
