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
