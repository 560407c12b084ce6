"""A streaming client of the OpenAI protocol: one request in, one frozen record out, and never an exception.

While an answer streams in, the client only keeps the bytes with the time at which the kernel got them
(client_socket.py); they are read as events and JSON after the last one (client_events.py). So neither what one stream
costs nor a busy machine moves what is measured on the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from ascend_runtime.evaluate.client_events import Answer, Arrivals, BadAnswer, read_answer, read_error, stream_steps
from ascend_runtime.evaluate.client_socket import TimedConnector, TimedSocket, timed_socket

_LONGEST_ANSWER = 64 << 20
"""Bytes of one answer, events included; more is no answer to a question of ours but a server gone mad."""
_CONNECT_SECONDS = 30.0
_END_SECONDS = 1.0
"""How long after `[DONE]` the end of the response may take; then the connection is given up, the answer is whole."""
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
"""aiohttp's own total would set and clear a timer at each read; one timer around the whole request does."""


@dataclass(frozen=True)
class Target:
    """A served model."""

    url: str
    """Base address, with or without `/v1` at its end."""
    model: str
    """The name under which the server knows the model."""
    api_key: str | None = field(default=None, repr=False)
    engine: str = ""
    """Engine of the service as its spec says (vllm-ascend, mindie, cpu, custom); only for reports."""

    def address(self, route: str) -> str:
        """Return the address of a route of the protocol, such as `chat/completions`."""
        base = self.url.rstrip("/")
        return f"{base}/{route}" if base.endswith("/v1") else f"{base}/v1/{route}"


@dataclass(frozen=True)
class Prompt:
    """What to ask: messages for chat, or plain text for completions; exactly one of them."""

    messages: tuple[dict[str, Any], ...] | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless exactly one form is given."""
        if (self.messages is None) == (self.text is None):
            raise ValueError("a prompt is either messages or text")


@dataclass(frozen=True)
class RequestRecord:
    """What became of one request; times are seconds of time.perf_counter()."""

    ok: bool
    """Whether a whole answer came. What is false here is counted, and never averaged in."""
    error: str
    """Why there is no whole answer, in words; empty when there is one."""
    text: str
    """The answer, or what came of it; what a model thought before it comes first, as MindIE's benchmark reads it."""
    sent: float
    """When the request was handed to the kernel; with a retry, the first time, so that a drop costs what it cost."""
    token_times: tuple[float, ...]
    """When each chunk with generated text arrived. A chunk may hold several tokens; see completion_tokens."""
    done: float
    """When the last byte arrived, or when the request failed."""
    prompt_tokens: int
    completion_tokens: int
    """As the server counts them (`usage`); where it does not, 0 and the number of chunks, and counted is False."""
    top_logprobs: tuple[dict[str, float], ...] = ()
    """For each generated token, the likeliest tokens and their log probabilities; empty where none came."""
    retries: int = 0
    """1 when the first connection was dropped before a byte came back."""
    counted: bool = False
    """Whether the server said how many tokens there were."""
    batch_sizes: tuple[int, ...] = ()
    """Batch size of the prefill, then of each decode step, where the server says so (MindIE)."""
    queue_waits: tuple[float, ...] = ()
    """Microseconds in the server's queue, as the server says (MindIE)."""


@dataclass
class Exchange:
    """One request and the bytes that came back, not looked at yet."""

    sent: float
    is_stream: bool
    arrivals: Arrivals = field(default_factory=list)
    retries: int = 0
    error: str = ""
    """Why it failed, as far as that is known without a look at the bytes."""
    ended: float = 0.0


class _Failed(Exception):
    """The request has no whole answer; the text says why."""


def open_session(ca_file: Path | None = None) -> aiohttp.ClientSession:
    """Return a session that holds any number of connections; to be closed by the caller, made inside the loop.

    aiohttp's own default of 100 connections would make request 101 wait in the client. Proxies of the environment are
    not used and cookies not kept, so that requests do not stick to one replica. `ca_file` is trusted in place of the
    system's authorities; raises OSError or ssl.SSLError if it cannot be read.
    """
    trusted = ssl.create_default_context(cafile=ca_file) if ca_file else True
    connector = TimedConnector(limit=0, ssl=trusted, ttl_dns_cache=60)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=_NO_TIMEOUT)


async def complete(
    session: aiohttp.ClientSession,
    target: Target,
    prompt: Prompt,
    *,
    max_tokens: int,
    stop: Sequence[str] = (),
    logprobs: int | None = None,
    stream: bool = True,
    timeout: float = 600.0,  # noqa: ASYNC109 - part of what the record says, not only a limit
) -> RequestRecord:
    """Ask once, greedily (temperature 0), and return what came of it; only cancellation is raised.

    `timeout` is in seconds, for the whole request. `logprobs` is how many likeliest tokens to ask for at each place.
    A connection that drops before the first byte is tried once more: llama.cpp's server now and then closes a
    connection it had kept alive, and that says nothing about the model.
    """
    return read(
        await fetch(
            session,
            target,
            prompt,
            max_tokens=max_tokens,
            stop=stop,
            logprobs=logprobs,
            stream=stream,
            timeout=timeout,
        )
    )


async def fetch(
    session: aiohttp.ClientSession,
    target: Target,
    prompt: Prompt,
    *,
    max_tokens: int,
    stop: Sequence[str] = (),
    logprobs: int | None = None,
    stream: bool = True,
    timeout: float = 600.0,  # noqa: ASYNC109 - as above
) -> Exchange:
    """Do what `complete` does up to the last byte; `read` and `read_steps` make a record of it."""
    body = body_of(target, prompt, max_tokens, stop, logprobs, stream=stream)
    exchange = Exchange(time.perf_counter(), is_stream=stream)
    try:
        async with asyncio.timeout(timeout):
            await _Request(target, prompt, body, stream).run(session, exchange)
    except TimeoutError:
        exchange.error = f"no whole answer within {timeout:g} s"
    except _Failed as error:
        exchange.error = str(error)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        exchange.error = f"{type(error).__name__}: {error}"
    exchange.ended = exchange.arrivals[-1][0] if not exchange.error else time.perf_counter()
    return exchange


def read(exchange: Exchange) -> RequestRecord:
    """Make a record of what came."""
    steps = read_steps(exchange)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            record: RequestRecord = end.value
            return record


def read_steps(exchange: Exchange) -> Generator[None, None, RequestRecord]:
    """Make a record in steps of a fraction of a millisecond, so that other streams can be served between them."""
    error, answer, whole = exchange.error, Answer(), not exchange.error
    try:
        if exchange.is_stream:
            answer = yield from stream_steps(exchange.arrivals, whole=whole)
        elif whole:
            answer = read_answer(exchange.arrivals)
    except BadAnswer as bad:
        error = error or str(bad)
    return _record(exchange, answer, error)


def body_of(
    target: Target, prompt: Prompt, max_tokens: int, stop: Sequence[str], logprobs: int | None, *, stream: bool
) -> bytes:
    """Return the JSON body of a request."""
    body: dict[str, Any] = {"model": target.model, "max_tokens": max_tokens, "temperature": 0, "stream": stream}
    if prompt.messages is not None:
        body["messages"] = prompt.messages
    else:
        body["prompt"] = prompt.text
    if stop:
        body["stop"] = list(stop)
    if stream:
        body["stream_options"] = {"include_usage": True}
    if logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": logprobs} if prompt.messages is not None else {"logprobs": logprobs}
    return json.dumps(body, ensure_ascii=False).encode()


@dataclass(frozen=True)
class _Request:
    target: Target
    prompt: Prompt
    body: bytes
    stream: bool

    async def run(self, session: aiohttp.ClientSession, exchange: Exchange) -> None:
        """Send, and keep what comes; raises what `fetch` puts into words."""
        response = await self._send(session, exchange)
        async with response:
            if response.status != 200:
                raise _Failed(f"HTTP {response.status}: {read_error(await response.content.read(4096))}")
            if self.stream and "json" in response.content_type:
                raise _Failed(f"the server did not stream: it answered with {response.content_type}")
            source = timed_socket(session, response)
            if source is not None and not exchange.retries:
                exchange.sent = max(exchange.sent, source.sent)
            await _read(response, source, exchange.arrivals)
        if not exchange.arrivals:
            raise _Failed("the answer is empty")

    async def _send(self, session: aiohttp.ClientSession, exchange: Exchange) -> aiohttp.ClientResponse:
        try:
            return await self._post(session)
        except aiohttp.ServerTimeoutError as error:
            raise _Failed(f"cannot connect within {_CONNECT_SECONDS:g} s") from error
        except aiohttp.ClientConnectorError as error:
            reason = _reason(error.os_error)
            raise _Failed(f"cannot connect to {error.host}:{error.port}: {reason}") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            pass  # dropped before the first byte: once more
        exchange.retries = 1
        try:
            return await self._post(session)
        except aiohttp.ServerDisconnectedError as error:
            raise _Failed("the server closed the connection before it answered, twice") from error

    async def _post(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        route = "completions" if self.prompt.messages is None else "chat/completions"
        return await session.post(
            self.target.address(route), data=self.body, headers=_headers(self.target), timeout=_NO_TIMEOUT
        )


def _reason(error: OSError) -> str:
    """Return a system's error in words; what asyncio writes into a failed connection repeats the address instead."""
    is_plain = error.errno is not None and not isinstance(error, ssl.SSLError | socket.gaierror)
    return os.strerror(error.errno) if is_plain and error.errno else str(error)


def _headers(target: Target) -> Mapping[str, str]:
    # A compressed stream arrives when the compressor's buffer is full, not when a token is there.
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    return headers | {"Authorization": f"Bearer {target.api_key}"} if target.api_key else headers


async def _read(response: aiohttp.ClientResponse, source: TimedSocket | None, arrivals: Arrivals) -> None:
    """Keep what arrives with its time, until the end; raises _Failed when it is cut or without end.

    The loop wakes this coroutine before it reads from the socket again, so the socket's time is that of these bytes.
    """
    size, clock, read_any, keep = 0, time.perf_counter, response.content.readany, arrivals.append
    try:
        while data := await read_any():
            keep((source.arrived if source is not None else clock(), data))
            size += len(data)
            if size > _LONGEST_ANSWER:
                raise _Failed(f"the answer is longer than {_LONGEST_ANSWER} bytes")
            if b"[DONE]" in data[-16:]:
                await _read_end(response, read_any)
                return
    except (aiohttp.ClientError, OSError) as error:
        raise _Failed(f"the connection broke after {size} bytes of the answer") from error


async def _read_end(response: aiohttp.ClientResponse, read_any: Callable[[], Any]) -> None:
    """Read to the end, so that the connection can be used again; a server that leaves it open loses it."""
    try:
        async with asyncio.timeout(_END_SECONDS):
            while await read_any():
                pass
    except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
        response.close()


def _record(exchange: Exchange, answer: Answer, error: str) -> RequestRecord:
    return RequestRecord(
        ok=not error,
        error=error,
        text=answer.text,
        sent=exchange.sent,
        token_times=answer.token_times,
        done=exchange.ended,
        prompt_tokens=answer.prompt_tokens or 0,
        completion_tokens=len(answer.token_times) if answer.completion_tokens is None else answer.completion_tokens,
        top_logprobs=answer.top_logprobs,
        retries=exchange.retries,
        counted=answer.completion_tokens is not None,
        batch_sizes=answer.batch_sizes,
        queue_waits=answer.queue_waits,
    )
