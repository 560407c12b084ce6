"""Measure a served model under load: each concurrency as a closed loop, each rate as an open one.

What is measured how, and what the numbers mean: docs/evaluate-performance.md.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp

from ascend_runtime.evaluate.client import Prompt, Target
from ascend_runtime.evaluate.config import Criterion, PerformanceConfig
from ascend_runtime.evaluate.perf_advice import Advice, advise, busy_share, latency_bounds
from ascend_runtime.evaluate.perf_load import Asker, Made, Source, closed_loop, open_loop
from ascend_runtime.evaluate.perf_point import Arrivals, Load, Point
from ascend_runtime.evaluate.perf_prompts import load_prompts
from ascend_runtime.evaluate.perf_table import common_table, csv_text, log_text, performance_table, point_metrics

PREFIX = "performance"
_SPARE_FILES = 256
_IDLE_SHARE = 0.8
"""A closed loop whose clients were idle for more than a fifth of the time gets a note."""

Progress = Callable[[int, int], None]
"""Called with the number of requests done and the number of all, warm-up included."""


@dataclass(frozen=True)
class PerformanceResult:
    """All points of one target, closed loops first, each kind in rising order of load."""

    points: tuple[Point, ...]

    @property
    def total(self) -> int:
        """Return the number of measured requests."""
        return sum(len(point.records) for point in self.points)

    @property
    def failed(self) -> int:
        """Return the number of measured requests without a whole answer."""
        return sum(point.failed for point in self.points)

    def advice(self, criteria: Sequence[Criterion] = ()) -> Advice:
        """Return saturation and limits, under the latencies that `criteria` bound."""
        return advise(self.points, latency_bounds(criteria))

    def metrics(self, criteria: Sequence[Criterion] = ()) -> dict[str, float]:
        """Return all flat metrics: `performance.c8.FirstTokenTime.P99` (times in ms), `performance.saturation.…`."""
        found = {f"{PREFIX}.{key}": value for key, value in self.advice(criteria).metrics().items()}
        for point in self.points:
            found |= {f"{PREFIX}.{point.load.key}.{key}": value for key, value in point_metrics(point).items()}
        return found

    def notes(self) -> tuple[str, ...]:
        """Return sentences about what makes a point say less than it seems to."""
        return tuple(note for point in self.points for note in _notes(point))

    def log_text(self) -> str:
        """Return the tables of all points as MindIE's log shows them."""
        return "\n".join(log_text(point) for point in self.points)

    def csv_files(self, name: str) -> dict[str, str]:
        """Return file name -> content: `<name>_c8_perf_<time>.csv` and `…_common_…` for each point, MindIE's names."""
        files = {}
        for point in self.points:
            stamp = time.strftime("%Y%m%d%H%M%S", time.localtime(point.finished_at))
            files[f"{name}_{point.load.key}_perf_{stamp}.csv"] = csv_text(performance_table(point))
            files[f"{name}_{point.load.key}_common_{stamp}.csv"] = csv_text(common_table(point))
        return files


async def measure(
    session: aiohttp.ClientSession,
    target: Target,
    config: PerformanceConfig,
    report_progress: Progress,
    *,
    prompts: Sequence[Prompt] | None = None,
    arrivals: Arrivals = Arrivals.POISSON,
) -> PerformanceResult:
    """Warm up once, then measure each load in turn; what fails is in the result, not raised.

    `prompts` are those of `load_prompts`; None reads them here, as chat. Raises InvalidInput for prompts that cannot be
    read, and ValueError when the session holds fewer connections than the load needs (use client.open_session).
    """
    _require_connections(session, max(config.concurrency, default=1))
    source = Source(prompts if prompts is not None else load_prompts(config.place, chat=True))
    asker = Asker(session, target, source, config.max_tokens)
    loads = [*(Load(concurrency=n) for n in config.concurrency)]
    loads += [Load(rate=rate, arrivals=arrivals) for rate in config.requests_per_second]
    count = _Count(config.warmup_requests + len(loads) * config.requests, report_progress)
    if config.warmup_requests:
        await closed_loop(asker, loads[0].concurrency or 1, config.warmup_requests, count.add)
    points = [await measure_load(asker, load, config, count.add) for load in loads]
    return PerformanceResult(tuple(points))


async def measure_load(asker: Asker, load: Load, config: PerformanceConfig, report: Callable[[], None]) -> Point:
    """Measure one load, without warm-up; `report` is called after each request."""
    if load.concurrency is not None:
        await asker.open_connections(min(load.concurrency, config.requests))
    with _few_pauses():
        if load.concurrency is not None:
            made = await closed_loop(asker, load.concurrency, config.requests, report)
        else:
            made = await open_loop(asker, load, config.requests, report)
    return _point(made, load, config.place.uri, asker.target.model)


@dataclass
class _Count:
    total: int
    report: Progress
    done: int = 0

    def add(self) -> None:
        self.done += 1
        self.report(self.done, self.total)


def _point(made: Made, load: Load, source: str, model: str) -> Point:
    begin, end = min(r.sent for r in made.records), max(r.done for r in made.records)
    return Point(
        load=load,
        records=tuple(sorted(made.records, key=lambda record: record.sent)),
        elapsed=end - begin,
        finished_at=time.time(),
        source=source,
        model=model,
        send_delays=tuple(made.send_delays),
        given_up=made.given_up,
    )


def _require_connections(session: aiohttp.ClientSession, clients: int) -> None:
    """Make room for connections; raises ValueError when the session has a limit below the number of clients."""
    connector = session.connector
    if connector is not None and 0 < connector.limit < clients:
        raise ValueError(f"the session holds {connector.limit} connections, the load needs {clients}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = clients + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextmanager
def _few_pauses() -> Iterator[None]:
    """Keep the garbage collector from looking through all that was there before; such a look takes tens of ms."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _notes(point: Point) -> Iterator[str]:
    key, total = point.load.key, len(point.records)
    if point.given_up:
        yield f"{key}: given up after {total} failed requests; the last said: {point.records[-1].error}"
        return
    if point.failed:
        yield f"{key}: {point.failed} of {total} requests failed; the first said: {_first_error(point)}"
    clients, busy = point.load.concurrency, busy_share(point)
    if clients is not None and total < clients:
        yield f"{key}: {total} requests are fewer than the {clients} clients; raise spec.performance.requests"
    elif busy is not None and busy < _IDLE_SHARE and not point.failed:
        yield f"{key}: clients waited for answers {busy:.0%} of the time (Little's law); more requests would say more"
    if any(not record.counted for record in point.returned):
        yield f"{key}: the server does not count tokens (usage), so the rows of tokens are unknown"


def _first_error(point: Point) -> str:
    return next(record.error for record in point.records if not record.ok)
