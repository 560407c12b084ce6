"""How many replicas there are to be: the spec, a schedule, or the engines' own load.

The metric has to ask for more during scaleUpSeconds, for less during scaleDownSeconds, before the number changes; what
it asked for least (for more) or most (for less) in that time counts, so that a short spike moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from ascend_jobs.api.conditions import Reason
from ascend_jobs.api.inferenceservice import Scaling, ScalingMetric, Schedule
from ascend_jobs.api.inferenceservice_status import Load, ScalingStatus
from ascend_jobs.decide.cron import last_moment, next_moment
from ascend_jobs.decide.inference.observed import LoadView, ServiceObserved
from ascend_jobs.decide.plan import Event

_TOLD_SECONDS = 30.0
FRESH_SECONDS = 90.0
"""Older words of an engine about its load count for nothing."""


def load_of(observed: ServiceObserved, pods: Iterable[str]) -> Load | None:
    """Return what engines say over these pods together, None when none has said anything lately."""
    fresh = _fresh(observed, pods)
    if not fresh:
        return None
    return Load(
        requests_running=sum(view.running for view in fresh),
        requests_waiting=sum(view.waiting for view in fresh),
        kv_cache_usage=round(sum(view.kv_cache for view in fresh) / len(fresh), 4),
    )


def telling(observed: ServiceObserved, pods: Iterable[str]) -> int:
    """Return how many of these pods have told their load lately."""
    return len(_fresh(observed, pods))


def told_load(observed: ServiceObserved, load: Load | None, scaling: ScalingStatus) -> Load | None:
    """Return the load as the status tells it: it always moves, and an object is not written with every page read."""
    old, before = observed.service.status.load, observed.service.status.scaling
    if load is None:
        return None
    moved = (scaling.desired, scaling.proposed) != (before.desired, before.proposed)
    age = (observed.now - old.time).total_seconds() if old is not None and old.time is not None else math.inf
    return old if 0 <= age < _TOLD_SECONDS and not moved else load.evolve(time=observed.now)


def decide_scaling(
    observed: ServiceObserved, load: Load | None, told: int | None = None
) -> tuple[ScalingStatus, tuple[Event, ...], float | None]:
    """Return the number wanted and why, the event of a change, and seconds until it has to be looked at again.

    `told` is the number of replicas that the load is of, when not of all.
    """
    scaling, old, now = observed.service.spec.scaling, observed.service.status.scaling, observed.now
    if scaling.replicas is not None:
        new, after = ScalingStatus(desired=scaling.replicas, reason="spec.scaling.replicas"), None
    else:
        least, why = floor(scaling, now)
        after = _next_moment(scaling.schedules, now)
        if scaling.max_replicas is None:
            new = ScalingStatus(desired=least, reason=why)
        else:
            new = _by_load(scaling, old, (load, told), (least, max(scaling.max_replicas, least)), why, now)
        if new.proposed is not None:
            after = min(after or math.inf, 5.0)
    first = observed.service.status.scaling.last_scale_time is None
    changed = new.desired != old.desired or first
    new = new.evolve(last_scale_time=now if changed else old.last_scale_time)
    events = (Event(Reason.SCALED, f"{old.desired} -> {new.desired} replicas: {new.reason}"),)
    return new, events if changed and not first else (), after


def floor(scaling: Scaling, now: datetime) -> tuple[int, str]:
    """Return the least number of replicas at a moment, and who says so."""
    fired = [(moment, s) for s in scaling.schedules if (moment := last_moment(s.cron, s.time_zone, now)) is not None]
    if not fired:
        return scaling.min_replicas, "minReplicas"
    latest = max(fired, key=lambda pair: pair[0])[1]
    return latest.min_replicas, f'schedule "{latest.cron}" ({latest.time_zone})'


def schedule_problem(schedule: Schedule) -> str | None:
    """Return what is wrong with a schedule, None when nothing is."""
    try:
        CronSim(schedule.cron, datetime(2026, 1, 1))
    except CronSimError as error:
        return f"cron: {error}; five fields are wanted, such as 0 20 * * *"
    try:
        ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder, such as Asia
        return f"timeZone: {schedule.time_zone} is no IANA time zone, such as Asia/Shanghai"
    return None


def _by_load(
    scaling: Scaling,
    old: ScalingStatus,
    seen: tuple[Load | None, int | None],
    bounds: tuple[int, int],
    why: str,
    now: datetime,
) -> ScalingStatus:
    (least, most), (load, told) = bounds, seen
    held = min(max(old.desired, least), most)
    reason = why if held == least else f"at most {most}" if held < old.desired else old.reason or why
    if load is None or most <= least or held == 0:
        return ScalingStatus(desired=held, reason=reason)
    wanted = min(max(_wanted(scaling, load, held, held if told is None else told), least), most)
    if wanted == held:
        return ScalingStatus(desired=held, reason=reason)
    up = wanted > held
    same_way = old.proposed is not None and (old.proposed > held) == up and old.proposed_time is not None
    steady = min if up else max
    proposed = steady(wanted, old.proposed) if same_way and old.proposed is not None else wanted
    since = old.proposed_time if same_way and old.proposed_time is not None else now
    patience = scaling.scale_up_seconds if up else scaling.scale_down_seconds
    if (now - since).total_seconds() < patience:
        return ScalingStatus(desired=held, reason=reason, proposed=proposed, proposed_time=since)
    return ScalingStatus(desired=proposed, reason=_words(scaling, load))


def _wanted(scaling: Scaling, load: Load, held: int, told: int) -> int:
    """Return the number for which each has the target; of the cache that is in use, not of replicas that only start."""
    if scaling.metric is ScalingMetric.KV_CACHE_USAGE:
        return math.ceil(told * load.kv_cache_usage / scaling.target - 1e-9)
    total = load.requests_waiting if scaling.metric is ScalingMetric.REQUESTS_WAITING else load.requests_running
    wanted = math.ceil(total / scaling.target - 1e-9)
    if scaling.metric is ScalingMetric.REQUESTS_WAITING and wanted < held and load.requests_running > 0:
        return max(wanted, _short_queue(held, load))
    return wanted


def _short_queue(held: int, load: Load) -> int:
    """Return the number when few wait but replicas work: one less only while half of them would do."""
    return held if load.requests_running > held / 2 else held - 1


def _words(scaling: Scaling, load: Load) -> str:
    value = {
        ScalingMetric.REQUESTS_WAITING: load.requests_waiting,
        ScalingMetric.REQUESTS_RUNNING: load.requests_running,
        ScalingMetric.KV_CACHE_USAGE: load.kv_cache_usage,
    }[scaling.metric]
    return f"{scaling.metric.value} {value:g}, target {scaling.target:g} a replica"


def _next_moment(schedules: Iterable[Schedule], now: datetime) -> float | None:
    moments = (next_moment(s.cron, s.time_zone, now) for s in schedules)
    return min(((m - now).total_seconds() + 1.0 for m in moments if m is not None), default=None)


def _fresh(observed: ServiceObserved, pods: Iterable[str]) -> list[LoadView]:
    found = (observed.loads.get(name) for name in pods)
    return [view for view in found if view is not None and _age(observed.now, view) <= FRESH_SECONDS]


def _age(now: datetime, view: LoadView) -> float:
    return (now - view.time).total_seconds()
