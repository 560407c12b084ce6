"""Whom the cache wakes, and what it says of jobs, rivals, the ended and the nodes."""

from __future__ import annotations

import pytest
from ascend_jobs import names
from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import CHILDREN, JOBS, NODES
from ascend_jobs.decide.plan import Kind
from builders import make_body, make_report
from unit.cluster.source import pod

FTJ = names.FINE_TUNE_SHORT
KEY = Key(FTJ, "team-a", "faq")


@pytest.fixture
def woken() -> list[Key]:
    return []


@pytest.fixture
def cache(woken: list[Key]) -> Cache:
    return Cache(woken.append)


def body(name: str = "faq", uid: str = "u1", version: str = "1", *, output: str = "pvc://models/faq", **status):
    made = make_body(name, spec={"output": {"uri": output}}, uid=uid, resourceVersion=version)
    return {**made, "status": status}


def ended(type_: str) -> dict:
    return {"conditions": [{"type": type_, "status": "True"}]}


def node(name: str, version: str, *, ready: str = "True", **labels: str):
    return {
        "metadata": {"name": name, "uid": name, "resourceVersion": version, "labels": labels},
        "status": {"allocatable": {names.ASCEND_910: "8"}, "conditions": [{"type": "Ready", "status": ready}]},
    }


def test_every_resource_has_its_store(cache):
    stores = [cache.store_of(r) for r in (*CHILDREN.values(), *JOBS.values(), NODES)]
    assert len({id(store) for store in stores}) == 10


def test_a_job_is_found_by_its_key_and_wakes_it(cache, woken):
    cache.jobs[FTJ].seen(body())
    assert cache.job(KEY)["metadata"]["uid"] == "u1"
    assert woken == [KEY]


def test_an_echo_of_our_own_write_wakes_nobody(cache, woken):
    cache.jobs[FTJ].seen(body(version="2", phase="Running"), written=True)
    echo = body(version="2", phase="Running")
    echo["metadata"]["managedFields"] = [{}]
    cache.jobs[FTJ].seen(echo)
    assert woken == [KEY]


def test_a_job_made_anew_is_not_taken_for_the_old_one(cache):
    jobs = cache.jobs[FTJ]
    jobs.seen(body(uid="old"))
    jobs.seen(body(uid="new", version="5"))
    jobs.gone(body(uid="old", version="4"))
    assert cache.job(KEY)["metadata"]["uid"] == "new"
    assert cache.ended(KEY) == ("old",)
    cache.forget(KEY, "old")
    assert cache.ended(KEY) == ()


def test_a_deleted_job_does_not_come_back(cache):
    cache.jobs[FTJ].seen(body())
    cache.jobs[FTJ].gone(body(version="3"))
    cache.jobs[FTJ].seen(body(version="9"))
    assert cache.job(KEY) is None


@pytest.mark.parametrize(
    ("status", "is_rival"),
    [
        pytest.param({}, True, id="new"),
        pytest.param({"conditions": [{"type": "Complete", "status": "False"}]}, True, id="running"),
        pytest.param(ended("Complete"), False, id="complete"),
        pytest.param(ended("Failed"), False, id="failed"),
    ],
)
def test_rivals_are_the_others_that_have_not_ended(cache, status, is_rival):
    cache.jobs[FTJ].seen(body("one", "u1"))
    cache.jobs[FTJ].seen(body("two", "u2", output="pvc://models/two/", **status))
    found = cache.rivals("team-a", "u1")
    assert [(r.name, r.output) for r in found] == ([("two", "pvc://models/two")] if is_rival else [])
    assert cache.rivals("team-b", "u1") == ()


@pytest.mark.parametrize("how", ["ends", "is deleted"])
def test_who_waits_for_an_output_is_woken_when_its_rival(cache, woken, how):
    cache.jobs[FTJ].seen(body("one", "u1"))
    cache.jobs[FTJ].seen(body("two", "u2"))
    cache.jobs[FTJ].seen(body("three", "u3", output="pvc://models/other"))
    woken.clear()
    if how == "ends":
        cache.jobs[FTJ].seen(body("one", "u1", "2", **ended("Complete")))
    else:
        cache.jobs[FTJ].gone(body("one", "u1", "2"))
    assert {key.name for key in woken} == {"one", "two"}


def test_a_node_wakes_the_jobs_on_it_when_it_changes(cache, woken):
    placed = pod(0, 1)
    placed["spec"]["nodeName"] = "n1"
    cache.pods.seen(placed)
    cache.nodes.seen(node("n1", "1"))
    cache.nodes.seen(node("n2", "1"))
    woken.clear()
    cache.nodes.seen(node("n1", "2"))
    assert woken == [], "a heartbeat"
    cache.nodes.seen(node("n1", "3", ready="Unknown"))
    assert woken == [KEY]
    cache.nodes.seen(node("n2", "3", ready="Unknown"))
    assert woken == [KEY]


def test_children_of_other_kinds_are_kept_whole_but_for_managed_fields(cache, woken):
    revisions = cache.children[Kind.REVISION]
    made = pod(0, 3) | {"data": {"a": 1}}
    made["metadata"]["managedFields"] = [{}]
    revisions.seen(made)
    (found,) = revisions.owned("owner")
    assert found.manifest["data"] == {"a": 1}
    assert "managedFields" not in found.manifest["metadata"]
    assert found.version == "3"
    revisions.seen(pod(0, 4) | {"data": {"a": 1}})
    assert woken == [KEY], "only the version moved"
    assert revisions.owned("owner")[0].version == "4"


def test_the_last_device_report_is_timed(cache):
    assert cache.last_report("owner") is None
    cache.pods.seen(pod(0, 1))
    assert cache.last_report("owner") is None
    reported = pod(0, 2)
    reported["metadata"]["annotations"] = make_report("pod-0", "uid-0", "10.0.0.1", [0])
    cache.pods.seen(reported)
    first = cache.last_report("owner")
    assert first is not None
    touched = pod(0, 3)
    touched["metadata"]["annotations"] = {**reported["metadata"]["annotations"], names.RANK_TABLE_TOUCH: "1"}
    cache.pods.seen(touched)
    assert cache.last_report("owner") == first


def test_jobs_are_counted_by_phase(cache):
    cache.jobs[FTJ].seen(body("one", "u1", phase="Running"))
    cache.jobs[FTJ].seen(body("two", "u2", phase="Running"))
    cache.jobs[FTJ].seen(body("three", "u3"))
    assert cache.phases() == {(FTJ, "Running"): 2, (FTJ, "Pending"): 1}
