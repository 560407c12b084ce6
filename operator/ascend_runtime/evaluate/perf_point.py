"""One point of a measurement: a load, the requests made under it, and the numbers of MindIE's benchmark made of them.

Definitions follow mindiebenchmark (its metrics and results modules, MindIE 1.0 to 2.0): lists over all requests that
came back, then average, max, min and percentiles with linear interpolation; N is the number of all requests. Times are
in milliseconds. What failed is counted and in no list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

import numpy as np

from ascend_runtime.evaluate.client import RequestRecord

PERCENTILES = (75, 90, 99)


class Arrivals(StrEnum):
    """How requests of an open loop are spread over time."""

    POISSON = "Poisson"
    """Independent users: exponential gaps, the same ones in every run (fixed seed)."""
    CONSTANT = "Constant"


@dataclass(frozen=True)
class Load:
    """Closed loop: so many clients, each asking again when answered; open loop: so many requests a second anyway."""

    concurrency: int | None = None
    rate: float | None = None
    arrivals: Arrivals = Arrivals.POISSON

    @property
    def key(self) -> str:
        """Return the load's part of metric names: `c8` for 8 clients, `r2` for 2 requests a second."""
        return f"c{self.concurrency}" if self.rate is None else f"r{self.rate:g}"


@dataclass(frozen=True)
class Statistics:
    """A list of numbers, summed up; whole numbers stay whole in maximum and minimum."""

    average: float
    maximum: float
    minimum: float
    percentiles: Mapping[int, float]


@dataclass(frozen=True)
class Row:
    """One row of the performance table; without statistics where nobody knows the numbers."""

    name: str
    unit: str
    """With its leading space; empty for counts."""
    statistics: Statistics | None
    is_ratio: bool = False
    """Whether it is one ratio over all requests, which has an average alone."""


@dataclass(frozen=True)
class Point:
    """The requests made under one load. Suites have one too: it is how MindIE measures while it scores."""

    load: Load
    records: tuple[RequestRecord, ...]
    elapsed: float
    """Seconds from the first request to the last byte."""
    finished_at: float
    """When it ended, in seconds since 1970."""
    source: str
    """Where the prompts came from."""
    model: str
    accuracy: tuple[int, int] | None = None
    """Right answers and questions, where the prompts had right answers."""
    send_delays: tuple[float, ...] = ()
    """Open loop: seconds between the planned and the real sending of each request; large ones mean a busy client."""
    given_up: bool = False
    """Whether it was broken off since nothing but failures came."""

    @cached_property
    def returned(self) -> tuple[RequestRecord, ...]:
        """Return the requests that came back whole."""
        return tuple(record for record in self.records if record.ok)

    @property
    def failed(self) -> int:
        """Return the number of requests without a whole answer."""
        return len(self.records) - len(self.returned)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Return the rows of the performance table, in MindIE's order."""
        return _rows(self.returned)

    def row(self, name: str) -> Row:
        """Return a row by its name; raises KeyError."""
        return {row.name: row for row in self.rows}[name]

    @property
    def throughput(self) -> float:
        """Return answers a second."""
        return len(self.returned) / self.elapsed if self.elapsed else 0.0

    @property
    def generate_speed(self) -> float:
        """Return generated tokens a second, of all clients together."""
        return sum(record.completion_tokens for record in self.returned) / self.elapsed if self.elapsed else 0.0

    @property
    def speed_per_client(self) -> float | None:
        """Return generated tokens a second of one client; None in an open loop, which has no clients."""
        return None if self.load.concurrency is None else self.generate_speed / self.load.concurrency

    @property
    def milliseconds_per_input_token(self) -> float | None:
        """Return MindIE's lpct: the sum of first-token times over the sum of input tokens; None without counts."""
        tokens = sum(record.prompt_tokens for record in self.returned)
        return sum(map(first_token_ms, self.returned)) / tokens if tokens else None

    @property
    def in_flight(self) -> float:
        """Return the mean number of requests under way: throughput times mean latency (Little 1961)."""
        return sum(record.done - record.sent for record in self.returned) / self.elapsed if self.elapsed else 0.0


def first_token_ms(record: RequestRecord) -> float:
    """Return the milliseconds from sending to the first token."""
    return (record.token_times[0] - record.sent) * 1000


def generate_ms(record: RequestRecord) -> float:
    """Return the milliseconds from sending to the last byte."""
    return (record.done - record.sent) * 1000


def decode_gaps(record: RequestRecord) -> list[float]:
    """Return the milliseconds between chunks; tokens that arrive in one chunk have no gap between them."""
    return [(later - earlier) * 1000 for earlier, later in pairwise(record.token_times)]


def ms_per_output_token(record: RequestRecord) -> float | None:
    """Return decode time per token, whatever number of tokens a chunk holds; None for answers of one token."""
    if record.completion_tokens < 2 or len(record.token_times) < 2:
        return None
    return (record.token_times[-1] - record.token_times[0]) * 1000 / (record.completion_tokens - 1)


def summarize(values: Sequence[float]) -> Statistics | None:
    """Return the statistics of a list; None when it is empty."""
    if not values:
        return None
    array = np.asarray(values)
    percentiles = {percent: float(np.percentile(array, percent)) for percent in PERCENTILES}
    return Statistics(float(np.average(array)), max(values), min(values), percentiles)


def merge_batches(sizes: Iterable[int]) -> list[int]:
    """Return one size for each batch: each of X requests reports the batch of X that it was part of, MindIE's rule."""
    merged: list[int] = []
    open_batches: dict[int, int] = {}
    for size in sizes:
        left = open_batches.get(size, 0)
        if left == 0:
            merged.append(size)
            left = size
        open_batches[size] = left - 1
    return merged


def _rows(records: Sequence[RequestRecord]) -> tuple[Row, ...]:
    gaps = [decode_gaps(record) for record in records]
    counted = all(record.counted for record in records)
    queue_waits = [wait for record in records for wait in record.queue_waits]

    def each(name: str, unit: str, of: Callable[[RequestRecord], float], *, known: bool = True) -> Row:
        return Row(name, unit, summarize([of(record) for record in records]) if known else None)

    return (
        each("FirstTokenTime", " ms", first_token_ms),
        Row("DecodeTime", " ms", summarize([gap for listed in gaps for gap in listed])),
        Row("LastDecodeTime", " ms", summarize([listed[-1] if listed else 0 for listed in gaps])),
        Row("MaxDecodeTime", " ms", summarize([max(listed) for listed in gaps if listed and max(listed) > 0])),
        each("GenerateTime", " ms", generate_ms),
        each("InputTokens", "", lambda record: record.prompt_tokens, known=counted),
        each("GeneratedTokens", "", lambda record: record.completion_tokens, known=counted),
        Row("GeneratedTokensSpeed", " token/s", summarize(_speeds(records)) if counted else None),
        each("GeneratedCharacters", "", lambda record: len(record.text)),
        Row("Tokenizer", " ms", None),
        Row("Detokenizer", " ms", None),
        Row("CharactersPerToken", "", _characters_per_token(records) if counted else None, is_ratio=True),
        Row("PrefillBatchsize", "", summarize(merge_batches(r.batch_sizes[0] for r in records if r.batch_sizes))),
        Row("DecoderBatchsize", "", summarize(merge_batches(s for r in records for s in r.batch_sizes[1:]))),
        Row("QueueWaitTime", " μs", summarize(queue_waits)),
    )


def _speeds(records: Sequence[RequestRecord]) -> list[float]:
    return [r.completion_tokens / (r.done - r.sent) for r in records if r.done > r.sent]


def _characters_per_token(records: Sequence[RequestRecord]) -> Statistics | None:
    tokens = sum(record.completion_tokens for record in records)
    if not tokens:
        return None
    ratio = sum(len(record.text) for record in records) / tokens
    return Statistics(ratio, ratio, ratio, {})
