"""Sweeps → saturation, best and recommended concurrency, the rate that is sustained."""

from __future__ import annotations

import pytest
from ascend_runtime.evaluate.config import Criterion
from ascend_runtime.evaluate.perf_advice import advise, busy_share, is_keeping_up, latency_bounds
from ascend_runtime.evaluate.perf_point import Load, Point
from runtime.perf.test_tables import FAILED, make_point, make_record


def closed(clients: int, speed: float, latency: float, failed: int = 0) -> Point:
    """A point with given tokens a second and latency in seconds; 10 answers of 10 tokens."""
    record = make_record(latency / 2, (latency / 2,), completion_tokens=10)
    return make_point(*[record] * 10, *[FAILED] * failed, load=Load(concurrency=clients), elapsed=100 / speed)


def opened(rate: float, growth: float) -> Point:
    records = [make_record(0.1 * (1 + growth * n / 19), (), sent=1000.0 + n / rate) for n in range(20)]
    return make_point(*records, load=Load(rate=rate), elapsed=20 / rate)


SWEEP = (closed(1, 50, 0.2), closed(2, 99, 0.202), closed(4, 190, 0.21), closed(8, 240, 0.35), closed(16, 245, 0.7))


def test_saturation_is_where_only_latency_rises() -> None:
    advice = advise(SWEEP)
    assert (advice.saturation, advice.best, advice.recommended) == (8, 4, 8)
    assert advice.metrics() == {"saturation.concurrency": 8, "best.concurrency": 4, "recommended.concurrency": 8}


def test_order_of_points_does_not_matter() -> None:
    assert advise(tuple(reversed(SWEEP))) == advise(SWEEP)


@pytest.mark.parametrize(
    ("points", "want"),
    [
        pytest.param(SWEEP[:3], (None, 4, 4), id="not-reached"),
        pytest.param(SWEEP[:1], (None, None, 1), id="one-point"),
        pytest.param((), (None, None, None), id="none"),
        pytest.param((SWEEP[0], closed(2, 50, 0.4)), (1, 1, 1), id="saturated-at-once"),
        pytest.param((SWEEP[0], closed(2, 52, 0.2)), (None, 2, 2), id="latency-does-not-rise"),
        pytest.param((SWEEP[0], closed(2, 40, 0.3), closed(4, 90, 0.4)), (None, 1, 4), id="a-dip-is-no-end"),
        pytest.param((SWEEP[0], closed(2, 99, 0.2, failed=5)), (None, 1, 1), id="failures-are-not-recommended"),
        pytest.param((make_point(FAILED, load=Load(concurrency=1)),) * 2, (None, None, None), id="nothing-came-back"),
    ],
)
def test_sweeps(points: tuple[Point, ...], want: tuple[int | None, ...]) -> None:
    advice = advise(points)
    assert (advice.saturation, advice.best, advice.recommended) == want


def test_a_latency_bound_limits_what_is_recommended() -> None:
    assert advise(SWEEP, {"FirstTokenTime.P99": 110}).recommended == 4
    assert advise(SWEEP, {"FirstTokenTime.P99": 90}).recommended is None
    assert advise(SWEEP, {"TimePerOutputToken.average": 1e9}).recommended == 8


def test_bounds_come_from_acceptance() -> None:
    criteria = [
        Criterion("performance.c8.FirstTokenTime.P99", None, 800.0, None),
        Criterion("performance.r0.5.FirstTokenTime.P99", None, 500.0, None),
        Criterion("performance.GenerateTime.average", None, 9000.0, None),
        Criterion("performance.c8.Throughput", 2.0, None, None),
        Criterion("performance.c8.Failed", None, 0.0, None),
        Criterion("ceval.accuracy", 0.7, None, None),
        Criterion("performance.c8.DecodeTime.P99", 1.0, None, None),
    ]
    assert latency_bounds(criteria) == {"FirstTokenTime.P99": 500.0, "GenerateTime.average": 9000.0}


def test_rates() -> None:
    assert is_keeping_up(opened(1.0, growth=0.1)) and not is_keeping_up(opened(1.0, growth=3.0))
    assert advise([opened(4.0, 5.0), opened(1.0, 0.0), opened(2.0, 0.1)]).sustained_rate == 2.0
    assert advise([opened(1.0, 5.0), opened(2.0, 0.0)]).sustained_rate is None


def test_littles_law() -> None:
    """Ten answers of 0.4 s one after the other by two clients in 2 s: both were busy all the time."""
    point = make_point(*[make_record(0.2, (0.2,))] * 10, load=Load(concurrency=2), elapsed=2.0)
    assert busy_share(point) == pytest.approx(1.0)
    assert busy_share(opened(1.0, 0.0)) is None
