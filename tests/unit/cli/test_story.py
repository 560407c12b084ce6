"""What `ascendctl watch` shows of a job: golden frames, and the small words they are made of."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.cli import figures, story

FRAMES = Path(__file__).parent / "frames"
NOW = datetime(2026, 1, 1, 12, 10, tzinfo=UTC)


def make_job(status: dict[str, Any]) -> FineTuneJob:
    return FineTuneJob.parse(
        {
            "metadata": {
                "name": "faq",
                "namespace": "team-a",
                "uid": "u",
                "creationTimestamp": "2026-01-01T12:00:00Z",
            },
            "spec": {
                "model": {"uri": "file:///opt/model"},
                "dataset": {"uri": "pvc://data/faq.jsonl"},
                "output": {"uri": "pvc://models/faq"},
                "nodes": 2,
            },
            "status": status,
        }
    )


STATES: dict[str, dict[str, Any]] = {
    "new": {},
    "preparing": {
        "phase": "Preparing",
        "message": "the prepare pod cleans and tokenises",
        "startTime": "2026-01-01T12:00:01Z",
    },
    "running": {
        "phase": "Running",
        "message": "all trainers run",
        "startTime": "2026-01-01T12:00:01Z",
        "pods": {"desired": 2, "running": 2},
        "prepare": {"documents": 1200, "trainDocuments": 1176, "validationDocuments": 24},
        "rankTable": {"version": 2, "devices": 2, "readyTime": "2026-01-01T12:01:00Z"},
        "progress": {
            "step": 42,
            "totalSteps": 80,
            "loss": 1.9123456,
            "validationLoss": 2.05,
            "gradNorm": 0.81234,
            "learningRate": 0.000187,
            "tokensPerSecond": 1812.4,
            "estimatedSecondsLeft": 131,
            "updatedTime": "2026-01-01T12:09:54Z",
        },
        "lastCheckpoint": {"step": 40, "uri": "pvc://w/c", "sha256": "ab", "time": "2026-01-01T12:09:25Z"},
    },
    "restarting": {
        "phase": "Restarting",
        "message": "attempt 1 starts from the checkpoint of step 40",
        "startTime": "2026-01-01T12:00:01Z",
        "pods": {"desired": 2, "pending": 2},
        "attempt": {"number": 1},
        "restarts": {"program": 0, "platform": 1},
        "lastFailure": {"reason": "PodLost", "pod": "faq-ftj-0-worker-1", "time": "2026-01-01T12:09:00Z"},
    },
    "complete": {
        "phase": "Complete",
        "message": "output and manifest are written",
        "startTime": "2026-01-01T12:00:01Z",
        "completionTime": "2026-01-01T12:09:13Z",
        "pods": {"desired": 2, "succeeded": 2},
        "progress": {"step": 80, "totalSteps": 80, "loss": 1.2, "validationLoss": 1.4},
        "artifacts": [
            {"type": "adapter", "uri": "pvc://models/faq", "sha256": "0123456789abcdef", "sizeBytes": 9800000}
        ],
    },
    "failed": {
        "phase": "Failed",
        "message": "the program failed 7 times, the limit is 6",
        "startTime": "2026-01-01T12:00:01Z",
        "completionTime": "2026-01-01T12:09:13Z",
        "restarts": {"program": 6, "platform": 0},
        "lastFailure": {
            "reason": "PodFailed",
            "message": "exit code 1: RuntimeError: \x1b[31mout of memory",
            "pod": "faq-ftj-6-worker-0",
            "node": "npu-1",
            "exitCode": 1,
            "time": "2026-01-01T12:09:00Z",
        },
    },
}


@pytest.mark.parametrize("name", STATES)
def test_frame(name: str) -> None:
    """Rewritten by UPDATE_GOLDEN=1."""
    job = make_job(STATES[name])
    losses = (3.2, 2.8, 2.5, 2.1, 1.9) if job.status.progress else ()
    shown = [*story.block(story.View(job, NOW, losses)), "", "plain: " + story.one_line(job)]
    if job.status.phase in ("Complete", "Failed"):
        shown += ["", *story.result(job)]
    text = "\n".join(shown) + "\n"
    file = FRAMES / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_hostile_text_does_not_reach_the_terminal() -> None:
    job = make_job({"phase": "Running\x1b[2J", "message": "a\nb\x07"})
    assert "\x1b" not in "".join(story.block(story.View(job, NOW)))
    assert all("\n" not in line for line in story.block(story.View(job, NOW)))


def test_a_spec_of_another_version_is_still_shown() -> None:
    body = yaml.safe_load("metadata: {name: a, namespace: b, uid: c, creationTimestamp: 2026-01-01T00:00:00Z}")
    job = FineTuneJob.without_spec({**body, "status": {"phase": "Stalled", "message": "spec.x: unknown"}})
    assert story.one_line(job) == "Stalled  spec.x: unknown"


@pytest.mark.parametrize(
    ("seconds", "want"),
    [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90061, "1d1h"), (-5, "0s")],
)
def test_duration(seconds: float, want: str) -> None:
    assert figures.duration(timedelta(seconds=seconds)) == want


@pytest.mark.parametrize(
    ("count", "want"), [(0, "0 B"), (999, "999 B"), (9800000, "9.8 MB"), (14_000_000_000, "14 GB")]
)
def test_size(count: int, want: str) -> None:
    assert figures.size(count) == want


@pytest.mark.parametrize(
    ("step", "total", "filled"), [(0, 80, 0), (40, 80, 16), (80, 80, 32), (99, 80, 32), (5, None, 0), (0, 0, 0)]
)
def test_bar(step: int, total: int | None, filled: int) -> None:
    assert figures.bar(step, total).count("█") == filled


@pytest.mark.parametrize(
    ("values", "want"), [((), ""), ((1.0,), ""), ((2.0, 1.0), "█▁"), ((1.0, 1.0), "▁▁"), ((1, 2, 3, 8), "▁▂▃█")]
)
def test_sparks(values: tuple[float, ...], want: str) -> None:
    assert figures.sparks(values) == want
