"""What a proxy counted, from HAProxy's statistics as CSV (management.txt, 9.1)."""

from __future__ import annotations

import csv
from collections.abc import Mapping

from ascend_jobs import names
from ascend_jobs.decide.inference.observed import TrafficView

_DIGITS = 15
"""Of the largest count that is believed; above 2**53 JSON numbers are not exact everywhere."""
_VERSIONS = (names.TRACK_STABLE, names.TRACK_CANARY)


def parse_traffic(page: str) -> Mapping[str, TrafficView]:
    """Return the traffic by version; raises ValueError for a page that is none of HAProxy's.

    Errors are answers 5xx (HAProxy's own 502, 503 and 504 too), requests without an answer, and answers cut off.
    """
    if not page.startswith("# pxname,"):
        raise ValueError("no statistics of HAProxy")
    rows = csv.DictReader(page[2:].splitlines())
    return {
        row["pxname"]: TrafficView(
            requests=sum(_number(row, f"hrsp_{code}") for code in ("1xx", "2xx", "3xx", "4xx", "5xx", "other")),
            errors=sum(_number(row, name) for name in ("hrsp_5xx", "hrsp_other", "srv_abrt")),
            milliseconds=float(_number(row, "ttime")),
        )
        for row in rows
        if row["svname"] == "BACKEND" and row["pxname"] in _VERSIONS
    }


def _number(row: Mapping[str, str], name: str) -> int:
    text = row.get(name) or "0"
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else 0
