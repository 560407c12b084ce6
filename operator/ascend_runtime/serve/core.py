"""What both engines' facades stand on: a model that is loaded, the queue before it, and what is measured of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ascend_runtime.serve.body import BadRequest
from ascend_runtime.serve.engine import Engine, Generation, Piece, TokenScore
from ascend_runtime.serve.prompts import Prompts
from ascend_runtime.serve.settings import ModelSettings

_FORCED = 1e5
"""Bias in logits that makes a token certain; log-probabilities are those before biases."""


@dataclass(frozen=True)
class Wanted:
    """One sequence that a request asks for, in tokens."""

    tokens: Sequence[int]
    limit: int
    options: Mapping[str, Any]
    adapter: int | None = None
    logprobs: int | None = None
    """So many alternatives of each token; None: no log-probabilities at all."""
    in_pieces: bool = True
    """False where nobody waits for pieces and every token counts."""


@dataclass
class Record:
    """What is known of one request when it ends; seconds."""

    prompt_tokens: int
    generated: int = 0
    cached_tokens: int = 0
    queue: float = 0.0
    prefill: float = 0.0
    """From leaving the queue to the first token."""
    decode: float = 0.0
    """From the first token to the last."""
    whole: float = 0.0
    finish: str = "abort"
    """stop, length, abort (the client went away) or error."""


class Recorder(Protocol):
    """Where measurements go: each engine has its own names for them."""

    def received(self) -> None:
        """Note that a request came."""

    def first_token(self, seconds: float) -> None:
        """Note the time from a request's arrival to its first token."""

    def later_tokens(self, count: int, seconds: float) -> None:
        """Note that `count` tokens came `seconds` after the one before."""

    def done(self, record: Record) -> None:
        """Note that a request ended, however it did."""


@dataclass
class Load:
    """What goes on now."""

    running: int = 0
    waiting: int = 0
    tokens: int = 0
    """In the KV cache of running requests."""


@dataclass
class Core:
    """A loaded model and what is asked of it."""

    settings: ModelSettings
    engine: Engine
    prompts: Prompts
    length: int
    """Longest prompt and answer together in tokens."""
    defaults: Mapping[str, float]
    """Sampling of requests that name none."""
    recorder: Recorder
    load: Load = field(default_factory=Load)
    draining: bool = False
    """True once no new requests are taken."""

    def __post_init__(self) -> None:
        """Open as many places as the engine computes sequences, and begin to count seeds."""
        self._places = asyncio.Semaphore(self.engine.sequences)
        self._seeds = itertools.count(self.settings.seed or 0)

    @property
    def is_busy(self) -> bool:
        """Return whether every place is taken."""
        return self.load.running >= self.engine.sequences

    @property
    def capacity(self) -> int:
        """Return the KV cache's size in tokens."""
        return self.engine.sequences * self.length

    def next_seed(self) -> int | None:
        """Return the seed of a request that names none, None when it is to be random."""
        return None if self.settings.seed is None else next(self._seeds)

    def adapter_of(self, model: str | None) -> int | None:
        """Return which adapter a model name selects, None for the model alone; raises BadRequest (404)."""
        if model is None or model in self.settings.names:
            return None
        for index, adapter in enumerate(self.settings.adapters):
            if adapter.name == model:
                return index
        raise BadRequest(f"The model `{model}` does not exist.", "model", 404)

    async def generate(self, wanted: Wanted) -> AsyncIterator[Piece]:
        """Yield an answer piece by piece once a place is free; closing the iterator cancels it. Raises EngineDied."""
        record = Record(len(wanted.tokens))
        arrived = time.monotonic()
        self.recorder.received()
        try:
            async with self._place():
                record.queue = time.monotonic() - arrived
                async for piece in self._measured(wanted, record, arrived):
                    yield piece
        except (GeneratorExit, asyncio.CancelledError):
            raise
        except Exception:
            record.finish = "error"
            raise
        finally:
            record.whole = time.monotonic() - arrived
            self.recorder.done(record)

    async def _measured(self, wanted: Wanted, record: Record, arrived: float) -> AsyncIterator[Piece]:
        started = last = time.monotonic()
        first: float | None = None
        held = len(wanted.tokens)
        self.load.tokens += held
        stream = self.engine.generate(_generation(wanted))
        try:
            async for piece in stream:
                now = time.monotonic()
                fresh = piece.generated - record.generated
                self.load.tokens, held = self.load.tokens + fresh, held + fresh
                record.generated += fresh
                if not wanted.in_pieces:
                    self._measure_whole(record, piece)
                elif first is None and fresh > 0:
                    first, record.prefill = now, now - started
                    self.recorder.first_token(now - arrived)
                elif fresh > 0:
                    self.recorder.later_tokens(fresh, now - last)
                    record.decode = now - (first or now)
                last = now if fresh > 0 else last
                if piece.finish is not None:
                    record.finish, record.cached_tokens = piece.finish, piece.cached_tokens
                yield piece
        finally:
            self.load.tokens -= held
            await stream.aclose()  # type: ignore[attr-defined]

    def _measure_whole(self, record: Record, piece: Piece) -> None:
        """Take the engine's own times where the tokens were not seen one by one."""
        record.prefill, record.decode = piece.prefill, piece.decode
        self.recorder.first_token(record.queue + piece.prefill)
        if record.generated > 1:
            self.recorder.later_tokens(record.generated - 1, piece.decode)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait for one of the engine's places, first come first served."""
        self.load.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.load.waiting -= 1
        self.load.running += 1
        try:
            yield
        finally:
            self.load.running -= 1
            self._places.release()

    async def probe(self) -> bool:
        """Return whether the engine generates a token; not counted, but in the queue like a request."""
        async with self._place():
            stream = self.engine.generate(Generation((0,), 1, {"temperature": 0, "cache_prompt": False}))
            return [piece async for piece in stream][-1].generated == 1

    async def score_prompt(self, wanted: Wanted) -> list[TokenScore]:
        """Return the log-probability of each token of a prompt; raises EngineDied.

        llama.cpp scores what it generates, so each token is generated from those before it, made certain by a bias.
        Costs a step a token: they are in the KV cache already, save the last one.
        """
        first = wanted.tokens[0]
        scores = [TokenScore(first, self.prompts.spell(first).encode(), None)]
        async with self._place():
            for end in range(1, len(wanted.tokens)):
                options = {**wanted.options, "logit_bias": [[wanted.tokens[end], _FORCED]], "temperature": 0}
                step = replace(wanted, tokens=wanted.tokens[:end], limit=1, options=options)
                pieces = [piece async for piece in self.engine.generate(_generation(step))]
                scores += [score for piece in pieces for score in piece.scores][:1]
        return scores


def _generation(wanted: Wanted) -> Generation:
    top = 0 if wanted.logprobs is None else max(1, wanted.logprobs)
    return Generation(wanted.tokens, wanted.limit, wanted.options, wanted.adapter, top, wanted.in_pieces)
