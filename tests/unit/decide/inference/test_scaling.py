"""The number of replicas: schedules, the metric, and patience."""

from datetime import UTC, datetime, timedelta

import pytest
from ascend_jobs.api.inferenceservice import InferenceService, Scaling, Schedule
from ascend_jobs.api.inferenceservice_status import Load, ScalingStatus
from ascend_jobs.decide.inference.observed import LoadView, ServiceObserved
from ascend_jobs.decide.inference.scaling import decide_scaling, floor, load_of, schedule_problem
from builders import NOW


def observed(scaling: dict, now: datetime = NOW, **old: object) -> ServiceObserved:
    status = {"scaling": ScalingStatus(**old).wire()} if old else {}
    meta = {"name": "faq", "namespace": "a", "uid": "u", "creationTimestamp": NOW}
    spec = {"model": {"uri": "pvc://m/x"}, "scaling": scaling}
    return ServiceObserved(service=InferenceService.parse({"metadata": meta, "spec": spec, "status": status}), now=now)


NIGHT = [
    Schedule(cron="0 20 * * *", time_zone="Asia/Shanghai", min_replicas=0),
    Schedule(cron="0 7 * * 1-5", time_zone="Asia/Shanghai", min_replicas=3),
]


@pytest.mark.parametrize(
    ("moment", "want"),
    [
        pytest.param(datetime(2026, 1, 5, 4, 0, tzinfo=UTC), 3, id="monday-noon-in-shanghai"),
        pytest.param(datetime(2026, 1, 5, 11, 59, tzinfo=UTC), 3, id="a-minute-before"),
        pytest.param(datetime(2026, 1, 5, 12, 0, 30, tzinfo=UTC), 0, id="half-a-minute-after"),
        pytest.param(datetime(2026, 1, 10, 4, 0, tzinfo=UTC), 0, id="saturday"),
    ],
)
def test_the_latest_schedule_holds(moment, want):
    assert floor(Scaling(min_replicas=1, schedules=tuple(NIGHT)), moment)[0] == want


@pytest.mark.parametrize(
    ("scaling", "load", "desired", "want"),
    [
        pytest.param({"minReplicas": 2}, None, 5, 2, id="nothing-scales-without-maxReplicas"),
        pytest.param({"minReplicas": 1, "maxReplicas": 4}, None, 3, 3, id="no-news-no-change"),
        pytest.param({"replicas": 7, "maxReplicas": 4}, None, 1, 7, id="replicas-overrides"),
        pytest.param({"maxReplicas": 4, "scaleUpSeconds": 0}, Load(requests_waiting=17), 1, 3, id="up"),
        pytest.param({"maxReplicas": 2, "scaleUpSeconds": 0}, Load(requests_waiting=99), 1, 2, id="most"),
        pytest.param(
            {"minReplicas": 1, "maxReplicas": 4, "scaleDownSeconds": 0}, Load(requests_running=3), 4, 4, id="busy"
        ),
        pytest.param(
            {"minReplicas": 1, "maxReplicas": 4, "scaleDownSeconds": 0}, Load(requests_running=1), 4, 3, id="half-idle"
        ),
        pytest.param(
            {"minReplicas": 1, "maxReplicas": 4, "scaleDownSeconds": 0},
            Load(requests_running=256, requests_waiting=1), 4, 4, id="busy-with-a-short-queue",
        ),
        pytest.param(
            {"minReplicas": 1, "maxReplicas": 4, "metric": "kvCacheUsage", "target": 0.5, "scaleUpSeconds": 0},
            Load(kv_cache_usage=0.9), 2, 4, id="cache",
        ),
    ],
)  # fmt: skip
def test_the_number_that_is_wanted(scaling, load, desired, want):
    found, _, _ = decide_scaling(observed(scaling, desired=desired, last_scale_time=NOW), load)
    assert found.desired == want


def test_replicas_that_only_start_do_not_make_more_of_them():
    spec = {"minReplicas": 1, "maxReplicas": 9, "metric": "kvCacheUsage", "target": 0.8, "scaleUpSeconds": 0}
    seen = observed(spec, desired=2, last_scale_time=NOW)
    found, _, _ = decide_scaling(seen, Load(kv_cache_usage=0.9), 1)
    assert found.desired == 2


def test_a_spike_moves_nothing_and_a_lasting_wish_is_the_smallest_of_its_time():
    spec = {"minReplicas": 1, "maxReplicas": 9, "target": 1, "scaleUpSeconds": 30}
    first, _, after = decide_scaling(observed(spec, desired=1, last_scale_time=NOW), Load(requests_waiting=8))
    assert (first.desired, first.proposed) == (1, 8)
    assert after is not None
    later = NOW + timedelta(seconds=20)
    second, _, _ = decide_scaling(observed(spec, later, **dict(first)), Load(requests_waiting=4))
    assert (second.desired, second.proposed, second.proposed_time) == (1, 4, NOW)
    gone, _, _ = decide_scaling(observed(spec, later, **dict(first)), Load(requests_waiting=1))
    assert (gone.desired, gone.proposed) == (1, None)
    third, events, _ = decide_scaling(
        observed(spec, NOW + timedelta(seconds=31), **dict(second)), Load(requests_waiting=6)
    )
    assert third.desired == 4
    assert events[0].reason == "Scaled"


def test_old_words_of_an_engine_count_for_nothing():
    views = {"a": LoadView(NOW, 1, 2, 0.5), "b": LoadView(NOW - timedelta(seconds=91), 5, 5, 1.0)}
    seen = ServiceObserved(service=observed({}).service, now=NOW, loads=views)
    assert load_of(seen, ["a", "b"]) == Load(requests_running=1, requests_waiting=2, kv_cache_usage=0.5)
    assert load_of(seen, ["b"]) is None


@pytest.mark.parametrize(
    ("cron", "zone", "words"),
    [("0 20 * * *", "Asia/Shanghai", None), ("61 * * * *", "Etc/UTC", "cron"), ("0 20 * *", "Etc/UTC", "cron"),
     ("0 20 * * *", "Mars/Base", "timeZone"), ("0 20 * * *", "../etc/passwd", "timeZone")],
)  # fmt: skip
def test_schedules_are_checked(cron, zone, words):
    problem = schedule_problem(Schedule.model_construct(cron=cron, time_zone=zone, min_replicas=0))
    assert (problem is None) if words is None else problem.startswith(words)
