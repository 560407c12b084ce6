"""Lines of training logs, which may be anything, and the streams they come from."""

from __future__ import annotations

import asyncio
import json

import pytest
from ascend_jobs.cluster.lines import LineSplitter
from ascend_jobs.cluster.progress import Followers
from ascend_jobs.cluster.progress_lines import parse_line
from ascend_jobs.cluster.verbs import PODS
from ascend_jobs.decide.observed import ProgressView
from ascend_jobs.metrics import Metrics
from fake_api import FakeApi, Fault, Log
from unit.cluster.parts import KEY, child
from unit.cluster.source import until

PROGRESS = {
    "event": "progress",
    "step": 12,
    "totalSteps": 200,
    "loss": 1.91,
    "gradNorm": 0.8,
    "learningRate": 0.0002,
    "tokensPerSecond": 812.4,
    "estimatedSecondsLeft": 143,
    "time": "2026-01-01T00:00:00Z",
}
CHECKPOINT = {
    "event": "checkpoint",
    "step": 100,
    "uri": "pvc://models/.ascendjobs/u/checkpoints/0/step-00000100",
    "sha256": "0" * 64,
    "time": "2026-01-01T00:00:00Z",
}
VALIDATION = {"event": "validation", "step": 100, "loss": 1.72, "time": "2026-01-01T00:00:00Z"}


def test_a_time_is_kept_as_a_status_has_it():
    """Whole seconds in UTC; else a checkpoint would differ from what was written of it, at every pass."""
    line = {**VALIDATION, "time": "2026-01-01T08:00:00.75+08:00"}
    assert parse_line(json.dumps(line).encode()) == ("validation", without_event(VALIDATION))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2026-01-01T00:00:00"])
def test_a_time_that_no_status_takes_drops_the_line(time):
    assert parse_line(json.dumps({**VALIDATION, "time": time}).encode()) is None


def without_event(line: dict) -> dict:
    return {key: value for key, value in line.items() if key != "event"}


@pytest.mark.parametrize("line", [PROGRESS, CHECKPOINT, VALIDATION], ids=lambda line: line["event"])
def test_the_lines_of_the_contract_are_kept(line):
    assert parse_line(json.dumps(line).encode()) == (line["event"], without_event(line))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param({"event": "progress", "step": 0}, {"step": 0}, id="the-least"),
        pytest.param(
            {**PROGRESS, "loss": None}, {k: v for k, v in PROGRESS.items() if k != "loss"}, id="null-is-absent"
        ),
        pytest.param({"event": "progress", "step": 1, "cmd": "rm"}, {"step": 1}, id="unknown-fields-go"),
        pytest.param({"event": "progress", "step": 1, "loss": 2}, {"step": 1, "loss": 2.0}, id="whole-loss"),
        pytest.param(
            {"event": "progress", "step": 1, "estimatedSecondsLeft": 1.7},
            {"step": 1, "estimatedSecondsLeft": 1},
            id="seconds-are-whole",
        ),
        pytest.param({**CHECKPOINT, "uri": "pvc://a\u202e/b\n"}, {**CHECKPOINT, "uri": "pvc://a/b"}, id="unprintable"),
        pytest.param({**CHECKPOINT, "uri": "x" * 5000}, {**CHECKPOINT, "uri": "x" * 2048}, id="long-text-is-cut"),
    ],
)
def test_what_is_kept_of_a_line(given, kept):
    parsed = parse_line(json.dumps(given).encode())
    assert parsed is not None
    assert parsed[1] == without_event(kept)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"Epoch 1: loss 0.3", id="text"),
        pytest.param(b"{}", id="no-event"),
        pytest.param(b"[1]", id="a-list"),
        pytest.param(b'{"event": "progress"', id="cut"),
        pytest.param(b'{"event": ["progress"], "step": 1}', id="event-is-a-list"),
        pytest.param(b'{"event": {"a": 1}, "step": 1}', id="event-is-an-object"),
        pytest.param(b'{"event": "delete", "step": 1}', id="unknown-event"),
        pytest.param(b'{"event": "progress", "loss": 1}', id="no-step"),
        pytest.param(b'{"event": "progress", "step": null}', id="null-step"),
        pytest.param(b'{"event": "progress", "step": -1}', id="negative-step"),
        pytest.param(b'{"event": "progress", "step": 1.5}', id="broken-step"),
        pytest.param(b'{"event": "progress", "step": "1"}', id="text-step"),
        pytest.param(b'{"event": "progress", "step": true}', id="boolean-step"),
        pytest.param(b'{"event": "progress", "step": 99999999999999999999999}', id="huge-step"),
        pytest.param(b'{"event": "progress", "step": 9007199254740993}', id="step-beyond-exact"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": NaN}', id="nan"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": Infinity}', id="infinity"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": 1e999}', id="overflow"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": 1e308}', id="nearly-infinite"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": "1"}', id="text-loss"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": [1]}', id="list-loss"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": false}', id="boolean-loss"),
        pytest.param(b'{"event": "progress", "step": 1, "gradNorm": -1}', id="negative-norm"),
        pytest.param(b'{"event": "progress", "step": 1, "estimatedSecondsLeft": 1e300}', id="endless"),
        pytest.param(b'{"event": "progress", "step": 1, "time": "yesterday"}', id="no-time"),
        pytest.param(b'{"event": "progress", "step": 1, "time": "2026-01-01T00:00:00"}', id="time-without-zone"),
        pytest.param(json.dumps({**CHECKPOINT, "sha256": "z" * 64}).encode(), id="no-digest"),
        pytest.param(json.dumps({**CHECKPOINT, "sha256": "0" * 63}).encode(), id="short-digest"),
        pytest.param(json.dumps({**CHECKPOINT, "uri": ""}).encode(), id="empty-uri"),
        pytest.param(json.dumps({**CHECKPOINT, "uri": {"a": 1}}).encode(), id="object-uri"),
        pytest.param(json.dumps({**PROGRESS, "pad": "x" * 9000}).encode(), id="too-long"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": ' + b"[" * 4000 + b"]" * 4000 + b"}", id="deep"),
        pytest.param(b'{"event": "progress", "step": 1, "loss": "\xff"}', id="no-utf8"),
    ],
)
def test_everything_else_is_dropped(line):
    assert parse_line(line) is None


@pytest.mark.parametrize(
    ("chunks", "lines", "dropped"),
    [
        pytest.param([b"a\nb\n"], [b"a", b"b"], 0, id="whole"),
        pytest.param([b"a", b"b\nc", b"\n"], [b"ab", b"c"], 0, id="in-pieces"),
        pytest.param([b"a\nrest"], [b"a"], 0, id="no-end-no-line"),
        pytest.param([b"12345678\n123456789\nb\n"], [b"12345678", b"b"], 1, id="too-long"),
        pytest.param([b"123456", b"789", b"0\nb\n"], [b"b"], 1, id="too-long-in-pieces"),
        pytest.param([b"x" * 100, b"y" * 100, b"z\nok\n"], [b"ok"], 1, id="skipped-over-chunks"),
        pytest.param([b"\n\n"], [b"", b""], 0, id="empty-lines"),
    ],
)
def test_lines_of_a_stream(chunks, lines, dropped):
    splitter = LineSplitter(8)
    assert [line for chunk in chunks for line in splitter.feed(chunk)] == lines
    assert splitter.dropped == dropped


def test_a_line_without_an_end_is_not_kept():
    splitter = LineSplitter(1000)
    for _ in range(10_000):
        assert list(splitter.feed(b"x" * 1000)) == []
    assert len(splitter._tail) <= 1000


class Scene:
    """A pod with a log, and who follows it."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.woken = 0
        self.metrics = Metrics()
        self.followers = Followers(self.api, self._wake, self.metrics, pauses=(0.01, 0.05))
        self.log = self.add("a")

    def add(self, name: str) -> Log:
        self.api.add(PODS, "team-a", child(name, "u"))
        return self.api.logs.setdefault((name, "trainer"), Log())

    def follow(self, pod: str | None = "a") -> None:
        self.followers.follow(KEY, "u", None if pod is None else (pod, "trainer"))

    def _wake(self, _: object) -> None:
        self.woken += 1

    def say(self, line: dict, log: Log | None = None) -> None:
        (log or self.log).write(json.dumps(line) + "\n")

    @property
    def step(self) -> object:
        progress = self.followers.view("u", {"a", "b"}).progress
        return progress["step"] if progress else None

    @property
    def streams(self) -> float | None:
        return self.metrics.registry.get_sample_value("ascendjobs_progress_streams")


@pytest.fixture
async def scene():
    scene = Scene()
    yield scene
    await scene.followers.close()
    assert scene.streams == 0


async def test_the_newest_of_each_event_is_kept(scene):
    scene.follow()
    for line in (PROGRESS, {**PROGRESS, "step": 13}, VALIDATION, CHECKPOINT):
        scene.say(line)
    await until(lambda: scene.followers.view("u", {"a", "b"}).checkpoint is not None)
    view = scene.followers.view("u", {"a", "b"})
    assert view.progress == without_event({**PROGRESS, "step": 13})
    assert view.validation == without_event(VALIDATION)
    assert view.checkpoint == without_event(CHECKPOINT)


async def test_the_first_line_and_checkpoints_wake_at_once_the_rest_every_ten_seconds(scene, monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.progress.WAKE_SECONDS", 0.3)
    scene.follow()
    scene.say(PROGRESS)
    await until(lambda: scene.woken == 1)
    for step in range(20, 40):
        scene.say({**PROGRESS, "step": step})
    await until(lambda: scene.step == 39)
    assert scene.woken == 1
    scene.say(CHECKPOINT)
    await until(lambda: scene.woken == 2)
    scene.say({**PROGRESS, "step": 50})
    await until(lambda: scene.woken == 3)
    await asyncio.sleep(0.4)
    assert scene.woken == 3, "nothing new"


async def test_a_repeated_line_is_no_news(scene):
    scene.follow()
    scene.say(CHECKPOINT)
    await until(lambda: scene.woken == 1)
    scene.say(CHECKPOINT)
    await asyncio.sleep(0.05)
    assert scene.woken == 1


async def test_a_stream_that_breaks_or_ends_is_opened_again(scene):
    scene.api.fail_at(0, Fault.REFUSED)
    scene.api.fail_at(1, Fault.REFUSED)
    scene.follow()
    scene.say(PROGRESS)
    await until(lambda: scene.step == 12)
    scene.log.end()
    scene.api.logs[("a", "trainer")] = again = Log()
    scene.say({**PROGRESS, "step": 14}, again)
    await until(lambda: scene.step == 14)


async def test_following_the_same_again_changes_nothing(scene):
    scene.follow()
    scene.follow()
    await asyncio.sleep(0.02)
    assert scene.streams == 1
    assert sum(call.verb == "log" for call in scene.api.calls) == 1


async def test_another_pod_starts_from_nothing(scene):
    scene.follow("a")
    scene.say(PROGRESS)
    await until(lambda: scene.step == 12)
    other = scene.add("b")
    scene.follow("b")
    assert scene.step is None
    scene.say({**PROGRESS, "step": 3}, other)
    await until(lambda: scene.step == 3)
    assert scene.streams == 1


async def test_lines_of_another_pod_do_not_count(scene):
    scene.follow()
    scene.say(PROGRESS)
    await until(lambda: scene.step == 12)
    assert scene.followers.view("u", {"b"}) == ProgressView()
    assert scene.followers.view("another job", {"a"}) == ProgressView()


async def test_who_is_not_followed_any_more_may_finish_his_sentence(scene):
    scene.follow()
    scene.say(PROGRESS)
    await until(lambda: scene.step == 12)
    scene.follow(None)
    scene.say({**PROGRESS, "step": 200})
    await until(lambda: scene.step == 200)
    scene.log.end()
    await until(lambda: scene.streams == 0)
    assert scene.step == 200, "kept until the job is forgotten"
    scene.followers.forget("u")
    assert scene.step is None


async def test_who_does_not_come_to_an_end_is_cut_off(scene, monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.progress._LINGER", 0.05)
    scene.follow()
    await asyncio.sleep(0.02)
    scene.follow(None)
    await until(lambda: scene.streams == 0)


async def test_garbage_is_counted_and_harmless(scene):
    scene.follow()
    for text in ("\x00\x01\n", "{" * 5000 + "\n", "x" * 20_000 + "\n", '{"event": "progress"}\n'):
        scene.log.write(text)
    scene.say(PROGRESS)
    await until(lambda: scene.step == 12)
    value = scene.metrics.registry.get_sample_value
    assert value("ascendjobs_progress_lines_total", {"use": "kept"}) == 1
    assert value("ascendjobs_progress_lines_total", {"use": "ignored"}) == 3
