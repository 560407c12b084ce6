"""MindIE's metrics by their names, without prefix (MindIE-LLM's repository of April 2026)."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ascend_runtime.serve.core import Core, Record

_LABELS = ("model_name",)
_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_TOKENS = (10, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
_WINDOW = 10.0
"""Seconds over which throughput is averaged."""


class MindieMetrics:
    """A Recorder that keeps what MindIE keeps."""

    def __init__(self, model: str) -> None:
        """Declare every metric; all are there from the start, at 0."""
        self.registry = CollectorRegistry()
        self._model = model
        self._came = self._counter("request_received", "Requests received.")
        self._well = self._counter("request_success", "Requests answered.")
        self._failed = self._counter("request_failed", "Requests that failed or whose client went away.")
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts.")
        self._generated = self._counter("generation_tokens", "Tokens of answers.")
        self._counter("num_preemptions", "Requests that lost their place; none do here.")
        self._first = self._histogram("time_to_first_token_seconds", _SECONDS)
        self._each = self._histogram("time_per_output_token_seconds", _SECONDS)
        self._whole = self._histogram("e2e_request_latency_seconds", _SECONDS)
        self._prompts = self._histogram("request_prompt_tokens", _TOKENS)
        self._answers = self._histogram("request_generation_tokens", _TOKENS)
        self._counts = {"received": 0, "failed": 0, "prompt": 0, "cached": 0}
        self._rates = {"prompt": _Rate(), "generation": _Rate()}

    def watch(self, core: Core) -> None:
        """Declare the gauges of what goes on now."""
        self._gauge("num_requests_running", "Requests being computed.", lambda: core.load.running)
        self._gauge("num_requests_waiting", "Requests waiting for a place.", lambda: core.load.waiting)
        self._gauge("num_requests_swapped", "Requests moved to the host's memory; none are here.", lambda: 0)
        use = "Share of the KV cache in use."
        self._gauge("npu_cache_usage_perc", use, lambda: min(1.0, core.load.tokens / core.capacity))
        self._gauge("cpu_cache_usage_perc", "Share of the swap cache in use; there is none.", lambda: 0)
        self._gauge("npu_prefix_cache_hit_rate", "Share of prompt tokens found in the cache.", self._hit_rate)
        self._gauge("failed_request_perc", "Share of requests that failed.", self._failed_share)
        for kind, rate in self._rates.items():
            self._gauge(f"avg_{kind}_throughput_toks_per_s", f"Tokens per second ({kind}).", rate.value)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text form."""
        return generate_latest(self.registry)

    def document(self) -> dict[str, float]:
        """Return the metrics as a flat object, buckets left out, for /metrics-json."""
        samples = (sample for metric in self.registry.collect() for sample in metric.samples)
        return {s.name: s.value for s in samples if not s.name.endswith(("_bucket", "_created"))}

    def received(self) -> None:
        """Note that a request came."""
        self._came.inc()
        self._counts["received"] += 1

    def first_token(self, seconds: float) -> None:
        """Note the time to a request's first token."""
        self._first.observe(seconds)
        self._rates["generation"].add(1)

    def later_tokens(self, count: int, seconds: float) -> None:
        """Note the time between tokens; of several that came together each gets its share."""
        self._rates["generation"].add(count)
        for _ in range(count):
            self._each.observe(seconds / count)

    def done(self, record: Record) -> None:
        """Note an ended request."""
        if record.finish in ("stop", "length"):
            self._well.inc()
        else:
            self._failed.inc()
            self._counts["failed"] += 1
        self._generated.inc(record.generated)
        self._whole.observe(record.whole)
        if record.generated:
            self._prompt.inc(record.prompt_tokens)
            self._rates["prompt"].add(record.prompt_tokens)
            self._counts["prompt"] += record.prompt_tokens
            self._counts["cached"] += record.cached_tokens
            self._prompts.observe(record.prompt_tokens)
            self._answers.observe(record.generated)

    def _hit_rate(self) -> float:
        return self._counts["cached"] / max(1, self._counts["prompt"])

    def _failed_share(self) -> float:
        return self._counts["failed"] / max(1, self._counts["received"])

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, _LABELS, registry=self.registry).labels(self._model)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        text = f"Histogram of {name.replace('_', ' ')}."
        return Histogram(name, text, _LABELS, buckets=buckets, registry=self.registry).labels(self._model)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, _LABELS, registry=self.registry).labels(self._model).set_function(value)


class _Rate:
    """How much came in the last seconds."""

    def __init__(self) -> None:
        self._events: collections.deque[tuple[float, int]] = collections.deque()

    def add(self, count: int) -> None:
        self._events.append((time.monotonic(), count))
        self._forget()

    def value(self) -> float:
        self._forget()
        return sum(count for _, count in self._events) / _WINDOW

    def _forget(self) -> None:
        while self._events and self._events[0][0] < time.monotonic() - _WINDOW:
            self._events.popleft()
