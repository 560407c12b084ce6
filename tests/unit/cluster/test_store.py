"""What a store makes of lists, events and answers, in any order."""

from __future__ import annotations

import pytest
from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.store import Store, is_newer
from unit.cluster.source import pod


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def pods(woken: list[str]) -> Store:
    return Cache(lambda key: woken.append(key.name)).pods


def phase(number: int, version: int, name: str):
    made = pod(number, version)
    made["status"] = {"phase": name}
    return made


def names(pods: Store) -> set[str]:
    return {view.name for _, view in pods}


def test_a_change_of_what_is_kept_wakes_and_nothing_else_does(pods, woken):
    pods.seen(pod(0, 1))
    heartbeat = pod(0, 2)
    heartbeat["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    pods.seen(heartbeat)
    assert woken == ["faq"]
    pods.seen(phase(0, 3, "Running"))
    assert woken == ["faq"] * 2
    pods.gone(pod(0, 4))
    assert woken == ["faq"] * 3


def test_it_never_goes_back(pods, woken):
    pods.seen(phase(0, 10, "Running"))
    pods.seen(phase(0, 9, "Pending"))
    assert pods.find("uid-0").phase == "Running"
    pods.gone(pod(0, 9))
    assert pods.find("uid-0") is not None, "the event is older than what was written since"


def test_the_last_one_wins_where_versions_cannot_be_compared(pods):
    pods.seen(phase(0, 10, "Running"))
    newer = phase(0, 0, "Failed")
    newer["metadata"]["resourceVersion"] = "opaque"
    pods.seen(newer)
    assert pods.find("uid-0").phase == "Failed"


@pytest.mark.parametrize("written", [True, False])
def test_what_is_deleted_stays_so_when_an_old_answer_comes_late(pods, written):
    pods.seen(pod(0, 1))
    pods.gone(pod(0, 5))
    pods.seen(pod(0, 4), written=written)
    assert names(pods) == set()


def test_a_label_that_comes_back_brings_the_object_back(pods):
    pods.seen(pod(0, 1))
    pods.gone(pod(0, 5))
    pods.seen(pod(0, 6))
    assert names(pods) == {"pod-0"}


def test_a_deleted_object_without_a_known_version_does_not_come_back_by_its_old_event(pods):
    pods.seen(pod(0, 7), written=True)
    pods.drop("uid-0")
    pods.seen(pod(0, 7))
    assert names(pods) == set()


def test_a_list_takes_away_what_it_does_not_hold(pods, woken):
    pods.seen(pod(0, 1))
    pods.seen(pod(1, 2))
    mark = pods.mark()
    pods.relisted("", "50", {"uid-1"}, mark)
    assert names(pods) == {"pod-1"}
    assert len(woken) == 3


def test_a_list_does_not_take_away_what_was_made_since(pods):
    mark = pods.mark()
    pods.seen(pod(0, 51), written=True)
    pods.relisted("", "50", set(), mark)
    assert names(pods) == {"pod-0"}


def test_the_same_where_versions_cannot_be_compared(pods):
    pods.seen(pod(0, 1))
    mark = pods.mark()
    pods.seen(pod(1, 2), written=True)
    pods.relisted("", "opaque", set(), mark)
    assert names(pods) == {"pod-1"}


def test_a_list_of_one_namespace_says_nothing_of_others(pods):
    pods.seen(pod(0, 1))
    pods.relisted("team-b", "50", set(), pods.mark())
    assert names(pods) == {"pod-0"}


def test_children_are_found_by_the_uid_of_their_job(pods):
    stranger = pod(1, 2)
    stranger["metadata"]["labels"]["ascendjobs.io/job-uid"] = "another job of the same name"
    pods.seen(pod(0, 1))
    pods.seen(stranger)
    assert [view.name for view in pods.owned("owner")] == ["pod-0"]
    pods.drop("uid-0")
    assert pods.owned("owner") == ()


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [("10", "9", True), ("9", "10", False), ("9", "9", False), ("a", "9", False), ("", "9", False), ("9", "", False)],
)
def test_is_newer(one, other, newer):
    assert is_newer(one, other) is newer
