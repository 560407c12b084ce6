"""Answers of the OpenAI protocol in vLLM's shapes: fields of its own are there, null where they do not apply."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ascend_runtime.serve.engine import Piece, TokenScore
from ascend_runtime.serve.openai_requests import Request
from ascend_runtime.serve.prompts import Prompts

Json = dict[str, Any]


@dataclass
class Sequel:
    """One sequence as far as it has come."""

    prompt_tokens: int
    text: str = ""
    scores: list[TokenScore] = field(default_factory=list)
    generated: int = 0
    finish: str | None = None
    stop_string: str | None = None

    def add(self, piece: Piece) -> None:
        """Take one more piece."""
        self.text += piece.text
        self.scores += piece.scores
        self.generated = piece.generated
        self.finish, self.stop_string = piece.finish, piece.stop_string


class Answer(Protocol):
    """How one route spells its answers."""

    def opening(self, index: int) -> Json | None:
        """Return the chunk before the first text, None where there is none."""

    def chunk(self, index: int, piece: Piece) -> Json:
        """Return the chunk of a piece."""

    def usage_chunk(self, sequels: Sequence[Sequel]) -> Json:
        """Return the chunk that only says the usage."""

    def whole(self, sequels: Sequence[Sequel]) -> Json:
        """Return the answer of a request without streaming."""


def usage(sequels: Sequence[Sequel]) -> Json:
    """Return how many tokens went in and came out."""
    prompt, generated = (sum(count) for count in zip(*((s.prompt_tokens, s.generated) for s in sequels), strict=True))
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + generated,
        "completion_tokens": generated,
        "prompt_tokens_details": None,
    }


def usage_of_chunk(sequels: Sequence[Sequel]) -> Json:
    """Return the same as it stands in streams."""
    found = usage(sequels)
    del found["prompt_tokens_details"]
    return found


def _signature(chunk: Json, fingerprint: str | None) -> Json:
    return chunk if fingerprint is None else {**chunk, "system_fingerprint": fingerprint}


class ChatAnswer:
    """Answers of /v1/chat/completions."""

    def __init__(self, asked: Request, prompts: Prompts, fingerprint: str | None) -> None:
        """Take what was asked for and what the server calls itself."""
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
        self._logprobs = asked.wanted[0].logprobs
        self._prompts = prompts
        self._fingerprint = fingerprint
        self._signed = not asked.include_usage

    def opening(self, index: int) -> Json | None:
        """Return the chunk that says who speaks."""
        choice = {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None}
        return {**self._chunk([{**choice, "finish_reason": None}]), "prompt_token_ids": None, "prompt_text": None}

    def chunk(self, index: int, piece: Piece) -> Json:
        """Return the chunk of a piece."""
        choice: Json = {"index": index, "delta": {"content": piece.text}, "logprobs": self._scores(piece.scores)}
        choice["finish_reason"] = piece.finish
        if piece.finish is not None:
            choice["stop_reason"] = piece.stop_string
        chunk = self._chunk([{**choice, "token_ids": None}])
        return _signature(chunk, self._fingerprint) if self._signed and piece.finish is not None else chunk

    def usage_chunk(self, sequels: Sequence[Sequel]) -> Json:
        """Return the last chunk of a stream that asked for it."""
        return _signature({**self._chunk([]), "usage": usage_of_chunk(sequels)}, self._fingerprint)

    def whole(self, sequels: Sequence[Sequel]) -> Json:
        """Return the answer of a request without streaming."""
        nothing = ("refusal", "annotations", "audio", "function_call")
        (sequel,) = sequels
        message = {"role": "assistant", "content": sequel.text, **dict.fromkeys(nothing)}
        choice = {
            "index": 0,
            "message": {**message, "tool_calls": [], "reasoning": None},
            "logprobs": self._scores(sequel.scores),
            "finish_reason": sequel.finish,
            "stop_reason": sequel.stop_string,
            "token_ids": None,
            "routed_experts": None,
        }
        extra = ("service_tier", "prompt_logprobs", "prompt_token_ids", "prompt_text", "kv_transfer_params")
        head = {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(sequels)}
        return {**head, **dict.fromkeys(extra), "system_fingerprint": self._fingerprint}

    def _chunk(self, choices: list[Json]) -> Json:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}

    def _scores(self, scores: Sequence[TokenScore]) -> Json | None:
        if self._logprobs is None:
            return None
        content = [
            {
                **_spelled(self._prompts, score),
                "top_logprobs": [_spelled(self._prompts, other) for other in score.others[: self._logprobs]],
            }
            for score in scores
        ]
        return {"content": content}


class TextAnswer:
    """Answers of /v1/completions."""

    def __init__(self, asked: Request, prompts: Prompts, fingerprint: str | None) -> None:
        """Take what was asked for and what the server calls itself."""
        self._head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time())}
        self._head["model"] = asked.model
        self._logprobs = asked.wanted[0].logprobs
        self._prompts = prompts
        self._fingerprint = fingerprint
        self._signed = not asked.include_usage
        self._offsets: dict[int, int] = {}
        self._echoed = {index: list(one.tokens) for index, one in enumerate(asked.wanted) if asked.echo}

    def opening(self, index: int) -> Json | None:
        """Return None: a completion begins with its text."""

    def chunk(self, index: int, piece: Piece) -> Json:
        """Return the chunk of a piece."""
        choice: Json = {"index": index, "text": piece.text, "logprobs": self._scores(index, piece.scores)}
        choice |= {"finish_reason": piece.finish, "stop_reason": piece.stop_string, "token_ids": None}
        chunk = {**self._head, "choices": [{**choice, "prompt_token_ids": self._echoed.pop(index, None)}]}
        return _signature(chunk, self._fingerprint) if self._signed and piece.finish is not None else chunk

    def usage_chunk(self, sequels: Sequence[Sequel]) -> Json:
        """Return the last chunk of a stream that asked for it."""
        return _signature({**self._head, "choices": [], "usage": usage_of_chunk(sequels)}, self._fingerprint)

    def whole(self, sequels: Sequence[Sequel]) -> Json:
        """Return the answer of a request without streaming."""
        choices = [
            {
                "index": index,
                "text": sequel.text,
                "logprobs": self._scores(index, sequel.scores),
                "finish_reason": sequel.finish,
                "stop_reason": sequel.stop_string,
                "token_ids": None,
                "prompt_logprobs": None,
                "prompt_token_ids": None,
                "routed_experts": None,
            }
            for index, sequel in enumerate(sequels)
        ]
        head = {**self._head, "choices": choices, "usage": usage(sequels)}
        return {**head, "service_tier": None, "system_fingerprint": self._fingerprint, "kv_transfer_params": None}

    def _scores(self, index: int, scores: Sequence[TokenScore]) -> Json | None:
        if self._logprobs is None:
            return None
        found: Json = {"text_offset": [], "token_logprobs": [], "tokens": [], "top_logprobs": []}
        for score in scores:
            place = self._offsets.get(index, 0)
            text = _text(self._prompts, score)
            self._offsets[index] = place + len(text)
            found["text_offset"].append(place)
            found["tokens"].append(text)
            found["token_logprobs"].append(score.logprob)
            found["top_logprobs"].append(_alternatives(self._prompts, score, self._logprobs))
        return found


def echoed(prompts: Prompts, tokens: Sequence[int], scores: Sequence[TokenScore]) -> Sequel:
    """Return a sequence that begins with its own prompt."""
    return Sequel(len(tokens), prompts.decode(tokens), list(scores))


def model_cards(names: Sequence[str], root: str, adapters: Mapping[str, str], length: int) -> Json:
    """Return the answer of /v1/models: the model by each of its names, then its adapters."""
    created = int(time.time())
    cards = [_card(name, root, None, length, created) for name in names]
    cards += [_card(name, folder, names[0], None, created) for name, folder in adapters.items()]
    return {"object": "list", "data": cards}


def _card(name: str, root: str, parent: str | None, length: int | None, created: int) -> Json:
    allowed = ("allow_sampling", "allow_logprobs", "allow_view")
    denied = ("allow_create_engine", "allow_search_indices", "allow_fine_tuning", "is_blocking")
    permission = {"id": f"modelperm-{uuid.uuid4().hex}", "object": "model_permission", "created": created}
    permission |= {**dict.fromkeys(allowed, True), **dict.fromkeys(denied, False), "organization": "*", "group": None}
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": length,
        "permission": [permission],
    }


def _spelled(prompts: Prompts, score: TokenScore) -> Json:
    return {"token": _text(prompts, score), "logprob": score.logprob, "bytes": list(score.raw)}


def _text(prompts: Prompts, score: TokenScore) -> str:
    """Return a token's text; special tokens have none in an answer, but a name."""
    return score.raw.decode(errors="replace") or prompts.spell(score.token)


def _alternatives(prompts: Prompts, score: TokenScore, count: int) -> dict[str, float | None] | None:
    """Return the likeliest tokens with the chosen one among them, as OpenAI's legacy completions do."""
    if score.logprob is None:
        return None
    chosen = {_text(prompts, other): other.logprob for other in score.others[:count]}
    own = _text(prompts, score)
    return chosen if own in chosen else {own: score.logprob, **chosen}
