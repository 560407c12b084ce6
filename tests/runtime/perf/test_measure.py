"""Whole measurements against the synthetic server, whose log says what is true."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import aiohttp
import pytest
from ascend_runtime.config import Place
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.client import Prompt, Target, open_session
from ascend_runtime.evaluate.config import PerformanceConfig
from ascend_runtime.evaluate.perf import PerformanceResult, measure
from ascend_runtime.evaluate.perf_load import send_times
from ascend_runtime.evaluate.perf_point import Arrivals, Load
from ascend_runtime.evaluate.perf_prompts import load_prompts
from runtime.perf.conftest import Server

PROMPTS = [Prompt(messages=({"role": "user", "content": f"question number {n}"},)) for n in range(3)]


async def run(
    server: Server,
    model: str,
    concurrency: tuple[int, ...] = (),
    rates: tuple[float, ...] = (),
    requests: int = 8,
    warmup: int = 0,
    **options: object,
) -> PerformanceResult:
    config = PerformanceConfig(Place("pvc://data/p.jsonl", Path("/")), concurrency, rates, warmup, requests, 64)
    seen: list[tuple[int, int]] = []
    async with open_session() as session:
        target = Target(server.url, model)
        result = await measure(
            session, target, config, lambda *done: seen.append(done), **{"prompts": PROMPTS, **options}
        )
    total = warmup + requests * (len(concurrency) + len(rates))
    if not any(point.given_up for point in result.points):
        assert seen == [(number, total) for number in range(1, total + 1)]
    return result


async def test_measured_is_what_was_sent_within_one_percent(server: Server) -> None:
    result = await run(server, "timed?first=0.2&gap=0.05&tokens=20", concurrency=(4,), requests=8)
    (point,) = result.points
    log = server.take_log()
    entries = [log[int(record.text.split()[0])] for record in point.records]
    found = result.metrics()
    gaps = [(b - a) * 1000 for e in entries for a, b in pairwise(e["sent"])]
    first = [(e["sent"][0] - e["received"]) * 1000 for e in entries]
    whole = [(e["done"] - e["received"]) * 1000 for e in entries]
    assert found["performance.c4.FirstTokenTime.average"] == pytest.approx(fmean(first), rel=0.01)
    assert found["performance.c4.DecodeTime.average"] == pytest.approx(fmean(gaps), rel=0.01)
    assert found["performance.c4.GenerateTime.average"] == pytest.approx(fmean(whole), rel=0.01)
    assert found["performance.c4.DecodeTime.P75"] == pytest.approx(sorted(gaps)[int(len(gaps) * 0.75)], rel=0.01)
    assert found["performance.c4.GeneratedTokens.average"] == 20
    span = max(e["done"] for e in entries) - min(e["received"] for e in entries)
    assert found["performance.c4.TimeElapsed"] == pytest.approx(span, rel=0.01)
    assert found["performance.c4.GenerateSpeed"] == pytest.approx(160 / span, rel=0.01)
    assert found["performance.c4.InFlight"] == pytest.approx(4, rel=0.1)


async def test_warm_up_is_asked_but_not_measured(server: Server) -> None:
    result = await run(server, "timed?first=0.01&gap=0.001&tokens=2", concurrency=(2,), requests=4, warmup=3)
    assert len(server.take_log()) == 7
    assert result.total == 4


async def test_failures_are_counted_and_never_averaged_in(server: Server) -> None:
    model = "timed?first=0.02&gap=0.005&tokens=8&fail=cut&every=4"
    result = await run(server, model, concurrency=(2,), requests=8)
    found = result.metrics()
    assert (result.total, result.failed) == (8, 2)
    assert found["performance.c2.Failed"] == 2
    assert found["performance.c2.GeneratedTokens.min"] == 8
    assert found["performance.c2.Throughput"] == pytest.approx(6 / result.points[0].elapsed)
    assert result.notes()[0].startswith("c2: 2 of 8 requests failed; the first said: the connection broke after")


async def test_a_target_that_answers_nothing_is_given_up(server: Server) -> None:
    result = await run(server, "timed?fail=error", concurrency=(2,), rates=(200.0,), requests=200)
    assert all(point.given_up and len(point.records) < 150 for point in result.points)
    assert "no capacity left" in result.notes()[0]
    assert "performance.c2.FirstTokenTime.average" not in result.metrics()


async def test_sweep_finds_the_slots_of_the_server(server: Server) -> None:
    """Two slots of 0.22 s each: more clients than that only wait."""
    result = await run(server, "timed?first=0.2&gap=0.02&tokens=2&slots=2", concurrency=(1, 2, 4), requests=10)
    advice = result.advice()
    assert (advice.saturation, advice.best, advice.recommended) == (2, 2, 2)
    found = result.metrics()
    assert found["performance.saturation.concurrency"] == 2
    assert found["performance.c4.FirstTokenTime.P75"] > 1.5 * found["performance.c2.FirstTokenTime.P75"]


async def test_open_loop_sends_on_time_and_sees_a_queue(server: Server) -> None:
    model = "timed?first=0.08&gap=0.01&tokens=3&slots=1"
    result = await run(server, model, rates=(5.0, 40.0), requests=12, arrivals=Arrivals.CONSTANT)
    calm, crowded = result.points
    sent = sorted(entry["received"] for entry in server.take_log().values())
    assert sent[11] - sent[0] == pytest.approx(11 / 5.0, rel=0.03)
    assert sent[23] - sent[12] == pytest.approx(11 / 40.0, rel=0.2)
    assert median(calm.send_delays) < 0.01
    assert result.advice().sustained_rate == 5.0
    assert crowded.row("FirstTokenTime").statistics.maximum > 600


def test_send_times() -> None:
    def take(load: Load, number: int) -> list[float]:
        return [time for _, time in zip(range(number), send_times(load), strict=False)]

    poisson = take(Load(rate=4.0), 20_000)
    gaps = [later - earlier for earlier, later in pairwise(poisson)]
    assert poisson == take(Load(rate=4.0), 20_000) and poisson[0] == 0
    assert fmean(gaps) == pytest.approx(0.25, rel=0.02)
    assert fmean(gap**2 for gap in gaps) == pytest.approx(2 * 0.25**2, rel=0.05)
    assert take(Load(rate=4.0, arrivals=Arrivals.CONSTANT), 3) == [0, 0.25, 0.5]


async def test_results_as_files(server: Server) -> None:
    model = "timed?first=0.01&gap=0.001&tokens=2"
    result = await run(server, model, concurrency=(1,), rates=(50.0,), requests=2)
    files = result.csv_files("faq")
    names = sorted(name.rstrip("0123456789.csv").rstrip("_") for name in files)
    assert names == ["faq_c1_common", "faq_c1_perf", "faq_r50_common", "faq_r50_perf"]
    assert all(content.startswith(("Metric,average", "Common Metric,Value")) for content in files.values())
    assert result.log_text().count("The Benchmark test performance metric result is:") == 2


async def test_too_few_connections_are_refused(server: Server) -> None:
    config = PerformanceConfig(Place("x", Path("/")), (200,), (), 0, 1, 1)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="holds 100 connections, the load needs 200"):
            await measure(session, Target(server.url, "timed"), config, lambda *_: None, prompts=PROMPTS)


DIALOGUE = [("system", "s"), ("user", "2"), ("assistant", "II")]
ROWS = [
    {"prompt": "one"},
    {"messages": [{"role": role, "content": content} for role, content in DIALOGUE]},
    {"instruction": "three", "input": "3", "output": "iii"},
]


def test_prompts_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, ROWS)))
    (tmp_path / "b.txt").write_text("\ufefffour\r\n\r\nfive\n")
    (tmp_path / "notes.md").write_text("no prompts")
    place = Place("pvc://data/p", tmp_path)
    chat = [prompt.messages for prompt in load_prompts(place, chat=True)]
    assert [messages[-1]["content"] for messages in chat] == ["one", "2", "three\n3", "four", "five"]
    assert chat[1][0] == {"role": "system", "content": "s"}
    text = [prompt.text for prompt in load_prompts(place, chat=False)]
    assert text == ["one", "s\n2", "three\n3", "four", "five"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param('{"prompt": "x"}\n{"question": "x"}\n', "p.jsonl row 2: no text in prompt", id="wrong-field"),
        pytest.param("{", "row 1: not JSON", id="no-json"),
        pytest.param("[1]", "row 1: no JSON object", id="no-object"),
        pytest.param('{"prompt": 3}', "row 1: no text in prompt", id="number"),
        pytest.param('{"messages": [{"role": "user"}]}', "row 1: messages is no list", id="message"),
        pytest.param('{"messages": [{"role": "assistant", "content": "x"}]}', "nothing but answers", id="answers"),
        pytest.param("\n", "there are no prompts", id="empty"),
        pytest.param(b"\xff", "cannot be read as UTF-8", id="no-utf8"),
    ],
)
def test_bad_prompts_name_file_and_row(tmp_path: Path, content: str | bytes, words: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput, match=words) as caught:
        load_prompts(Place("pvc://data/p.jsonl", path), chat=True)
    assert (caught.value.reason, caught.value.field) == (Reason.DATASET_INVALID, "spec.performance.uri")


def test_absent_prompts(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no file at pvc://data/p") as caught:
        load_prompts(Place("pvc://data/p", tmp_path / "p"), chat=True)
    assert caught.value.reason is Reason.DATASET_NOT_FOUND
