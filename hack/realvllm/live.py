"""What is asked of a running vLLM: as a kubelet, as the operator, as a client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ascend_jobs.cluster.prober import Prober
from ascend_jobs.cluster.reach import DirectReach
from ascend_jobs.cluster.scraper import Scraper
from ascend_jobs.cluster.store import Key
from ascend_jobs.decide.inference.observed import LoadView
from ascend_jobs.decide.plan import ProbeTarget, ScrapeTarget
from ascend_jobs.desired.engines.engine import EngineParts

from realvllm.server import Running, Stream, status
from realvllm.table import Table

_SERVICE = Key("aisvc", "default", "faq")
_LONG: Mapping[str, Any] = {"model": "faq", "prompt": "The red pod", "temperature": 0, "stream": True}
_HANGS_SECONDS = 10
"""How long a client waits for an answer of a server that was told to end."""


def exchanges(url: str, *, keyed: bool = False) -> dict[str, Any]:
    """Ask all requests that the tests know; of a server with keys those that it refuses."""
    from runtime.serve.exchanges import KEYED, REQUESTS, ask  # type: ignore[import-not-found]

    if keyed:
        return {name: ask(url, *REQUESTS[name]) for name in KEYED}
    return {name: ask(url, *asked) for name, asked in REQUESTS.items()}


def probes_answer(table: Table, server: Running, container: Mapping[str, Any]) -> None:
    """Ask what the kubelet will ask."""
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[name]["httpGet"]
        answer = status(f"http://127.0.0.1:{asked['port']}{asked['path']}")
        table.row(name, answer == 200, f"GET :{asked['port']}{asked['path']} is {answer}")


async def operator_asks(table: Table, parts: EngineParts) -> None:
    """Ask as the operator does: a completion of the model and of its adapter."""
    reach = DirectReach()
    prober = Prober(reach, lambda _: None, lambda: datetime.now(UTC))
    try:
        for model in ("faq", "tuned"):
            target = ProbeTarget(model, "faq", "127.0.0.1", parts.port, model, "Where is the red pod?", 8, 30)
            view = await prober.ask(_SERVICE, target, 0)
            speed = f"first token {view.first_token_milliseconds} ms, {view.tokens_per_second} tokens/s"
            table.row(f"the operator's probe of {model}", view.answered, speed if view.answered else view.message)
    finally:
        await reach.close()


def load_moves(table: Table, server: Running, parts: EngineParts) -> None:
    """Fill both places and the queue; read what scaling reads, as the operator reads it."""
    streams = [_begin(server, 1000) for _ in range(5)]
    time.sleep(2)
    during = asyncio.run(_scraped(parts))
    fits = (during.running, during.waiting) == (2, 3) and 0 < (during.kv_cache or 0) <= 1
    table.row("load of 5 requests in 2 places", fits, _told(during))
    for stream in streams:
        stream.join(120)
    whole, after = sum(stream.is_whole for stream in streams), asyncio.run(_scraped(parts))
    idle = (after.running, after.waiting, after.kv_cache) == (0, 0, 0)
    table.row("load when they have ended", idle and whole == len(streams), f"{whole} answers are whole; {_told(after)}")


async def _scraped(parts: EngineParts) -> LoadView:
    """Return what the operator's scraper reads of the server."""
    source = parts.metrics
    assert source is not None
    target = ScrapeTarget("pod", "127.0.0.1", source.port, source.path, source.running, source.waiting, source.kv_cache)
    reach = DirectReach()
    scraper = Scraper(reach, lambda _: None, lambda: datetime.now(UTC))
    scraper.want(_SERVICE, "uid", [target])
    reading = asyncio.create_task(scraper.run())
    try:
        async with asyncio.timeout(10):
            while "pod" not in scraper.view("uid"):  # noqa: ASYNC110 - the scraper tells nobody of a first view
                await asyncio.sleep(0.05)
        return scraper.view("uid")["pod"]
    finally:
        reading.cancel()
        await reach.close()


def _told(view: LoadView) -> str:
    return f"running {view.running}, waiting {view.waiting}, KV cache {view.kv_cache}"


def pre_stop_waits(table: Table, server: Running, container: Mapping[str, Any]) -> None:
    """Run the preStop hook while a request runs: it must outlast it, and cost the request nothing."""
    stream = _begin(server, 2000)
    started = time.monotonic()
    hook = subprocess.run(container["lifecycle"]["preStop"]["exec"]["command"], check=False, capture_output=True)
    waited = time.monotonic() - started
    stream.join(0.5)
    good = hook.returncode == 0 and not stream.is_alive() and stream.is_whole
    how = "whole" if stream.is_whole else "not whole"
    table.row("preStop waits for what runs", good, f"{waited:.0f} s, then the answer ({stream.tokens} pieces) is {how}")


def ended_by_sigterm(table: Table, server: Running) -> None:
    """Send SIGTERM while a request runs: vLLM cuts it off, which is why preStop waits before."""
    stream = _begin(server, 4000)
    while stream.tokens < 20:
        time.sleep(0.1)
    started = time.monotonic()
    server.process.terminate()
    time.sleep(1)
    health = status(f"{server.url}/health")
    table.row("health after SIGTERM", health is None, f"{health or 'connection refused'}")
    stream.join(_HANGS_SECONDS)
    how = "hangs until its client goes away" if stream.is_alive() else _end_of(stream)
    table.row("SIGTERM cuts off what runs", not stream.is_whole, f"after {stream.tokens} of 4000 tokens it {how}")
    stream.close()
    code = server.process.wait(60)
    table.note("exit", f"code {code} after {time.monotonic() - started:.1f} s")


def _end_of(stream: Stream) -> str:
    """Return how a stream ended, in words."""
    said = [line.removeprefix("data:").strip() for line in stream.lines]
    events = [json.loads(text) for text in said if text != "[DONE]"]
    if stream.failure or not events or "[DONE]" not in said:
        return f"breaks off ({stream.failure or 'no [DONE]'})"
    last = events[-1]
    return (
        f"ends with an error event: {last['error']}"
        if "error" in last
        else (f"ends with finish_reason {last['choices'][0]['finish_reason']}")
    )


def _begin(server: Running, tokens: int) -> Stream:
    body = {**_LONG, "max_tokens": tokens, "ignore_eos": True}
    return Stream(int(server.url.rsplit(":", 1)[1]), "/v1/completions", json.dumps(body).encode())
