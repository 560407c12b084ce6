"""When the rank table is published, touched, renewed and ready."""

from dataclasses import replace

import pytest
from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionStatus, Reason
from ascend_jobs.decide.plan import Create, Kind, Update
from ascend_jobs.decide.ranktable import decide_rank_table
from ascend_jobs.desired.configmap import rank_table_configmap
from ascend_jobs.domain.ranktable import INITIALIZING
from builders import NOW, at, make_child, make_job, make_observed, make_pod

STARTED = {"attempt": {"number": 0, "startTime": "2026-01-01T12:00:00Z", "allPodsSeen": True}}


def make_pods(**changes):
    return [make_pod(i, waited=False, **changes) for i in range(2)]


def observe(pods, *, config_map=None, now=NOW, status=None, **spec):
    job = make_job(nodes=2, status=status or STARTED, **spec)
    maps = (config_map,) if config_map else ()
    return make_observed(job, *pods, now=now, config_maps=maps)


def published(pods, *, now=NOW, **spec):
    """The ConfigMap as the first publication leaves it."""
    (write, *_) = decide_rank_table(observe(pods, **spec), pods).actions
    return make_child(write.manifest)


def test_the_first_document_is_initializing():
    observed = observe([], status={"attempt": {"number": 0}})
    (write,) = decide_rank_table(observed, ()).actions
    assert isinstance(write, Create)
    assert write.manifest["data"] == {"hccl.json": INITIALIZING, "attempt": "0", "version": "1"}
    assert write.manifest["metadata"]["labels"][names.RING_CONTROLLER] == "ascend-910b"


def test_complete_table_is_published_then_every_waiting_pod_is_touched():
    pods = make_pods()
    first = make_child(
        rank_table_configmap(
            make_job(nodes=2), "faq-ftj", {"hccl.json": INITIALIZING, "attempt": "0", "version": "4"}, "x", 0
        )
    )
    decision = decide_rank_table(observe(pods, config_map=first), pods)
    write, *touches = decision.actions
    assert isinstance(write, Update)
    assert (write.uid, write.version) == (first.uid, first.version)
    assert write.patch["data"]["version"] == "5"
    assert [(t.kind, t.name) for t in touches] == [(Kind.POD, p.name) for p in pods]
    assert touches[0].patch == {"metadata": {"annotations": {names.RANK_TABLE_TOUCH: "5.0"}}}
    assert decision.requeue_after == 1.0
    assert [e.reason for e in decision.events] == [Reason.RANK_TABLE_PUBLISHED]


@pytest.mark.parametrize(
    ("seconds", "touched", "mark", "next_look"),
    [
        pytest.param(0.5, "1.0", None, 0.5, id="touched-already"),
        pytest.param(1.2, "1.0", "1.1", 1.8, id="after-1-s"),
        pytest.param(3.5, "1.1", "1.2", 6.5, id="after-3-s"),
        pytest.param(11, "1.2", "1.3", None, id="after-10-s-for-the-last-time"),
        pytest.param(90, "1.3", None, None, id="no-more"),
    ],
)
def test_touches_are_repeated_while_a_pod_waits(seconds, touched, mark, next_look):
    pods = make_pods()
    config_map = published(pods)
    pods = [replace(p, annotations={**p.annotations, names.RANK_TABLE_TOUCH: touched}) for p in pods]
    done = replace(pods[1], containers=make_pod(1).containers)
    decision = decide_rank_table(observe([pods[0], done], config_map=config_map, now=at(seconds)), [pods[0], done])
    marks = [a.patch["metadata"]["annotations"][names.RANK_TABLE_TOUCH] for a in decision.actions]
    assert marks == ([mark] if mark else [])
    assert decision.requeue_after == (pytest.approx(next_look) if next_look else None)


def test_ready_when_every_container_has_it():
    pods = make_pods()
    config_map = published(pods)
    pods = [make_pod(i) for i in range(2)]
    decision = decide_rank_table(observe(pods, config_map=config_map, now=at(2)), pods)
    assert decision.verdict.status is ConditionStatus.TRUE
    assert decision.status.ready_time == at(2)
    assert (decision.status.version, decision.status.devices) == (1, 2)
    assert decision.actions == ()


def test_a_new_attempt_sets_it_back_to_initializing():
    config_map = published(make_pods())
    observed = observe([], config_map=config_map, status={"attempt": {"number": 1}})
    (write,) = decide_rank_table(observed, ()).actions
    assert write.patch["data"] == {"hccl.json": INITIALIZING, "attempt": "1", "version": "2"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"annotations": {}}, "faq-ftj-0-worker-0: no device report", id="no-report"),
        pytest.param({"ip": ""}, "no pod IP", id="no-ip"),
        pytest.param({"devices": [0, 1]}, "2 devices reported, 1 requested", id="too-many"),
    ],
)
def test_what_is_missing_is_named(changes, words):
    pods = make_pods(**changes)
    decision = decide_rank_table(observe(pods), pods)
    assert decision.verdict.status is ConditionStatus.FALSE
    assert words in decision.verdict.message


@pytest.mark.parametrize(
    ("policy", "reason", "skips"),
    [
        pytest.param("Auto", Reason.RANK_TABLE_UNAVAILABLE, True, id="auto-goes-on-without"),
        pytest.param("Always", Reason.ALLOCATING, False, id="always-waits"),
    ],
)
def test_devices_without_address(policy, reason, skips):
    pods = [
        replace(p, annotations={names.MINDCLUSTER_DEVICES: '{"devices":[{"device_id":"0","device_ip":"-1"}]}'})
        for p in make_pods()
    ]
    decision = decide_rank_table(observe(pods, runtime={"rankTable": policy}), pods)
    assert decision.verdict.reason == reason
    data = decision.actions[0].manifest["data"]
    assert (names.RANK_TABLE_SKIP_KEY in data) is skips
    assert data["hccl.json"] == INITIALIZING


@pytest.mark.parametrize(
    ("nodes", "policy", "wanted"),
    [
        pytest.param(1, "Auto", False, id="one-node"),
        pytest.param(1, "Always", True, id="one-node-asked"),
        pytest.param(2, "Never", False, id="never"),
    ],
)
def test_when_one_is_needed(nodes, policy, wanted):
    job = make_job(nodes=nodes, runtime={"rankTable": policy})
    decision = decide_rank_table(make_observed(job), ())
    assert bool(decision.actions) is wanted
    assert (decision.verdict.reason == Reason.RANK_TABLE_NOT_NEEDED) is not wanted


@pytest.mark.parametrize("version", ["abc", "²", "9" * 400, ""])
def test_a_version_that_somebody_has_edited_is_written_anew(version):
    pods = make_pods()
    edited = published(pods)
    edited.manifest["data"]["version"] = version
    status = {**STARTED, "rankTable": {"version": 6}}
    (write, *_) = decide_rank_table(observe(pods, config_map=edited, status=status), pods).actions
    assert write.patch["data"]["version"] == "7", "above what was ever published"


def test_a_configmap_without_data_is_filled_again():
    pods = make_pods()
    emptied = published(pods)
    del emptied.manifest["data"]
    (write, *_) = decide_rank_table(observe(pods, config_map=emptied), pods).actions
    assert write.patch["data"]["hccl.json"] != INITIALIZING


def test_not_before_the_status_says_that_all_pods_were_seen():
    """Until then a pod may still be replaced within the attempt, and others would hold a table with its old UID."""
    pods = make_pods()
    started = {"attempt": {"number": 0, "startTime": "2026-01-01T12:00:00Z"}}
    decision = decide_rank_table(observe(pods, status=started), pods)
    assert decision.actions[0].manifest["data"]["hccl.json"] == INITIALIZING
