"""Status, events and figures at the end of a pass."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ascend_jobs.cluster.report import merge_patch, report
from ascend_jobs.cluster.verbs import EVENTS, PODS
from ascend_jobs.decide.plan import Event, Plan
from ascend_jobs.errors import ApiError, Outdated
from builders import NOW, make_report
from fake_api import FakeApi, Fault, merged
from unit.cluster.parts import FTJ, KEY, child, make_cluster, put_job


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        pytest.param({}, {}, {}, id="nothing"),
        pytest.param({}, {"a": 1}, {"a": 1}, id="new"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, {"b": None}, id="gone"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"y": None}}, id="gone-inside"),
        pytest.param({"a": {"x": 1}}, {"a": {}}, {"a": {"x": None}}, id="emptied"),
        pytest.param({"a": {"x": 1}}, {"a": {"x": 1}}, {}, id="same-inside"),
        pytest.param({"a": [1, 2]}, {"a": [2]}, {"a": [2]}, id="lists-whole"),
        pytest.param({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}, id="another-type"),
        pytest.param({"a": {"x": {"y": 1}}}, {"a": 3}, {"a": 3}, id="another-type-back"),
        pytest.param({}, {"a": {}}, {"a": {}}, id="an-empty-object"),
        pytest.param({"a": 0}, {"a": 0}, {}, id="zero"),
    ],
)
def test_merge_patch_makes_one_of_the_other(before, after, patch):
    assert merge_patch(before, after) == patch
    assert merged(before, patch) == after


async def test_a_status_is_written_only_if_it_differs():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster, phase="Pending", message="m")
    await report(cluster, KEY, body, Plan(status={"phase": "Pending", "message": "m"}), NOW)
    await report(cluster, KEY, body, Plan(status=None), NOW)
    assert api.calls == []
    await report(cluster, KEY, body, Plan(status={"phase": "Running"}), NOW)
    assert api.all(FTJ)[0]["status"] == {"phase": "Running"}
    assert cluster.cache.job(KEY)["status"] == {"phase": "Running"}, "own writes are seen at once"


@pytest.mark.parametrize("what", ["a newer one", "another of that name", "nothing"])
async def test_a_status_does_not_overwrite(what):
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    if what == "a newer one":
        api.change(FTJ, KEY.namespace, KEY.name, {"spec": {"suspend": True}})
    else:
        api.remove(FTJ, KEY.namespace, KEY.name)
        if what == "another of that name":
            api.add(FTJ, KEY.namespace, body)
    with pytest.raises(Outdated):
        await report(cluster, KEY, body, Plan(status={"phase": "X"}, events=(Event("A", "b"),)), NOW)
    assert not any("status" in found and found["status"] for found in api.all(FTJ))
    assert api.all(EVENTS) == [], "what was not written is not announced"
    assert (cluster.cache.job(KEY) is None) == (what == "nothing")


async def test_the_same_words_within_ten_minutes_are_one_event():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    for minutes in (0, 3, 6, 30):
        await cluster.recorder.post(
            body, [Event("Stalled", "no claim", warning=True)], NOW + timedelta(minutes=minutes)
        )
    await cluster.recorder.post(body, [Event("Stalled", "other words")], NOW)
    first, second, third = api.all(EVENTS)
    assert (first["count"], first["type"], first["reason"], first["message"]) == (3, "Warning", "Stalled", "no claim")
    assert first["lastTimestamp"] == "2026-01-01T12:06:00Z"
    assert first["firstTimestamp"] == "2026-01-01T12:00:00Z"
    assert first["involvedObject"]["uid"] == body["metadata"]["uid"]
    assert first["involvedObject"]["kind"] == "FineTuneJob"
    assert (second["count"], third["type"], third["message"]) == (1, "Normal", "other words")


async def test_an_event_that_is_not_taken_harms_nobody():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    api.fail_at(1, Fault.REFUSED)
    await report(cluster, KEY, body, Plan(status={"phase": "A"}, events=(Event("A", "a"), Event("B", "b"))), NOW)
    assert [e["reason"] for e in api.all(EVENTS)] == ["B"]


async def test_an_event_of_which_the_count_cannot_be_raised_is_posted_again():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    await cluster.recorder.post(body, [Event("A", "a")], NOW)
    api.remove(EVENTS, KEY.namespace, api.all(EVENTS)[0]["metadata"]["name"])
    await cluster.recorder.post(body, [Event("A", "a")], NOW + timedelta(seconds=1))
    assert [e["count"] for e in api.all(EVENTS)] == [1]


async def test_a_status_that_cannot_be_written_for_now_is_an_error():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    api.fail_at(0, Fault.REFUSED)
    with pytest.raises(ApiError):
        await report(cluster, KEY, body, Plan(status={"phase": "A"}), NOW)


async def test_the_rank_table_is_timed_from_the_last_report():
    api = FakeApi()
    cluster = make_cluster(api)
    body = put_job(cluster)
    uid = body["metadata"]["uid"]
    manifest = child("p", uid)
    manifest["metadata"]["annotations"] = make_report("p", "x", "10.0.0.1", [0])
    cluster.cache.pods.seen(api.add(PODS, KEY.namespace, manifest))
    value = cluster.metrics.registry.get_sample_value

    def counts() -> list[float | None]:
        return [value("ascendjobs_rank_table_seconds_count", {"stage": stage}) for stage in ("published", "ready")]

    await report(cluster, KEY, body, Plan(status={"rankTable": {"version": 1, "sha256": "a"}}), NOW)
    assert counts() == [1, None]
    ready = {"rankTable": {"version": 1, "sha256": "a", "readyTime": "2026-01-01T12:00:01Z"}}
    await report(cluster, KEY, cluster.cache.job(KEY), Plan(status=ready), NOW)
    await report(cluster, KEY, cluster.cache.job(KEY), Plan(status=ready), NOW)
    assert counts() == [1, 1]
