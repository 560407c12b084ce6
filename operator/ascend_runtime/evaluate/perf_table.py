"""MindIE's two tables of a point: as text like its log, as CSV, and as flat metrics.

Rows, names, units and the form of numbers are those that `benchmark` of MindIE prints: four decimals at most, whole
numbers as they are, percentiles with a decimal point, `/` where nobody knows the number.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Sequence

from ascend_runtime.evaluate.perf_point import PERCENTILES, Point, Row, ms_per_output_token, summarize

UNKNOWN = "/"
_NONE_OF_A_RATIO = "-"
"""What stands where a ratio over all requests has no maximum, minimum and percentiles."""
_COLUMNS = ("average", "max", "min", *(f"P{percent}" for percent in PERCENTILES))
_DIGITS = 4


def performance_table(point: Point) -> list[list[str]]:
    """Return header and rows of the performance table."""
    header = ["Metric", *_COLUMNS, "N"]
    return [header, *(table_row(row, len(point.records)) for row in point.rows)]


def table_row(row: Row, number: int) -> list[str]:
    """Return one row of the performance table; `number` is that of all requests (N)."""
    return [row.name, *_cells(row), str(number)]


def common_table(point: Point) -> list[list[str]]:
    """Return header and rows of the common table; an open loop has no clients, so what is per client is unknown."""
    total = len(point.records)
    rows = {
        "CurrentTime": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(point.finished_at)),
        "TimeElapsed": _number(point.elapsed, " s"),
        "DataSource": point.source,
        "Failed": _share(point.failed, total),
        "Returned": _share(len(point.returned), total),
        "Total": _share(total, total),
        "Concurrency": UNKNOWN if point.load.concurrency is None else str(point.load.concurrency),
        "ModelName": point.model,
        "lpct": _number(point.milliseconds_per_input_token, " ms"),
        "Throughput": _number(point.throughput, " req/s"),
        "GenerateSpeed": _number(point.generate_speed, " token/s"),
        "GenerateSpeedPerClient": _number(point.speed_per_client, " token/s"),
        "accuracy": UNKNOWN if point.accuracy is None else _accuracy(*point.accuracy),
    }
    return [["Common Metric", "Value"], *([name, value] for name, value in rows.items())]


def log_text(point: Point) -> str:
    """Return both tables as the log of MindIE's benchmark shows them."""
    return (
        "The Benchmark test performance metric result is:\n"
        f"{_boxed(performance_table(point))}\n"
        "The Benchmark test common metric result is:\n"
        f"{_boxed(common_table(point))}\n"
    )


def csv_text(table: Iterable[Sequence[str]]) -> str:
    """Return a table as CSV, with line feeds."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


def point_metrics(point: Point) -> dict[str, float]:
    """Return the point's numbers by flat names without prefix, such as `FirstTokenTime.P99`; unknown ones are absent.

    Beside MindIE's there are TimePerOutputToken (ms, also right when a chunk holds several tokens), TokensPerChunk,
    InFlight (mean requests under way) and Retries; for an open loop SendDelay (ms behind plan).
    """
    found: dict[str, float | None] = {}
    for row in point.rows:
        if row.statistics is not None:
            found |= {f"{row.name}.{column}": value for column, value in zip(_COLUMNS, _values(row), strict=False)}
    found |= {
        "lpct": point.milliseconds_per_input_token,
        "Throughput": point.throughput,
        "GenerateSpeed": point.generate_speed,
        "GenerateSpeedPerClient": point.speed_per_client,
        "TimeElapsed": point.elapsed,
        "Failed": point.failed,
        "Returned": len(point.returned),
        "Total": len(point.records),
    }
    return {key: float(value) for key, value in (found | _beyond_mindie(point)).items() if value is not None}


def _beyond_mindie(point: Point) -> dict[str, float | None]:
    per_token = [value for value in map(ms_per_output_token, point.returned) if value is not None]
    chunks = sum(len(record.token_times) for record in point.returned)
    tokens = sum(record.completion_tokens for record in point.returned)
    found: dict[str, float | None] = {
        "TokensPerChunk": tokens / chunks if chunks else None,
        "InFlight": point.in_flight,
        "Retries": sum(record.retries for record in point.records),
    }
    delays = [seconds * 1000 for seconds in point.send_delays]
    for name, values in (("TimePerOutputToken", per_token), ("SendDelay", delays)):
        row = Row(name, " ms", summarize(values))
        if row.statistics is not None:
            found |= {f"{name}.{column}": value for column, value in zip(_COLUMNS, _values(row), strict=True)}
    return found


def _values(row: Row) -> list[float]:
    """Return the row's numbers in the order of the columns; a ratio has the average alone."""
    known = row.statistics
    if known is None:
        return []
    if row.is_ratio:
        return [known.average]
    return [known.average, known.maximum, known.minimum, *(known.percentiles[percent] for percent in PERCENTILES)]


def _cells(row: Row) -> list[str]:
    values = [_number(value, row.unit) for value in _values(row)]
    return values + [_NONE_OF_A_RATIO if values else UNKNOWN] * (len(_COLUMNS) - len(values))


def _number(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{round(value, _DIGITS)}{unit}"


def _share(part: int, total: int) -> str:
    percent = round(part / total * 100, 2) if total else 0.0
    return f"{part} ( {percent}% )"


def _accuracy(correct: int, total: int) -> str:
    percent = round(correct / total * 100, 2) if total else 0.0
    return f"{percent}% ({correct}/{total})"


def _boxed(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    lines = [
        "|".join(["", *(f" {cell:>{width}} " for cell, width in zip(row, widths, strict=True)), ""]) for row in table
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])
