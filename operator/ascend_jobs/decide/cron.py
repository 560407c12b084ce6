"""Moments of a crontab line in a time zone, also in the night when clocks go back and an hour comes twice.

CronSim counts in local time and takes the first of two equal hours, so what it calls next may be past already, and
what it calls last may still come; each moment is compared in UTC before it counts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

_TWICE = timedelta(hours=3)
"""Longer than the hour that comes twice."""
_MOST = 400
"""Moments that are looked at: a line that fires every minute has 180 in three hours."""


def next_moment(cron: str, time_zone: str, after: datetime) -> datetime | None:
    """Return the first moment after one, in UTC; None when there is none in the next 50 years."""
    found = CronSim(cron, after.astimezone(ZoneInfo(time_zone)))
    return next((m for each in islice(found, _MOST) if (m := each.astimezone(UTC)) > after), None)


def last_moment(cron: str, time_zone: str, at: datetime) -> datetime | None:
    """Return the last moment up to and including one, in UTC; None when there was none in the last 50 years."""
    local = at.astimezone(ZoneInfo(time_zone))
    went_back = (at - _TWICE).astimezone(local.tzinfo).utcoffset() != local.utcoffset()
    begin = local + (_TWICE if went_back else timedelta(minutes=1))
    found = CronSim(cron, begin, reverse=True)
    return next((m for each in islice(found, _MOST) if (m := each.astimezone(UTC)) <= at), None)
