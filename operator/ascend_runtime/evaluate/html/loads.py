"""Performance in the report: MindIE's tables, and throughput over the load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ascend_runtime.evaluate.html.page import Plot, Section, Table, number
from ascend_runtime.evaluate.html.plots import LoadPoint, load
from ascend_runtime.evaluate.html.words import Words
from ascend_runtime.evaluate.perf import PerformanceResult
from ascend_runtime.evaluate.perf_point import Point
from ascend_runtime.evaluate.perf_table import common_table, performance_table


def say_load(result: PerformanceResult, words: Words) -> Iterator[str]:
    """Say the best throughput, and where it ends, in words."""
    points = _points(result)
    if points:
        best = max(points, key=lambda point: point.throughput)
        values = {"throughput": number(best.throughput), "first": number(best.first_token)}
        yield words("sayLoad", load=f"{best.load:g}", **values)
    saturation = result.advice().saturation
    if saturation is not None:
        yield words("saySaturation", load=saturation)
    if result.failed:
        yield words("sayLoadFailed", failed=result.failed, total=result.total)


def performance_section(result: PerformanceResult, name: str, words: Words) -> Section:
    """Return tables of each load, and the plot over the loads where there are several."""
    points = _points(result)
    labels = (words("concurrency"), words("tokensPerSecond"), words("firstToken"), words("saturation"))
    plots = (Plot(load(points, result.advice().saturation, labels), words("loadPlot")),) if len(points) > 1 else ()
    tables = tuple(table for point in result.points for table in mindie_tables(point, point.load.key, words))
    blocks = (_overview(result, words), *plots, *tables)
    return Section(words("performance", target=name), (words("performanceHow"), *result.notes()), blocks)


def mindie_tables(point: Point, name: str, words: Words) -> tuple[Table, Table]:
    """Return MindIE's performance and common table of a point, folded away."""
    made = (
        (performance_table(point), words("perfTable", name=name)),
        (common_table(point), words("common", name=name)),
    )
    first, second = (
        Table(tuple(cells[0]), tuple(map(tuple, cells[1:])), _all_but_first(cells[0]), caption, is_folded=True)
        for cells, caption in made
    )
    return first, second


def _overview(result: PerformanceResult, words: Words) -> Table:
    """Return a row for each load: what came out, and how long it took."""
    times = ("FirstTokenTime", "DecodeTime", "GenerateTime")
    counts = (words("load"), words("requests"), words("failed"), "Throughput, req/s", "GenerateSpeed, token/s")
    header = (*counts, *(f"{name} P99, ms" for name in times))
    rows = tuple(
        (
            point.load.key,
            str(len(point.records)),
            str(point.failed),
            number(point.throughput),
            number(point.generate_speed),
            *(_p99(point, name) for name in times),
        )
        for point in result.points
    )
    return Table(header, rows, _all_but_first(header), words("loadNames"))


def _p99(point: Point, name: str) -> str:
    known = point.row(name).statistics
    return number(known.percentiles[99] if known else None)


def _all_but_first(header: Sequence[str]) -> frozenset[int]:
    return frozenset(range(1, len(header)))


def _points(result: PerformanceResult) -> list[LoadPoint]:
    """Return the closed loops that gave answers, in rising order of load."""
    found = []
    for point in result.points:
        known = point.row("FirstTokenTime").statistics
        if point.load.concurrency is not None and known is not None:
            found.append(LoadPoint(point.load.concurrency, point.generate_speed, known.percentiles[99]))
    return sorted(found, key=lambda point: point.load)
