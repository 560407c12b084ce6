"""A server of the OpenAI protocol that streams at known times and keeps a log of when it really sent what.

It is the ground truth for the client's measurements: perf_counter() is one clock for all processes of a machine, so
what the client saw can be compared with what was sent, chunk by chunk, however busy the machine is.

A request's model name says how it is answered: `timed?first=0.2&gap=0.05&tokens=20`. Parameters, all optional:
    first    seconds from the request to the first token (0.05)
    gap      seconds between chunks (0.02)
    tokens   tokens of the answer (10; never more than max_tokens)
    chunk    tokens in each chunk (1)
    slots    answers under way at once; more wait in a queue (no limit)
    lockstep 1: all answers' chunks go out at the same ticks of `gap`, as an engine with continuous batching sends them;
             the first one at the first tick after `first`
    fail     error, drop, cut, silent, broken, garbage, endless, plain (see _Answer.begin and _Answer._send_chunk)
    every    only each n-th request of this name fails (1)
    extras   1: batch sizes and queue times as MindIE gives them in `usage`

The answer's first word is the request's number in the log; GET /log returns it, and forgets it.
Usage: python server.py [--port 0] [--core N]; prints the port.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "operator"))

from ascend_runtime.evaluate.client_socket import TimedSocket

clock = time.perf_counter
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Entry:
    """What happened to one request; times of perf_counter()."""

    number: int
    model: str
    received: float
    """When its last bytes reached the kernel."""
    sent: list[float] = field(default_factory=list)
    """Just before each chunk of text was handed to the kernel."""
    done: float = 0.0
    """Just before the last bytes were."""


@dataclass(frozen=True)
class Script:
    """How a request is answered."""

    first: float = 0.05
    gap: float = 0.02
    tokens: int = 10
    chunk: int = 1
    slots: int = 0
    lockstep: int = 0
    fail: str = ""
    every: int = 1
    extras: int = 0

    @classmethod
    def of(cls, model: str) -> Script:
        """Read a model name."""
        given = dict(parse_qsl(model.partition("?")[2]))
        kinds = {name: type(value) for name, value in asdict(cls()).items()}
        return cls(**{name: kinds[name](value) for name, value in given.items()})


class Bench:
    """What all connections share: the log, counters, queues, the common tick."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.numbers = 0
        self.asked: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.waiting: dict[str, deque[Answer]] = {}
        self.steps: dict[float, list[Answer]] = {}

    def start(self, answer: Answer) -> None:
        """Start an answer, or queue it where all slots are taken."""
        model, slots = answer.entry.model, answer.script.slots
        if slots and self.running[model] >= slots:
            self.waiting.setdefault(model, deque()).append(answer)
            return
        self.running[model] += 1
        answer.begin()

    def finished(self, answer: Answer) -> None:
        """Give the slot to the next in the queue."""
        model = answer.entry.model
        self.running[model] -= 1
        queue = self.waiting.get(model)
        if queue:
            self.running[model] += 1
            queue.popleft().begin()

    def join(self, answer: Answer) -> None:
        """Send this answer's chunks at the common ticks."""
        gap = answer.script.gap
        if gap not in self.steps:
            self.steps[gap] = []
            self._plan(gap, asyncio.get_running_loop().time() + gap)
        self.steps[gap].append(answer)

    def _plan(self, gap: float, due: float) -> None:
        asyncio.get_running_loop().call_at(due, self._step, gap, due)

    def _step(self, gap: float, due: float) -> None:
        self.steps[gap] = [answer for answer in self.steps[gap] if answer.send_next()]
        if self.steps[gap]:
            self._plan(gap, due + gap)
        else:
            del self.steps[gap]


class Answer:
    """One answer under way."""

    def __init__(
        self, bench: Bench, connection: Connection, body: dict[str, Any], script: Script, entry: Entry
    ) -> None:
        self.bench, self.connection, self.script, self.entry = bench, connection, script, entry
        self.chat = "messages" in body
        self.stream = bool(body.get("stream"))
        self.with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self.logprobs = body.get("top_logprobs") if self.chat else body.get("logprobs")
        self.tokens = min(script.tokens, int(body.get("max_tokens") or script.tokens))
        self.prompt_tokens = len(str(body.get("messages") or body.get("prompt")).split())
        self.left = self.tokens
        self.loop = asyncio.get_running_loop()
        self.due = 0.0
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        self.frame = (
            f'{{"id":"{entry.number}","object":"{kind}","created":1764000000,"model":"timed","choices":'
            '[{"index":0,%s,"logprobs":%s,"finish_reason":%s}]}'
        )

    def begin(self) -> None:
        """Answer a failing request at once; plan the first token of others."""
        fail = self.script.fail
        if fail == "error":
            self.connection.reply(503, {"error": {"message": "no capacity left", "code": 503}})
        elif fail == "drop":
            self.connection.transport.abort()
        elif fail == "silent":
            return
        elif fail == "garbage":
            self.connection.write(_HEAD + _framed(b"data: {no json\n\n") + b"0\r\n\r\n")
        elif fail == "plain":
            self.connection.reply(200, {"choices": []})
        else:
            self.due = self.loop.time() + self.script.first
            self.loop.call_at(self.due, self._first)
            return
        self.bench.finished(self)

    def _first(self) -> None:
        if not self.stream:
            self._send_whole()
            return
        self.connection.write(_HEAD)
        if self.chat:
            self.connection.write(_framed(self._event('"delta":{"role":"assistant","content":""}')))
        if self.script.lockstep:
            self.bench.join(self)
        elif self.send_next():
            self._plan()

    def _plan(self) -> None:
        self.due += self.script.gap
        self.loop.call_at(self.due, self._later)

    def _later(self) -> None:
        if self.send_next():
            self._plan()

    def send_next(self) -> bool:
        """Send a chunk; return whether there are more to come."""
        if self.connection.transport.is_closing():
            self._end()
            return False
        if self.script.fail and self.left <= self.tokens // 2:
            self._fail()
            return False
        many = min(self.script.chunk, self.left)
        self.left -= many
        text = " ".join(self._word(self.tokens - self.left - many + place) for place in range(many)) + " "
        part = f'"delta":{{"content":"{text}"}}' if self.chat else f'"text":"{text}"'
        payload = _framed(self._event(part, logprobs=self._logprobs(many), finish="null" if self.left else '"length"'))
        self.entry.sent.append(clock())
        self.connection.write(payload)
        if self.left == 0:
            self._finish()
        return self.left > 0

    def _fail(self) -> None:
        fail = self.script.fail
        if fail == "broken":
            self.connection.write(_framed(b'data: {"error":{"message":"out of memory"}}\n\n') + b"0\r\n\r\n")
        elif fail == "endless":
            self.connection.write(b"0\r\n\r\n")
        else:
            self.connection.transport.close()
        self._end()

    def _finish(self) -> None:
        usage = f'data: {{"id":"0","choices":[],"usage":{json.dumps(self._usage())}}}\n\n' if self.with_usage else ""
        self.entry.done = clock()
        self.connection.write(_framed(f"{usage}data: [DONE]\n\n".encode()) + b"0\r\n\r\n")
        self._end()

    def _send_whole(self) -> None:
        text = " ".join(self._word(place) for place in range(self.tokens))
        content = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        given = json.loads(self._logprobs(self.tokens))
        choice = {"index": 0, **content, "logprobs": given, "finish_reason": "length"}
        self.entry.sent.append(clock())
        self.entry.done = self.entry.sent[0]
        self.connection.reply(200, {"object": "chat.completion", "choices": [choice], "usage": self._usage()})
        self._end()

    def _end(self) -> None:
        self.bench.finished(self)

    def _word(self, place: int) -> str:
        return str(self.entry.number) if place == 0 else "word"

    def _event(self, part: str, *, logprobs: str = "null", finish: str = "null") -> bytes:
        return f"data: {self.frame % (part, logprobs, finish)}\n\n".encode()

    def _logprobs(self, many: int) -> str:
        if not self.logprobs:
            return "null"
        likely = {"A": -0.25, "B": -1.5}
        if not self.chat:
            return json.dumps({"tokens": ["A"] * many, "top_logprobs": [likely] * many})
        listed = [{"token": token, "logprob": value, "bytes": [65]} for token, value in likely.items()]
        return json.dumps({"content": [{"token": "A", "logprob": -0.25, "top_logprobs": listed}] * many})

    def _usage(self) -> dict[str, Any]:
        counts = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens}
        counts["total_tokens"] = self.prompt_tokens + self.tokens
        extras = {"batch_size": [1] * self.tokens, "queue_wait_time": [5000 + self.entry.number, 11]}
        return {**counts, **extras} if self.script.extras else counts


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as the tests need it: requests with Content-Length, kept alive."""

    transport: asyncio.Transport

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def write(self, data: bytes) -> None:
        """Send bytes now; what the kernel does not take is kept by the transport."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def reply(self, status: int, document: object) -> None:
        """Send a whole answer."""
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        """Take requests out of the buffer."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            length = int(headers.get(b"content-length", b"0"))
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.request(head.split(b" ", 2)[1].decode(), headers, rest[:length])

    def request(self, path: str, headers: dict[bytes, bytes], body: bytes) -> None:
        """Answer one request."""
        timed = SOCKETS.get(self.transport.get_extra_info("socket").fileno())
        received = clock() if timed is None else timed.arrived
        if path == "/log":
            self.reply(200, [asdict(entry) for entry in self.bench.log])
            self.bench.log.clear()
        elif path.startswith("/v1/models"):
            self.reply(200, {"data": [{"id": "timed"}]})
        elif path.startswith("/v1/") and body:
            self.ask(headers, json.loads(body), received)
        else:
            self.reply(404, {"error": f"no route {path}"})

    def ask(self, headers: dict[bytes, bytes], body: dict[str, Any], received: float) -> None:
        """Answer a question as its model name says."""
        bench, model = self.bench, str(body["model"])
        if model.startswith("secret") and headers.get(b"authorization") != b"bearer open sesame":
            self.reply(401, {"error": {"message": "the key is wrong"}})
            return
        script = Script.of(model)
        bench.asked[model] += 1
        if script.fail and (bench.asked[model] - 1) % script.every:
            script = Script(**{**asdict(script), "fail": ""})
        entry = Entry(bench.numbers, model, received)
        bench.numbers += 1
        bench.log.append(entry)
        bench.start(Answer(bench, self, body, script, entry))


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Listening(socket.socket):
    """A listening socket whose connections are timed."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        plain, address = super().accept()
        timed = TimedSocket(plain.family, plain.type, plain.proto, plain.detach())
        SOCKETS[timed.fileno()] = timed
        return timed, address


SOCKETS: WeakValueDictionary[int, TimedSocket] = WeakValueDictionary()


async def serve(port: int) -> None:
    """Serve until standard input ends, so that no server outlives its test."""
    bench, loop = Bench(), asyncio.get_running_loop()
    # asyncio turns Nagle's algorithm off only where the protocol is named.
    listening = Listening(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    server = await loop.create_server(lambda: Connection(bench), sock=listening, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    gone = asyncio.Event()
    loop.add_reader(sys.stdin, gone.set)
    await gone.wait()


def main() -> None:
    """Read arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--core", type=int, help="CPU to run on, alone")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()
