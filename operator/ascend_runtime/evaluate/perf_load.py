"""Make load: closed loops of N clients, and open loops whose requests come whether earlier ones are answered or not."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from ascend_runtime.evaluate.client import Exchange, Prompt, RequestRecord, Target, fetch, read_steps
from ascend_runtime.evaluate.perf_point import Arrivals, Load

SEED = 42
_LOST_AFTER = 30
"""Failures before the first answer after which a point is given up, or three for each client if that is more."""
_OPEN_SECONDS = 10.0


@dataclass
class Source:
    """Prompts without end, in order and from the start again; one cursor for all points.

    So each point asks what the one before did not, as long as there are prompts, and finds no answer that a server's
    prefix cache remembers from it; and two targets are asked the same.
    """

    prompts: Sequence[Prompt]
    taken: int = 0

    def take(self) -> Prompt:
        """Return the next prompt."""
        prompt = self.prompts[self.taken % len(self.prompts)]
        self.taken += 1
        return prompt


@dataclass(frozen=True)
class Asker:
    """Who is asked, and how."""

    session: aiohttp.ClientSession
    target: Target
    source: Source
    max_tokens: int
    timeout: float = 600.0

    async def ask(self) -> Exchange:
        """Ask the next prompt."""
        prompt = self.source.take()
        return await fetch(self.session, self.target, prompt, max_tokens=self.max_tokens, timeout=self.timeout)

    async def open_connections(self, number: int) -> None:
        """Open connections before they are needed, so that handshakes are in no first-token time."""
        address, headers = self.target.address("models"), {"Authorization": f"Bearer {self.target.api_key}"}

        async def open_one() -> None:
            with suppress(aiohttp.ClientError, OSError):
                async with asyncio.timeout(_OPEN_SECONDS):
                    async with self.session.get(address, headers=headers if self.target.api_key else None) as answer:
                        await answer.read()

        await asyncio.gather(*(open_one() for _ in range(number)))


@dataclass
class Made:
    """What was made of one load."""

    records: list[RequestRecord] = field(default_factory=list)
    send_delays: list[float] = field(default_factory=list)
    given_up: bool = False


@dataclass
class _Reader:
    """Makes records of what came, beside the load: a step at a time, and sockets are served between steps."""

    made: Made
    patience: int
    """Records without any answer after which the target counts as lost."""
    report: Callable[[], None]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by clients that begin a request; they come before records."""
    exchanges: asyncio.Queue[Exchange | None] = field(default_factory=asyncio.Queue)

    async def run(self) -> None:
        """Read until told that nothing more comes."""
        is_answering = False
        while (exchange := await self.exchanges.get()) is not None:
            record = await self._read(exchange)
            self.made.records.append(record)
            is_answering = is_answering or record.ok
            self.made.given_up = not is_answering and len(self.made.records) >= self.patience
            self.report()

    async def _read(self, exchange: Exchange) -> RequestRecord:
        steps = read_steps(exchange)
        while True:
            await asyncio.sleep(0)
            while self.turn.locked():  # noqa: ASYNC110 - a client holds it for one round of the loop
                await asyncio.sleep(0)
            try:
                next(steps)
            except StopIteration as end:
                record: RequestRecord = end.value
                return record


async def closed_loop(asker: Asker, clients: int, requests: int, report: Callable[[], None]) -> Made:
    """Let `clients` ask one after the other until `requests` are made; `report` is called for each."""
    reader, left = _Reader(Made(), max(_LOST_AFTER, 3 * clients), report), iter(range(requests))

    async def client() -> None:
        for _ in left:
            await _take_turn(reader.turn)
            reader.exchanges.put_nowait(await asker.ask())
            if reader.made.given_up:
                return

    async with asyncio.TaskGroup() as all_tasks:
        reading = all_tasks.create_task(reader.run())
        async with asyncio.TaskGroup() as group:
            for _ in range(min(clients, requests)):
                group.create_task(client())
        reader.exchanges.put_nowait(None)
        await reading
    return reader.made


async def open_loop(asker: Asker, load: Load, requests: int, report: Callable[[], None]) -> Made:
    """Send requests at their times, however many are under way; `report` is called for each."""
    reader, begin = _Reader(Made(), _LOST_AFTER, report), time.perf_counter()

    async def one(due: float) -> None:
        exchange = await asker.ask()
        reader.made.send_delays.append(exchange.sent - due)
        reader.exchanges.put_nowait(exchange)

    async with asyncio.TaskGroup() as all_tasks:
        reading = all_tasks.create_task(reader.run())
        async with asyncio.TaskGroup() as group:
            for offset in itertools.islice(send_times(load), requests):
                await asyncio.sleep(max(0.0, begin + offset - time.perf_counter()))
                if reader.made.given_up:
                    break
                group.create_task(one(begin + offset))
        reader.exchanges.put_nowait(None)
        await reading
    return reader.made


async def _take_turn(turn: asyncio.Lock) -> None:
    """Let one client begin in each round of the loop: hundreds that begin at once would hold up what is under way."""
    async with turn:
        await asyncio.sleep(0)


def send_times(load: Load, seed: int = SEED) -> Iterator[float]:
    """Yield when to send, in seconds from the begin, without end; the same for the same load and seed."""
    rate, chance = load.rate or 1.0, random.Random(seed)
    if load.arrivals is Arrivals.CONSTANT:
        yield from (number / rate for number in itertools.count())
    yield from itertools.accumulate((chance.expovariate(rate) for _ in itertools.count()), initial=0.0)
