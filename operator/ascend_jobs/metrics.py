"""Every metric of the operator, declared once. Times are in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_FAST = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_SLOW = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 90, 120)


class Metrics:
    """The metrics of one operator process, on a registry of their own."""

    def __init__(self) -> None:
        """Declare all; nothing is measured yet."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = r = CollectorRegistry()
        self.passes = Counter("ascendjobs_passes", "Passes by result.", ["kind", "result"], registry=r)
        self.pass_seconds = Histogram("ascendjobs_pass_seconds", "Duration of a pass.", registry=r, buckets=_FAST)
        self.queue_seconds = Histogram("ascendjobs_queue_seconds", "Wait in the queue.", registry=r, buckets=_FAST)
        self.queue_depth = Gauge("ascendjobs_queue_depth", "Keys that wait for a worker.", registry=r)
        self.queue_age = Gauge("ascendjobs_queue_age_seconds", "Age of the oldest waiting key.", registry=r)
        self.api_calls = Counter(
            "ascendjobs_api_calls", "Calls of the API server.", ["verb", "resource", "code"], registry=r
        )
        self.api_seconds = Histogram(
            "ascendjobs_api_seconds", "Time to the answer's head.", ["verb"], registry=r, buckets=_FAST
        )
        self.informer_events = Counter("ascendjobs_informer_events", "Watch events.", ["resource", "type"], registry=r)
        self.informer_lists = Counter(
            "ascendjobs_informer_lists", "Lists, the first included.", ["resource"], registry=r
        )
        self.rank_table_seconds = Histogram(
            "ascendjobs_rank_table_seconds",
            "From the last device report to the rank table published, and to ready in every container.",
            ["stage"],
            registry=r,
            buckets=_SLOW,
        )
        self.leader = Gauge("ascendjobs_leader", "1 while this process holds the Lease or needs none.", registry=r)
        self.loop_lag = Gauge("ascendjobs_loop_lag_seconds", "Lateness of the event loop, last second.", registry=r)
        self.progress_streams = Gauge("ascendjobs_progress_streams", "Logs that are followed.", registry=r)
        self.progress_lines = Counter("ascendjobs_progress_lines", "Lines of logs, by use.", ["use"], registry=r)

    def count_jobs(self, phases: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Export the number of jobs by (kind, phase), counted when somebody asks."""
        self.registry.register(_Jobs(phases))


class _Jobs(Collector):
    """Counts jobs at each scrape, so that no event can be missed."""

    def __init__(self, phases: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._phases = phases

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("ascendjobs_jobs", "Jobs by phase.", labels=["kind", "phase"])
        for labels, count in self._phases().items():
            family.add_metric(list(labels), count)
        yield family
