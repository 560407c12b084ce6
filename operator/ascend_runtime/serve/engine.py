"""The engine: llama.cpp in a child process, spoken to over a Unix socket with tokens in and text and tokens out."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from ascend_runtime.serve.failures import CannotServe, ServeReason, model_invalid

_TAIL = 40
"""Lines of llama.cpp's log that are kept to say why it died."""
_OUT_OF_MEMORY = re.compile(r"bad_alloc|failed to allocate|cannot allocate memory|out of memory", re.IGNORECASE)
_COMPLAINT = re.compile(r"\bE (?P<words>.+)$|(?P<error>error.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class EngineSettings:
    """What the child is started with."""

    model: Path
    """A GGUF file."""
    adapters: tuple[Path, ...]
    sequences: int
    length: int
    threads: int


@dataclass(frozen=True)
class Generation:
    """One sequence to generate."""

    tokens: Sequence[int]
    """The prompt, at least one token."""
    limit: int
    """Most tokens to generate, at least 1."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Sampling in llama.cpp's words."""
    adapter: int | None = None
    """Index of the adapter to use; None: the model alone."""
    top_tokens: int = 0
    """So many alternatives of each token, with log-probabilities before sampling; 0: none."""
    in_pieces: bool = True
    """False: one piece at the end. llama.cpp names the tokens of half a character only then."""


@dataclass(frozen=True)
class TokenScore:
    """A token that was generated, or might have been."""

    token: int
    raw: bytes
    logprob: float | None
    """Natural logarithm; None for the first token of a prompt, which nothing precedes."""
    others: tuple[TokenScore, ...] = ()
    """The most likely tokens in its place, the likeliest first."""


@dataclass(frozen=True)
class Piece:
    """What came at one time."""

    text: str
    tokens: tuple[int, ...]
    scores: tuple[TokenScore, ...] = ()
    generated: int = 0
    """Tokens of the answer so far; those whose text is held back (half a character, half a stop string) included."""
    finish: str | None = None
    """stop or length; set on the last piece alone."""
    stop_string: str | None = None
    cached_tokens: int = 0
    """On the last piece: tokens of the prompt that did not have to be computed."""
    prefill: float = 0.0
    """On the last piece: seconds that the engine computed until the first token."""
    decode: float = 0.0
    """On the last piece: seconds that it computed for the others."""

    def after(self, other: Piece | None) -> Piece:
        """Return this piece with one in front of it that was held back."""
        if other is None:
            return self
        tokens, scores = other.tokens + self.tokens, other.scores + self.scores
        return replace(self, text=other.text + self.text, tokens=tokens, scores=scores)


class EngineDied(Exception):
    """llama.cpp's process is gone or does not speak its protocol."""


class EngineRefused(Exception):
    """llama.cpp cannot do what a request asks for; the request is at fault."""


class Engine:
    """A running llama.cpp; use as an asynchronous context manager."""

    def __init__(self, settings: EngineSettings) -> None:
        """Only take the settings; entering the context starts the child."""
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="ascend-serve-"))
        self._tail: collections.deque[str] = collections.deque(maxlen=_TAIL)
        self._child: asyncio.subprocess.Process
        self._session: aiohttp.ClientSession
        self._echo: asyncio.Task[None]

    @property
    def sequences(self) -> int:
        """Return how many sequences are computed at the same time."""
        return self._settings.sequences

    @property
    def is_alive(self) -> bool:
        """Return whether the child runs."""
        return self._child.returncode is None

    async def __aenter__(self) -> Self:
        """Start llama.cpp and wait until it listens; raises CannotServe with its own last words when it does not."""
        try:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ascend_runtime.serve.engine_process",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                limit=1 << 20,  # bytes of the longest log line
                start_new_session=True,  # a Ctrl-C is for the facade, which first lets requests end
            )  # fmt: skip
            self._echo = asyncio.create_task(self._read_log())
            await self._load()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        # A new connection each time, which a local socket affords: llama.cpp now and then drops one kept alive.
        connector = aiohttp.UnixConnector(path=str(self._socket), force_close=True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child and remove its socket."""
        await self._session.close()
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        await self._child.wait()
        await self._echo
        shutil.rmtree(self._folder, ignore_errors=True)

    async def died(self) -> CannotServe:
        """Return, once the child is gone, why."""
        await self._child.wait()
        await self._echo
        return self._why_it_died()

    async def generate(self, wanted: Generation) -> AsyncIterator[Piece]:
        """Yield the answer piece by piece; closing the iterator cancels the computation.

        Raises EngineRefused and EngineDied.
        """
        body = _body(wanted, len(self._settings.adapters))
        try:
            async with self._session.post("http://engine/completion", json=body) as response:
                if response.status != 200:
                    raise await _refusal(response)
                if not wanted.in_pieces:
                    yield _piece(await response.json())
                    return
                async for document in _events(response):
                    yield _piece(document)
        except aiohttp.ClientError as error:
            raise EngineDied(f"the engine broke the connection: {error}") from error

    @property
    def _socket(self) -> Path:
        return self._folder / "engine.sock"

    async def _load(self) -> None:
        settings = self._settings
        document = {
            "model": str(settings.model),
            "adapters": [str(path) for path in settings.adapters],
            "socket": str(self._socket),
            "sequences": settings.sequences,
            "length": settings.length,
            "threads": settings.threads,
        }
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(document).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self._child.stdin.drain()
        if not await self._child.stdout.readline():
            raise await self.died()

    async def _read_log(self) -> None:
        """Keep the last lines, so that the pipe never fills and a death can be explained."""
        assert self._child.stderr is not None
        async for line in self._child.stderr:
            self._tail.append(line.decode(errors="replace").rstrip())

    def _why_it_died(self) -> CannotServe:
        code = self._child.returncode or 0
        words = "\n".join(self._tail)
        last = _last_complaint(self._tail)
        if code == -signal.SIGKILL or _OUT_OF_MEMORY.search(words):
            sentence = f"llama.cpp was ended for memory ({last}); raise the memory limit or lower the length"
            return CannotServe(ServeReason.OUT_OF_MEMORY, "spec.runtime.resources.memory", sentence)
        if "failed to load model" in words or "Failed to init server" in words:
            return model_invalid(f"llama.cpp cannot load the model: {last}")
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        return CannotServe(ServeReason.ENGINE_DIED, "", f"llama.cpp ended with {how}: {last}")


def _last_complaint(lines: Sequence[str]) -> str:
    """Return the first error of the last lines: those after it are its consequences."""
    for line in lines:
        match = _COMPLAINT.search(line)
        if match is not None:
            return (match["words"] or match["error"]).strip()
    return lines[-1] if lines else "it said nothing"


def _body(wanted: Generation, adapters: int) -> dict[str, Any]:
    body = {"prompt": list(wanted.tokens), "n_predict": wanted.limit, "return_tokens": True}
    body["stream"] = wanted.in_pieces
    # All of them, those not in use with 0: given fewer, llama.cpp reuses what it cached of a prompt under another one.
    body["lora"] = [{"id": n, "scale": float(n == wanted.adapter)} for n in range(adapters)]
    if wanted.top_tokens:
        body["n_probs"] = wanted.top_tokens
    return {**body, **wanted.options}


async def _refusal(response: aiohttp.ClientResponse) -> Exception:
    text = await response.text()
    try:
        words = str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        words = f"the engine answered {response.status}"
    return EngineRefused(words) if 400 <= response.status < 500 else EngineDied(words)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON documents of a server-sent event stream; raises EngineDied when it ends too early."""
    last = False
    buffer = b""
    async for chunk in response.content.iter_any():
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"error:"):
                raise EngineDied(line.decode(errors="replace"))
            if line.startswith(b"data: {"):
                document = json.loads(line[6:])
                if "error" in document:
                    raise EngineDied(str(document["error"].get("message", document["error"])))
                last = document["stop"]
                yield document
    if not last:
        raise EngineDied("the engine ended in the middle of an answer")


def _piece(document: Mapping[str, Any]) -> Piece:
    scores = tuple(_score(entry) for entry in document.get("completion_probabilities", ()))
    if not document["stop"]:
        return Piece(document["content"], tuple(document["tokens"]), scores, int(document["tokens_predicted"]))
    word = document.get("stopping_word") or None
    timings = document.get("timings", {})
    return Piece(
        text=document["content"],
        tokens=tuple(document["tokens"]),
        scores=scores,
        generated=int(document["tokens_predicted"]),
        finish="length" if document["stop_type"] == "limit" else "stop",
        stop_string=word,
        cached_tokens=int(timings.get("cache_n", 0)),
        prefill=timings.get("prompt_ms", 0.0) / 1000,
        decode=timings.get("predicted_ms", 0.0) / 1000,
    )


def _score(entry: Mapping[str, Any]) -> TokenScore:
    others = tuple(_score(other) for other in entry.get("top_logprobs", ()))
    return TokenScore(entry["id"], bytes(entry["bytes"]), max(float(entry["logprob"]), -9999.0), others)
