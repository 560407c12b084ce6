"""Moments of crontab lines: in the nights when clocks are moved, none is past, none is skipped for good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ascend_jobs.decide.cron import last_moment, next_moment

BACK = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)  # 01:00 UTC: 03:00 becomes 02:00 in Berlin
FORTH = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)  # 01:00 UTC: 02:00 becomes 03:00
SOUTH, WEST = datetime(2026, 4, 4, 12, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
CRONS = ["30 2 * * *", "0 * * * *", "*/5 * * * *", "* * * * *", "0 6 * * *", "30 1-4 * * 0"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Shanghai"])
@pytest.mark.parametrize(
    "start", [BACK, FORTH, datetime(2026, 4, 4, 12, tzinfo=UTC), datetime(2026, 11, 1, 0, tzinfo=UTC)]
)
@pytest.mark.parametrize("cron", CRONS)
def test_next_is_to_come_and_last_is_past(cron, zone, start):
    before = None
    for minutes in range(0, 10 * 60, 7):
        now = start + timedelta(minutes=minutes)
        coming, gone = next_moment(cron, zone, now), last_moment(cron, zone, now)
        assert gone <= now < coming
        assert coming - now <= timedelta(days=8)
        assert before is None or gone >= before, "what fired last never goes back"
        before = gone


def test_the_moment_itself_has_come():
    now = datetime(2026, 1, 1, 20, 0, tzinfo=UTC)
    assert last_moment("0 20 * * *", "Etc/UTC", now) == now
    assert next_moment("0 20 * * *", "Etc/UTC", now) == now + timedelta(days=1)


def test_a_rare_line():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_moment("0 0 29 2 *", "Etc/UTC", now) == datetime(2028, 2, 29, tzinfo=UTC)
    assert last_moment("0 0 29 2 *", "Etc/UTC", now) == datetime(2024, 2, 29, tzinfo=UTC)
