"""What a server of the OpenAI protocol sent, made sense of: events of a stream with their times, or one JSON answer.

The input is hostile: any field may be missing or of another type. What is no answer raises BadAnswer with a sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Arrivals = list[tuple[float, bytes]]
"""Pieces of a body in order, each with the time it arrived (seconds of time.perf_counter())."""

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_THOUGHTS = ("reasoning_content", "reasoning")
"""Where chunks of chat carry what a model thinks: MindIE, llama.cpp and vLLM know the first, newer vLLM the second."""
_LONGEST_SENTENCE = 300
_STEP = 32
"""Events read in one step: some 0.2 ms."""


class BadAnswer(Exception):
    """What came is no answer; the text says why."""


@dataclass(frozen=True)
class Answer:
    """The content of an answer; counts are None where the server does not give them."""

    text: str = ""
    token_times: tuple[float, ...] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    top_logprobs: tuple[dict[str, float], ...] = ()
    batch_sizes: tuple[int, ...] = ()
    queue_waits: tuple[float, ...] = ()


def stream_steps(arrivals: Arrivals, *, whole: bool = True) -> Generator[None, None, Answer]:
    """Read a stream of events, in steps; raises BadAnswer for an error inside it, no JSON, or when it has no end.

    With `whole=False` a missing end is no error: it reads what came of a stream that is known to have been cut.
    """
    stream = _Stream()
    for number, (when, payload) in enumerate(events(arrivals), start=1):
        if stream.add(when, payload):
            break
        if number % _STEP == 0:
            yield
    if whole and not stream.ended:
        raise BadAnswer("the stream ended without [DONE] and without a finish_reason")
    return stream.answer()


def read_answer(arrivals: Arrivals) -> Answer:
    """Read an answer that came whole; its only token time is that of the last byte. Raises BadAnswer."""
    stream, when = _Stream(), arrivals[-1][0]
    document = _parse(b"".join(data for _, data in arrivals))
    choice = _first_choice(document)
    if choice is None:
        raise BadAnswer(f"the answer has no choices: {_cut(json.dumps(document))}")
    message = choice.get("message")
    stream.texts.append(_text_of(message) if isinstance(message, dict) else _as_text(choice.get("text")))
    stream.token_times.append(when)
    stream.add_logprobs(choice)
    stream.add_usage(document.get("usage"))
    return stream.answer()


def read_error(body: bytes) -> str:
    """Return what the body of an error says, in one short line."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _cut(" ".join(body.decode(errors="replace").split()) or "no reason given")
    return _error_text(document) or _cut(json.dumps(document, ensure_ascii=False))


def events(arrivals: Arrivals) -> Iterator[tuple[float, bytes]]:
    """Yield the data of each event with the arrival of the piece that completed it.

    Several events in one piece have one time: that is when the client could know of them.
    """
    whole = b"".join(data for _, data in arrivals)
    pieces = iter(arrivals)
    when, reached, start = 0.0, 0, 0
    for blank in _BLANK_LINE.finditer(whole):
        while reached < blank.end():
            when, data = next(pieces)
            reached += len(data)
        yield from _data_of(whole[start : blank.start()], when)
        start = blank.end()
    if arrivals:
        yield from _data_of(whole[start:], arrivals[-1][0])


def _data_of(event: bytes, when: float) -> Iterator[tuple[float, bytes]]:
    """Yield an event's data; comments and other fields carry nothing here (HTML standard, 9.2)."""
    if event.startswith(b"data:") and b"\n" not in event:
        yield when, event[5:].strip()
        return
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    if lines:
        yield when, b"\n".join(lines)


@dataclass
class _Stream:
    """What has been read of a stream so far."""

    texts: list[str] = field(default_factory=list)
    token_times: list[float] = field(default_factory=list)
    top_logprobs: list[dict[str, float]] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    ended: bool = False

    def add(self, when: float, payload: bytes) -> bool:
        """Read one event; return whether it says that the stream is over."""
        if payload == b"[DONE]":
            self.ended = True
            return True
        chunk = _parse(payload)
        if "error" in chunk:
            raise BadAnswer(f"the server broke off: {_error_text(chunk) or 'it gives no reason'}")
        self.add_usage(chunk.get("usage"))
        choice = _first_choice(chunk)
        if choice is not None:
            self._add_choice(when, choice)
        return False

    def _add_choice(self, when: float, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        text = _text_of(delta) if isinstance(delta, dict) else _as_text(choice.get("text"))
        finished = isinstance(choice.get("finish_reason"), str)
        if text or self._is_silent_token(choice, finished=finished):
            self.token_times.append(when)
            self.texts.append(text)
            self.add_logprobs(choice)
        self.ended = self.ended or finished

    def _is_silent_token(self, choice: dict[str, Any], *, finished: bool) -> bool:
        """Return whether a chunk without text stands for a token.

        It does in the middle of an answer: tokens that are part of a character have no text of their own yet. At its
        beginning it announces the role. The last one only says why the answer ended, unless nothing came before it:
        then the one token generated was the end token.
        """
        if finished:
            return not self.token_times
        delta = choice.get("delta", choice)
        has_text = isinstance(delta, dict) and isinstance(delta.get("content", delta.get("text")), str)
        return has_text and (bool(self.token_times) or "role" not in delta)

    def add_usage(self, usage: object) -> None:
        """Keep what the server counts; later counts replace earlier ones."""
        if isinstance(usage, dict):
            self.usage.update(usage)

    def add_logprobs(self, choice: dict[str, Any]) -> None:
        """Keep the likeliest tokens: `content[].top_logprobs[]` in chat, `top_logprobs[]` in completions."""
        given = choice.get("logprobs")
        if not isinstance(given, dict):
            return
        for place in _as_list(given.get("content")):
            listed = _as_list(place.get("top_logprobs")) if isinstance(place, dict) else []
            self.top_logprobs.append(
                _numbers({e.get("token"): e.get("logprob") for e in listed if isinstance(e, dict)})
            )
        for place in _as_list(given.get("top_logprobs")):
            self.top_logprobs.append(_numbers(place) if isinstance(place, dict) else {})

    def answer(self) -> Answer:
        """Return all that was read."""
        return Answer(
            text="".join(self.texts),
            token_times=tuple(self.token_times),
            prompt_tokens=_as_count(self.usage.get("prompt_tokens")),
            completion_tokens=_as_count(self.usage.get("completion_tokens")),
            top_logprobs=tuple(self.top_logprobs),
            batch_sizes=tuple(n for n in map(_as_count, _as_list(self.usage.get("batch_size"))) if n),
            queue_waits=tuple(
                float(n) for n in map(_as_count, _as_list(self.usage.get("queue_wait_time"))) if n is not None
            ),
        )


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        document = json.loads(payload.decode())
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"what came is no JSON: {_cut(payload.decode(errors='replace'))}") from error
    if not isinstance(document, dict):
        raise BadAnswer(f"what came is no JSON object: {_cut(payload.decode(errors='replace'))}")
    return document


def _first_choice(document: dict[str, Any]) -> dict[str, Any] | None:
    choices = document.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _text_of(message: dict[str, Any]) -> str:
    thought = next((_as_text(message[key]) for key in _THOUGHTS if message.get(key)), "")
    return thought + _as_text(message.get("content"))


def _error_text(document: object) -> str:
    """Return the sentence of an error: `{"error": {"message"}}`, `{"error": "…"}` or `{"message"}`."""
    if not isinstance(document, dict):
        return ""
    error = document.get("error", document)
    said = error.get("message", "") if isinstance(error, dict) else error
    return _cut(said) if isinstance(said, str) else ""


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _as_list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _as_count(value: object) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if whole and isinstance(value, int) else None


def _numbers(pairs: dict[Any, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in pairs.items()
        if isinstance(key, str) and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SENTENCE else f"{text[:_LONGEST_SENTENCE]}…"
