"""API objects as views."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ascend_jobs import names
from ascend_jobs.cluster.views import node_view, parse_quantity, pod_view, requested_npus
from ascend_jobs.decide.observed import ContainerView, PodPhase


def test_a_pod_that_was_just_made():
    view = pod_view({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "c"}]}})
    assert (view.phase, view.attempt, view.index, view.containers, view.deleting) == (PodPhase.PENDING, 0, 0, (), False)


def test_a_pod_with_everything():
    view = pod_view(
        {
            "metadata": {
                "name": "p",
                "uid": "u",
                "labels": {names.ROLE: "worker", names.ATTEMPT: "2", names.RANK_INDEX: "7"},
                "annotations": {names.ASCEND_REAL: "0,1", "kubectl.kubernetes.io/x": "y", names.CCE_DEVICES: "{}"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "deletionTimestamp": "2026-01-01T01:00:00Z",
            },
            "spec": {
                "nodeName": "n",
                "initContainers": [{"name": "wait"}],
                "containers": [{"name": "b"}, {"name": "a"}],
            },
            "status": {
                "phase": "Failed",
                "reason": "Evicted",
                "message": "low on memory",
                "podIP": "10.1.0.1",
                "hostIP": "10.0.0.1",
                "conditions": [
                    {"type": "DisruptionTarget", "status": "True"},
                    {"type": "PodScheduled", "status": "True", "message": "old"},
                ],
                "containerStatuses": [
                    {"name": "a", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}},
                    {"name": "b", "state": {"terminated": {"exitCode": 0, "reason": "Completed", "message": "{}"}}},
                ],
                "initContainerStatuses": [{"name": "wait", "state": {"running": {}}}],
            },
        }
    )
    assert (view.role, view.attempt, view.index, view.node) == ("worker", 2, 7, "n")
    assert (view.phase, view.reason, view.message) == (PodPhase.FAILED, "Evicted", "low on memory")
    assert view.created == datetime(2026, 1, 1, tzinfo=UTC)
    assert view.deleting
    assert view.disrupted
    assert view.scheduling_message == ""
    assert view.annotations == {names.ASCEND_REAL: "0,1", names.CCE_DEVICES: "{}"}
    assert view.containers == (
        ContainerView("wait", running=True),
        ContainerView("b", exit_code=0, exit_reason="Completed", exit_message="{}"),
        ContainerView("a", waiting_reason="ErrImagePull", waiting_message="no such image"),
    )


def test_a_pod_that_finds_no_node():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    assert (
        pod_view({"metadata": {"name": "p", "uid": "u"}, "status": {"conditions": [condition]}}).scheduling_message
        == "0/2 nodes"
    )


@pytest.mark.parametrize(
    ("phase", "want"), [("Unknown", PodPhase.UNKNOWN), ("Dreaming", PodPhase.UNKNOWN), ("Running", PodPhase.RUNNING)]
)
def test_phases(phase, want):
    assert pod_view({"metadata": {"name": "p", "uid": "u"}, "status": {"phase": phase}}).phase is want


@pytest.mark.parametrize("label", ["x", "-1", "", "1.5"])
def test_a_label_that_is_no_number_counts_as_zero(label):
    assert pod_view({"metadata": {"name": "p", "uid": "u", "labels": {names.ATTEMPT: label}}}).attempt == 0


def test_nodes():
    allocatable = {names.ASCEND_910: "8", "huawei.com/Ascend910-2c": "4", "cpu": "191500m", "memory": "1Ki"}
    conditions = [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": "True"}]
    made = {
        "metadata": {"name": "n", "labels": {"a": "b"}},
        "status": {"allocatable": allocatable, "conditions": conditions},
    }
    view = node_view(made)
    assert (view.ready, view.schedulable, view.npus, view.cpu, view.memory) == (
        True,
        True,
        {names.ASCEND_910: 8},
        191.5,
        1024,
    )
    assert view.labels == {"a": "b"}
    assert not node_view({**made, "spec": {"unschedulable": True}}).schedulable
    assert not node_view({"metadata": {"name": "n"}}).ready
    plain = node_view({"metadata": {"name": "n", "labels": {"a": "b"}}, "status": {"allocatable": {"cpu": "4"}}})
    assert (plain.npus, plain.labels) == ({}, {})


@pytest.mark.parametrize(
    ("init", "containers", "want"),
    [
        ([], [], {}),
        ([], ["8"], {names.ASCEND_910: 8}),
        ([], ["4", "4"], {names.ASCEND_910: 8}),
        (["2", "6"], ["4"], {names.ASCEND_910: 6}),
        (["2"], [], {names.ASCEND_910: 2}),
    ],
)
def test_npus_that_a_pod_holds(init, containers, want):
    def made(counts: list[str]) -> list[dict]:
        return [{"resources": {"limits": {names.ASCEND_910: count, "cpu": "1"}}} for count in counts] + [{}]

    assert requested_npus({"spec": {"initContainers": made(init), "containers": made(containers)}}) == want


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("500m", 0.5), ("1Ki", 1024), ("2Gi", 2 * 1024**3), ("1k", 1000), ("1.5G", 1.5e9), ("1e3", 1000),
        ("0", 0), (3, 3), ("", 0), ("many", 0), ("1Xi", 0), ("100n", 1e-7),
    ],
)  # fmt: skip
def test_parse_quantity(text, value):
    assert parse_quantity(text) == pytest.approx(value)
