"""vLLM's metrics by their names, labels and buckets, as seen on vLLM 0.23 and 0.32 (hack/check_vllm.py compares)."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ascend_runtime.serve.core import Core, Record

_LABELS = ("model_name", "engine")
_TOKENS = tuple(factor * 10**power for power in range(8) for factor in (1, 2, 5))
_FIRST = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
)
_BETWEEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_WHOLE = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_FINISHES = ("stop", "length", "abort", "error")


class VllmMetrics:
    """A Recorder that keeps what vLLM keeps."""

    def __init__(self, model: str) -> None:
        """Declare every metric; all are there from the start, at 0."""
        self.registry = CollectorRegistry()
        self._model = model
        self._prompt = self._counter("prompt_tokens", "Number of prefill tokens processed.")
        self._generated = self._counter("generation_tokens", "Number of generation tokens processed.")
        self._queries = self._counter("prefix_cache_queries", "Prefix cache queries, in tokens.")
        self._hits = self._counter("prefix_cache_hits", "Prefix cache hits, in tokens.")
        self._counter("num_preemptions", "Requests that lost their place; none do here.")
        done = Counter("vllm:request_success", "Ended requests.", (*_LABELS, "finished_reason"), registry=self.registry)
        self._done = {finish: done.labels(model, "0", finish) for finish in _FINISHES}
        self._first = self._histogram("time_to_first_token_seconds", _FIRST)
        self._between = self._histogram("inter_token_latency_seconds", _BETWEEN)
        self._each = self._histogram("request_time_per_output_token_seconds", _BETWEEN)
        self._whole = self._histogram("e2e_request_latency_seconds", _WHOLE)
        self._queue = self._histogram("request_queue_time_seconds", _WHOLE)
        self._prefill = self._histogram("request_prefill_time_seconds", _WHOLE)
        self._decode = self._histogram("request_decode_time_seconds", _WHOLE)
        self._lengths: tuple[Histogram, ...] = ()

    def watch(self, core: Core) -> None:
        """Declare what needs a loaded model: the gauges of what goes on now, and counts of tokens up to its length."""
        buckets = tuple(edge for edge in _TOKENS if edge <= core.length)
        names = ("request_prompt_tokens", "request_generation_tokens")
        self._lengths = tuple(self._histogram(name, buckets) for name in names)
        self._gauge("num_requests_running", "Requests being computed.", lambda: core.load.running)
        self._gauge("num_requests_waiting", "Requests waiting for a place.", lambda: core.load.waiting)
        text = "KV-cache usage. 1 means 100 percent usage."
        self._gauge("kv_cache_usage_perc", text, lambda: min(1.0, core.load.tokens / core.capacity))

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text form."""
        return generate_latest(self.registry)

    def received(self) -> None:
        """Note nothing: vLLM counts requests when they end."""

    def first_token(self, seconds: float) -> None:
        """Note the time to a request's first token."""
        self._first.observe(seconds)

    def later_tokens(self, count: int, seconds: float) -> None:
        """Note the time between tokens; of several that came together each gets its share."""
        for _ in range(count):
            self._between.observe(seconds / count)

    def done(self, record: Record) -> None:
        """Note an ended request."""
        self._done[record.finish].inc()
        self._generated.inc(record.generated)
        self._whole.observe(record.whole)
        if not record.generated:
            return  # it never left the queue or its prompt was not computed
        self._prompt.inc(record.prompt_tokens)
        self._queries.inc(record.prompt_tokens)
        self._hits.inc(record.cached_tokens)
        self._queue.observe(record.queue)
        self._prefill.observe(record.prefill)
        self._decode.observe(record.decode)
        for histogram, tokens in zip(self._lengths, (record.prompt_tokens, record.generated), strict=False):
            histogram.observe(tokens)
        if record.generated > 1:
            self._each.observe(record.decode / (record.generated - 1))

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"vllm:{name}", text, _LABELS, registry=self.registry).labels(self._model, "0")

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        text = f"Histogram of {name.replace('_', ' ')}."
        metric = Histogram(f"vllm:{name}", text, _LABELS, buckets=buckets, registry=self.registry)
        return metric.labels(self._model, "0")

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        gauge = Gauge(f"vllm:{name}", text, _LABELS, registry=self.registry)
        gauge.labels(self._model, "0").set_function(value)
