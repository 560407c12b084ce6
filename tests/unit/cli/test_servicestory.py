"""What `ascendctl watch aisvc/NAME` shows: golden frames, and when it ends."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ascend_jobs.cli.servicestory import ServiceStory

FRAMES = Path(__file__).parent / "frames"
NOW = datetime(2026, 1, 1, 12, 10, tzinfo=UTC)


def make_story(status: dict[str, Any], generation: int = 1, **spec: Any) -> ServiceStory:
    story = ServiceStory()
    story.take(
        {
            "metadata": {
                "name": "faq",
                "namespace": "team-a",
                "uid": "u",
                "generation": generation,
                "creationTimestamp": "2026-01-01T12:00:00Z",
            },
            "spec": {"model": {"fromJob": "faq"}, **spec},
            "status": {"observedGeneration": 1, **status},
        }
    )
    return story


def condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    time = "2026-01-01T12:00:00Z"
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": time}


def revision(number: int, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "name": f"faq-aisvc-{number}",
        "inputSha256": "a",
        "engine": "vllm-ascend",
        "image": "quay.io/ascend/vllm-ascend:v0.11.0",
        "port": 8000,
        "model": "pvc://models/faq",
        "createdTime": "2026-01-01T12:00:30Z",
        **more,
    }


INSPECTED = {"architecture": "Qwen2ForCausalLM", "parameters": 494_032_768}
SERVING = {
    "url": "http://faq-aisvc.team-a.svc:8000",
    "servedName": "faq",
    "revision": revision(1, inspected=INSPECTED, answeredTime="2026-01-01T12:03:00Z"),
    "replicas": 2,
    "readyReplicas": 2,
    "scaling": {"desired": 2, "reason": "minReplicas"},
    "probe": {
        "time": "2026-01-01T12:09:52Z",
        "answered": True,
        "message": "42",
        "firstTokenMilliseconds": 41.3,
        "tokensPerSecond": 118.27,
    },
    "load": {"requestsRunning": 3, "requestsWaiting": 1, "kvCacheUsage": 0.125},
}
STATES: dict[str, dict[str, Any]] = {
    "waiting": {"phase": "Pending", "message": "spec.model.fromJob: waits for FineTuneJob faq: step 3/40"},
    "starting": {
        "phase": "Starting",
        "message": "faq-aisvc-1-6f9c4-x2x5b loads the model",
        "candidate": revision(1, inspected=INSPECTED, startTime="2026-01-01T12:08:00Z"),
        "replicas": 1,
        "scaling": {"desired": 1, "reason": "minReplicas"},
        "instances": [{"name": "faq-aisvc-1-6f9c4-x2x5b", "revision": 1, "message": "faq-aisvc-1-6f9c4-x2x5b starts"}],
        "conditions": [condition("Progressing", "True", "Proving")],
    },
    "ready": {
        **SERVING,
        "phase": "Ready",
        "message": "first token after 41 ms, 118.3 tokens/s",
        "conditions": [condition("Progressing", "False", "RolledOut", "revision 1")],
    },
    "updating": {
        **SERVING,
        "phase": "Updating",
        "message": "revision 2 passed the gate faq",
        "candidate": revision(
            2,
            inspected=INSPECTED,
            startTime="2026-01-01T12:07:00Z",
            answeredTime="2026-01-01T12:08:00Z",
            gateTime="2026-01-01T12:09:00Z",
        ),
        "replicas": 3,
        "conditions": [condition("Progressing", "True", "Shifting")],
        "canary": {
            "weight": 10,
            "stable": {"requests": 9021, "errors": 2, "errorRate": 0.0002, "averageMilliseconds": 812.4},
            "canary": {"requests": 1002, "errors": 0, "errorRate": 0.0},
        },
    },
    "rolled-back": {
        **SERVING,
        "phase": "Ready",
        "message": "first token after 41 ms; revision 2 was given up (GateFailed): faq.accuracy is 0.4",
        "failedRevision": {
            "number": 2,
            "inputSha256": "b",
            "reason": "GateFailed",
            "message": "faq.accuracy is 0.4\x1b[2J",
            "time": "2026-01-01T12:09:00Z",
        },
        "conditions": [condition("Progressing", "False", "RolloutFailed")],
    },
    "silent": {
        **SERVING,
        "phase": "Degraded",
        "message": "2 failed in a row: no answer within 120 s",
        "readyReplicas": 1,
        "probe": {
            "time": "2026-01-01T12:09:52Z",
            "answered": False,
            "message": "no answer within 120 s",
            "failures": 2,
        },
        "instances": [
            {"name": "faq-aisvc-1-a", "revision": 1, "ready": True, "restarts": 2},
            {"name": "faq-aisvc-1-b", "revision": 1, "message": "server: CrashLoopBackOff: out of memory"},
        ],
    },
    "stalled": {
        "phase": "Stalled",
        "message": "revision 1: weights need 28 GiB of 24",
        "conditions": [condition("Stalled", "True", "DoesNotFit")],
        "failedRevision": {
            "number": 1,
            "inputSha256": "b",
            "reason": "DoesNotFit",
            "message": "weights need 28 GiB of 24",
            "time": "2026-01-01T12:09:00Z",
        },
    },
}


@pytest.mark.parametrize("name", STATES)
def test_frame(name: str) -> None:
    """Rewritten by UPDATE_GOLDEN=1."""
    story = make_story(STATES[name])
    shown = [*story.block(NOW), "", "plain: " + story.line()]
    if story.end() is not None:
        shown += ["", f"exit code {story.end()}", *story.result()]
    text = "\n".join(shown) + "\n"
    file = FRAMES / f"service-{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize(
    ("status", "want"),
    [
        pytest.param({"phase": "Pending"}, None, id="pending"),
        pytest.param({"phase": "Updating", **SERVING}, None, id="updating"),
        pytest.param({"phase": "Degraded", **SERVING}, None, id="degraded"),
        pytest.param({"phase": "Suspended"}, None, id="suspended"),
        pytest.param({"phase": "ScaledToZero", **SERVING}, 0, id="no-replicas-wanted"),
        pytest.param(
            {"phase": "Stalled", "conditions": [condition("Stalled", "True", "MissingPersistentVolumeClaim")]},
            None,
            id="somebody-may-still-make-the-claim",
        ),
        pytest.param(
            {"phase": "Stalled", "conditions": [condition("Stalled", "True", "JobFailed")]}, 1, id="its-job-failed"
        ),
    ],
)
def test_end(status: dict[str, Any], want: int | None) -> None:
    assert make_story(status).end() == want


def test_a_status_of_an_older_spec_ends_nothing() -> None:
    assert make_story(STATES["ready"], generation=2).end() is None


def test_rank_tables_are_shown_where_a_replica_spans_pods() -> None:
    tables = condition("RankTableReady", "False", "Allocating", "faq-aisvc-1-0-1 has no IP yet")
    status = {**STATES["starting"], "conditions": [tables]}
    assert "  rank table faq-aisvc-1-0-1 has no IP yet" in make_story(status, nodes=2).block(NOW)
    assert not [line for line in make_story(status).block(NOW) if "rank table" in line]


def test_colours_and_hostile_text() -> None:
    story = make_story({"phase": "Ready\x1b[2J", "message": "a\nb\x07"})
    assert "\x1b" not in "".join(story.block(NOW))
    assert "\x1b[1;32mReady\x1b[0m" in make_story(STATES["ready"]).block(NOW, colour=True)[0]


def test_a_spec_of_another_version_is_still_shown() -> None:
    story = make_story({"phase": "Stalled", "message": "spec.model: unknown"}, nodes="two")
    assert story.line() == "Stalled  spec.model: unknown"
