"""What a pod's end is taken for, and what it costs."""

import json

import pytest
from ascend_jobs.api.conditions import Reason
from ascend_jobs.decide.failure import (
    Failure,
    delay_left,
    limit_reached,
    pod_failure,
    restarts_after,
    unready_nodes,
    worst,
)
from ascend_jobs.decide.observed import PodPhase
from builders import NOW, at, ended, make_job, make_node, make_observed, make_pod

INVALID = json.dumps({"reason": "DatasetInvalid", "field": "spec.dataset.uri", "message": "row 17: no answer"})


@pytest.mark.parametrize(
    ("pod", "reason", "platform", "fatal"),
    [
        pytest.param(ended(make_pod(), 1, "boom"), Reason.POD_FAILED, False, False, id="program-error"),
        pytest.param(
            ended(make_pod(), 137, "", reason="OOMKilled"), Reason.POD_FAILED, False, False, id="out-of-memory"
        ),
        pytest.param(ended(make_pod(), 65, INVALID), "DatasetInvalid", False, True, id="wrong-input"),
        pytest.param(ended(make_pod(), 65, "no JSON"), Reason.INVALID_INPUT, False, True, id="wrong-input-plain-words"),
        pytest.param(ended(make_pod(), 1, "[" * 4096), Reason.POD_FAILED, False, False, id="hostile-words"),
        pytest.param(
            ended(make_pod(), 65, json.dumps({"reason": "no such file: \udc80", "message": "bad \udc80"})),
            Reason.INVALID_INPUT,
            False,
            True,
            id="reason-that-no-condition-takes",
        ),
        pytest.param(
            make_pod(phase=PodPhase.FAILED, reason="TopologyAffinityError"), Reason.POD_LOST, True, False, id="numa"
        ),
        pytest.param(make_pod(phase=PodPhase.FAILED, containers=()), Reason.POD_LOST, True, False, id="never-started"),
        pytest.param(ended(make_pod(), 75, "fenced"), Reason.FENCED, True, False, id="fenced"),
        pytest.param(
            ended(make_pod(), 1, "late", container="wait"), Reason.POD_FAILED, True, False, id="wait-timed-out"
        ),
        pytest.param(make_pod(deleting=True), Reason.POD_LOST, True, False, id="deleted"),
        pytest.param(make_pod(disrupted=True), Reason.POD_LOST, True, False, id="evicted-by-api"),
        pytest.param(make_pod(phase=PodPhase.FAILED, reason="Evicted"), Reason.POD_LOST, True, False, id="evicted"),
        pytest.param(make_pod(phase=PodPhase.FAILED, reason="OutOfcpu"), Reason.POD_LOST, True, False, id="no-room"),
        pytest.param(make_pod(phase=PodPhase.FAILED), Reason.POD_FAILED, False, False, id="failed-without-words"),
        pytest.param(make_pod(node="node-1"), Reason.NODE_NOT_READY, True, False, id="node-down"),
    ],
)
def test_pod_failure(pod, reason, platform, fatal):
    found = pod_failure(pod, unready_nodes(make_observed(nodes=(make_node(0), make_node(1, ready=False)))))
    assert found is not None
    assert (found.reason, found.platform, found.fatal) == (reason, platform, fatal)


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(make_pod(), id="running"),
        pytest.param(make_pod(phase=PodPhase.PENDING), id="pending"),
        pytest.param(ended(make_pod(), 0), id="ended-well"),
        pytest.param(ended(make_pod(deleting=True), 0), id="ended-well-and-collected"),
        pytest.param(make_pod(node="elsewhere"), id="node-not-in-sight"),
    ],
)
def test_nothing_is_wrong(pod):
    assert pod_failure(pod, frozenset({"node-1"})) is None


def test_the_failure_that_decides():
    fatal, lost, early = Failure("A", "", fatal=True), Failure("B", "", platform=True), Failure("C", "", make_pod(0))
    late = Failure("D", "", make_pod(5))
    assert worst([late, early, lost, fatal]) is fatal
    assert worst([late, early, lost]) is lost
    assert worst([late, early]) is early
    symptom = Failure("E", "", make_pod(0), platform=True, symptom=True)
    assert worst([symptom, late]) is late, "the cause, not what followed from it"
    assert worst([]) is None


@pytest.mark.parametrize(
    ("status", "failure", "want"),
    [
        pytest.param({}, Failure("X", ""), None, id="first-program-failure"),
        pytest.param({"program": 2}, Failure("X", ""), Reason.BACKOFF_LIMIT_EXCEEDED, id="program-budget-spent"),
        pytest.param({"program": 9}, Failure("X", "", platform=True), None, id="platform-is-counted-apart"),
        pytest.param(
            {"platform": 10},
            Failure("X", "", platform=True),
            Reason.PLATFORM_BACKOFF_LIMIT_EXCEEDED,
            id="platform-spent",
        ),
        pytest.param({}, Failure("X", "", fatal=True), Reason.INVALID_INPUT, id="no-retry-helps"),
    ],
)
def test_limit_reached(status, failure, want):
    job = make_job(backoffLimit=2, status={"restarts": status})
    assert limit_reached(make_observed(job), failure) == want


def test_restarts_are_counted_apart():
    counters = make_job().status.restarts
    assert restarts_after(counters, Failure("X", "")).program == 1
    assert restarts_after(counters, Failure("X", "", platform=True)).platform == 1


@pytest.mark.parametrize(
    ("number", "reason", "seconds", "want"),
    [
        pytest.param(1, "PodFailed", 0, 10, id="first"),
        pytest.param(3, "PodFailed", 0, 40, id="doubled"),
        pytest.param(20, "PodFailed", 0, 360, id="capped"),
        pytest.param(1, "PodFailed", 11, 0, id="over"),
        pytest.param(1, "PodLost", 0, 0, id="first-lost-pod"),
        pytest.param(2, "PodLost", 0, 10, id="second-lost-pod"),
        pytest.param(9, "PodLost", 0, 60, id="platform-is-capped-sooner"),
    ],
)
def test_delay_before_the_next_attempt(number, reason, seconds, want):
    failure = {"reason": reason, "time": NOW.isoformat()}
    kind = "program" if reason == "PodFailed" else "platform"
    job = make_job(status={"restarts": {kind: number}, "lastFailure": failure})
    assert delay_left(make_observed(job, now=at(seconds))) == want
