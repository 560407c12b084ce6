"""What `ascendctl watch evj/NAME` shows: golden frames, and when it ends."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ascend_jobs.cli.evaluationstory import EvaluationStory

FRAMES = Path(__file__).parent / "frames"
NOW = datetime(2026, 1, 1, 12, 10, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "target": {"service": "faq"},
    "baseline": {"service": "faq", "model": "faq-base"},
    "suites": [
        {"name": "ceval", "uri": "pvc://eval/ceval"},
        {"name": "own", "type": "jsonl", "uri": "pvc://eval/own.jsonl"},
    ],
    "performance": {"uri": "pvc://eval/prompts.jsonl", "concurrency": [1, 8], "requestsPerSecond": [2.5]},
    "acceptance": [{"metric": "ceval.accuracy", "min": 0.7}],
    "output": {"uri": "pvc://reports/faq"},
}


def make_story(status: dict[str, Any], generation: int = 1, **spec: Any) -> EvaluationStory:
    story = EvaluationStory()
    story.take(
        {
            "metadata": {
                "name": "faq",
                "namespace": "team-a",
                "uid": "u",
                "generation": generation,
                "creationTimestamp": "2026-01-01T12:00:00Z",
            },
            "spec": {**SPEC, **spec},
            "status": {"observedGeneration": 1, **status},
        }
    )
    return story


def stalled(reason: str) -> dict[str, Any]:
    time = "2026-01-01T12:00:00Z"
    return {
        "phase": "Stalled",
        "message": "why",
        "conditions": [{"type": "Stalled", "status": "True", "reason": reason, "lastTransitionTime": time}],
    }


RUN = {"number": 3, "trigger": "Schedule", "startTime": "2026-01-01T12:02:00Z"}
ENDED = {**RUN, "completionTime": "2026-01-01T12:09:00Z"}
METRICS = [
    {"name": "ceval.accuracy", "value": 0.7125},
    {"name": "performance.c8.FirstTokenTime.P99", "value": 153.21},
    *({"name": f"ceval.subject.s{n}.accuracy", "value": 0.5} for n in range(20)),
    {"name": "performance.c8.Failed", "value": 2},
]
RESULT: dict[str, Any] = {
    "run": 3,
    "time": "2026-01-01T12:09:00Z",
    "accepted": True,
    "verdict": "Better",
    "metrics": METRICS,
    "criteria": [{"metric": "ceval.accuracy", "value": 0.7125, "accepted": True, "message": ""}],
    "requests": {"total": 1546},
    "report": {"uri": "pvc://reports/faq/runs/00000003", "sha256": "ab"},
}
REJECTED = {
    **RESULT,
    "accepted": False,
    "verdict": None,
    "criteria": [
        {"metric": "ceval.accuracy", "value": 0.512, "accepted": False, "message": "0.512 is below 0.7"},
        {"metric": "performance.c8.Failed", "value": 0, "accepted": True},
        {"metric": "own.accurcy", "accepted": False, "message": "not measured; near names are own.accuracy\x1b[2J"},
    ],
    "requests": {"total": 1546, "failed": 2},
}
STATES: dict[str, dict[str, Any]] = {
    "waiting": {"phase": "Pending", "message": "spec.target.service: waits for InferenceService faq: loads the model"},
    "running": {
        "phase": "Running",
        "message": "run 3: ceval 673/1346",
        "startTime": "2026-01-01T12:00:00Z",
        "run": {**RUN, "tryNumber": 1},
        "progress": {"suite": "ceval", "done": 673, "total": 1346},
        "result": {**RESULT, "run": 2, "time": "2026-01-01T11:10:00Z"},
        "headline": "ceval.accuracy 0.7125",
    },
    "accepted": {"phase": "Complete", "message": "ceval.accuracy 0.7125", "run": ENDED, "result": RESULT},
    "rejected": {"phase": "Waiting", "message": "ceval.accuracy 0.512", "run": ENDED, "result": REJECTED},
    "failed": {"phase": "Failed", "message": "http://faq-aisvc.team-a.svc:8000 does not answer", "run": ENDED},
}


@pytest.mark.parametrize("name", STATES)
def test_frame(name: str) -> None:
    """Rewritten by UPDATE_GOLDEN=1."""
    story = make_story(STATES[name])
    shown = [*story.block(NOW), "", "plain: " + story.line()]
    if story.end() is not None:
        shown += ["", f"exit code {story.end()}", *story.result()]
    text = "\n".join(shown) + "\n"
    file = FRAMES / f"evaluation-{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize(
    ("status", "want"),
    [
        pytest.param({"phase": "Running", "run": RUN, "result": {**RESULT, "run": 2}}, None, id="another-run"),
        pytest.param({"phase": "Complete", "run": ENDED, "result": {**RESULT, "accepted": None}}, 0, id="no-criteria"),
        pytest.param({"phase": "Waiting", "run": ENDED, "result": RESULT}, 0, id="the-next-run-comes-later"),
        pytest.param({"phase": "Waiting", "run": ENDED, "result": {**RESULT, "run": 2}}, 1, id="the-last-run-failed"),
        pytest.param({"phase": "Suspended"}, None, id="suspended"),
        pytest.param(stalled("SpecInvalid"), 1, id="wrong-spec"),
        pytest.param(stalled("MissingPersistentVolumeClaim"), None, id="somebody-may-still-make-the-claim"),
    ],
)
def test_end(status: dict[str, Any], want: int | None) -> None:
    assert make_story(status).end() == want


def test_a_status_of_an_older_spec_ends_nothing() -> None:
    assert make_story(STATES["accepted"], generation=2).end() is None


def test_without_an_output_no_report_is_offered() -> None:
    assert not [line for line in make_story(STATES["accepted"], output=None).result() if "report" in line.split()[:1]]


def test_a_spec_of_another_version_is_still_shown() -> None:
    story = make_story({"phase": "Running", "message": "run 3\x07"}, suites="none")
    assert story.line() == "Running  run 3"
