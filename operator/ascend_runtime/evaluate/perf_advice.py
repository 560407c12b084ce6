"""What a sweep over loads says: where the service is saturated, how many requests it serves best, what it may admit.

Saturation is at the smallest measured concurrency after which no other raises generated tokens a second by more than
RISE, while the next one's latency rises by more than RISE: from there on requests only queue. The best concurrency is
where the power, tokens a second over mean latency, is largest (Kleinrock 1979, "Power and deterministic rules of
thumb"). In a closed loop Little's law says that clients = throughput x latency; where the measured product is smaller,
clients were idle, at the end of a run or since this program was too slow, and the point says less than it seems to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from ascend_runtime.evaluate.config import Criterion
from ascend_runtime.evaluate.perf_point import Point, generate_ms
from ascend_runtime.evaluate.perf_table import point_metrics

RISE = 0.1
"""What brings less than 10 % is not worth its latency; besides, runs of one load differ by a few percent."""
_FAILED_SHARE = 0.01
"""A load at which more than 1 % of the requests fail is none to recommend."""
_GROWTH = 1.5
"""An open loop whose last quarter waits 1.5 times as long as its first builds up a queue."""
_BOUNDED = re.compile(
    r"performance\.(?:[cr][\d.]+\.)?((?:FirstTokenTime|DecodeTime|GenerateTime|MaxDecodeTime|LastDecodeTime"
    r"|TimePerOutputToken)\.(?:average|max|min|P75|P90|P99))"
)


@dataclass(frozen=True)
class Advice:
    """None where the measured loads do not tell."""

    saturation: int | None
    """Concurrency at which the service is saturated."""
    best: int | None
    recommended: int | None
    """Most requests that the service should admit at once (spec.serving.maxConcurrency)."""
    sustained_rate: float | None
    """Largest measured number of requests a second at which no queue builds up."""

    def metrics(self) -> dict[str, float]:
        """Return flat metrics without prefix; what is unknown is absent."""
        found = {
            "saturation.concurrency": self.saturation,
            "best.concurrency": self.best,
            "recommended.concurrency": self.recommended,
            "sustained.rate": self.sustained_rate,
        }
        return {key: float(value) for key, value in found.items() if value is not None}


def advise(points: Sequence[Point], bounds: Mapping[str, float] | None = None) -> Advice:
    """Return what the points say; `bounds` are latencies in ms that must hold, such as `FirstTokenTime.P99`."""
    closed = sorted((p for p in points if p.load.concurrency is not None), key=_concurrency)
    saturation = _saturation(closed)
    fit = [point for point in closed if _is_sound(point) and _holds(point, bounds or {})]
    limit = max(map(_concurrency, fit), default=None)
    if saturation is not None and limit is not None:
        limit = max((n for n in map(_concurrency, fit) if n <= saturation), default=None)
    return Advice(saturation, _best(closed), limit, _sustained(points))


def latency_bounds(criteria: Iterable[Criterion]) -> dict[str, float]:
    """Return the latencies that acceptance limits, whichever load it names; the strictest where several do."""
    bounds: dict[str, float] = {}
    for criterion in criteria:
        found = _BOUNDED.fullmatch(criterion.metric)
        if found and criterion.most is not None:
            bounds[found[1]] = min(criterion.most, bounds.get(found[1], criterion.most))
    return bounds


def busy_share(point: Point) -> float | None:
    """Return measured requests under way over clients (Little's law: 1); None for an open loop."""
    return None if point.load.concurrency is None else point.in_flight / point.load.concurrency


def is_keeping_up(point: Point) -> bool:
    """Return whether an open loop's latency does not grow while it runs."""
    times = [generate_ms(record) for record in sorted(point.returned, key=lambda record: record.sent)]
    quarter = max(1, len(times) // 4)
    return bool(times) and _is_sound(point) and median(times[-quarter:]) <= _GROWTH * median(times[:quarter])


def _concurrency(point: Point) -> int:
    return point.load.concurrency or 0


def _latency(point: Point) -> float:
    return fmean(map(generate_ms, point.returned)) if point.returned else float("inf")


def _is_sound(point: Point) -> bool:
    return bool(point.returned) and point.failed <= _FAILED_SHARE * len(point.records)


def _holds(point: Point, bounds: Mapping[str, float]) -> bool:
    measured = point_metrics(point)
    return all(measured.get(name, float("inf")) <= most for name, most in bounds.items())


def _saturation(closed: Sequence[Point]) -> int | None:
    for place, point in enumerate(closed[:-1]):
        later = closed[place + 1 :]
        is_faster_later = max(other.generate_speed for other in later) > (1 + RISE) * point.generate_speed
        if not is_faster_later and _latency(later[0]) > (1 + RISE) * _latency(point):
            return _concurrency(point)
    return None


def _best(closed: Sequence[Point]) -> int | None:
    sound = [point for point in closed if _is_sound(point)]
    best = max(sound, key=lambda point: point.generate_speed / _latency(point), default=None)
    return None if best is None or len(closed) < 2 else _concurrency(best)


def _sustained(points: Sequence[Point]) -> float | None:
    sustained = None
    for point in sorted((p for p in points if p.load.rate is not None), key=lambda p: p.load.rate or 0):
        if not is_keeping_up(point):
            break
        sustained = point.load.rate
    return sustained
