"""Requests of the OpenAI protocol, as vLLM reads them -> what to generate and how to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ascend_runtime.serve.body import BadRequest, Body
from ascend_runtime.serve.core import Core, Wanted
from ascend_runtime.serve.prompts import NoPrompt
from ascend_runtime.serve.sampling import sampling_options

_MAX_LOGPROBS = 20
"""vLLM's --max-logprobs, as it is unless set."""
_MOST_PROMPTS = 1024
"""Of one request to /v1/completions."""
_DEFAULT_TOKENS = 16
"""Length of an answer of /v1/completions unless the request names one (OpenAI API reference)."""


@dataclass(frozen=True)
class Request:
    """One request: a sequence for each of its prompts."""

    model: str
    """The name under which it asked."""
    wanted: tuple[Wanted, ...]
    stream: bool
    include_usage: bool
    continuous_usage: bool
    echo: bool = False


def read_chat(core: Core, document: Mapping[str, Any]) -> Request:
    """Read a request to /v1/chat/completions; raises BadRequest."""
    body = Body(document)
    adapter = core.adapter_of(body.text("model"))
    tokens = chat_tokens(core, body)
    limit = body.integer("max_completion_tokens", body.integer("max_tokens", None, 1), 1)
    wanted = Wanted(
        tokens,
        answer_limit(core, len(tokens), limit),
        sampling(core, body),
        adapter,
        _chat_logprobs(body),
    )
    return _request(core, body, (wanted,))


def read_completion(core: Core, document: Mapping[str, Any]) -> Request:
    """Read a request to /v1/completions; raises BadRequest."""
    body = Body(document)
    adapter = core.adapter_of(body.text("model"))
    echo = body.flag("echo")
    asked = body.integer("max_tokens", _DEFAULT_TOKENS, 0 if echo else 1)
    logprobs = body.integer("logprobs", None, 0)
    _check_logprobs(logprobs)
    options = sampling(core, body)
    wanted = tuple(
        Wanted(tokens, 0 if asked == 0 else answer_limit(core, len(tokens), asked), options, adapter, logprobs)
        for tokens in _prompts(core, body)
    )
    for one in wanted:
        answer_limit(core, len(one.tokens), None)
    return _request(core, body, wanted, echo=echo)


def sampling(core: Core, body: Body) -> dict[str, Any]:
    """Return llama.cpp's options for a request; raises BadRequest."""
    options = sampling_options(body, core.defaults, core.next_seed)
    return {**options, "cache_prompt": core.settings.prefix_caching, "repeat_last_n": core.length}


def chat_tokens(core: Core, body: Body) -> list[int]:
    """Return a conversation's tokens; raises BadRequest."""
    messages = body.document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list with at least one message", "messages")
    plain = [_message(index, message) for index, message in enumerate(messages)]
    answer = body.flag("add_generation_prompt", default=True)
    try:
        text = core.prompts.render(plain, answer=answer, extra=body.part("chat_template_kwargs").document)
    except NoPrompt as error:
        raise BadRequest(str(error), "messages") from error
    return core.prompts.encode(text, special=body.flag("add_special_tokens"))


def answer_limit(core: Core, prompt: int, asked: int | None) -> int:
    """Return how many tokens an answer may have; raises BadRequest when prompt or answer are too long."""
    longest = min(core.length - 1, core.settings.max_input or core.length)
    if prompt == 0:
        raise BadRequest("the prompt is empty", "prompt")
    if prompt > longest:
        raise BadRequest(
            f"This model's maximum context length is {core.length} tokens. However, your request has {prompt} input "
            "tokens. Please reduce the length of the input messages.",
            "input_tokens",
        )
    room = core.length - prompt
    most = min(room, core.settings.max_output or room)
    if asked is not None and asked > room:
        raise BadRequest(
            f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum context length is "
            f"{core.length} tokens and your request has {prompt} input tokens ({asked} > {core.length} - {prompt}).",
            "max_tokens",
        )
    return most if asked is None else min(asked, most)


def _message(index: int, message: object) -> dict[str, Any]:
    field = f"messages[{index}]"
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadRequest(f"{field} must be an object with a role", "messages")
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(_part_text(field, part) for part in content)
    if content is not None and not isinstance(content, str):
        raise BadRequest(f"{field}.content must be a string or a list of text parts", "messages")
    return {**message, "content": content or ""}


def _part_text(field: str, part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise BadRequest(f"{field}: this model reads text parts only", "messages")


def _prompts(core: Core, body: Body) -> list[Sequence[int]]:
    """Return the tokens of each prompt: a text, tokens, or a list of either."""
    prompt = body.document.get("prompt")
    special = body.flag("add_special_tokens", default=True)
    if isinstance(prompt, str):
        return [core.prompts.encode(prompt, special=special)]
    if not isinstance(prompt, list) or not 1 <= len(prompt) <= _MOST_PROMPTS:
        raise BadRequest(f"prompt must be a string, tokens, or a list of 1 to {_MOST_PROMPTS} of them", "prompt")
    if all(isinstance(entry, str) for entry in prompt):
        return [core.prompts.encode(entry, special=special) for entry in prompt]
    return [check_tokens(core, entry) for entry in (prompt if isinstance(prompt[0], list) else [prompt])]


def check_tokens(core: Core, tokens: object) -> list[int]:
    """Return a list of token ids; raises BadRequest."""
    if isinstance(tokens, list) and all(isinstance(t, int) and 0 <= t < core.prompts.vocabulary for t in tokens):
        return tokens
    raise BadRequest(f"tokens must be a list of integers from 0 to {core.prompts.vocabulary - 1}", "prompt")


def _chat_logprobs(body: Body) -> int | None:
    top = body.integer("top_logprobs", None, 0)
    _check_logprobs(top)
    if body.flag("logprobs"):
        return top or 0
    if top:
        raise BadRequest("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    return None


def _check_logprobs(count: int | None) -> None:
    if count is not None and count > _MAX_LOGPROBS:
        text = f"Requested sample logprobs of {count}, which is greater than max allowed: {_MAX_LOGPROBS}"
        raise BadRequest(text, "logprobs")


def _request(core: Core, body: Body, wanted: tuple[Wanted, ...], *, echo: bool = False) -> Request:
    stream = body.flag("stream")
    options = body.part("stream_options")
    if not stream and "stream_options" in body:
        raise BadRequest("Stream options can only be defined when `stream=True`.", "stream_options")
    if not stream:  # then the scores of every token can be had
        wanted = tuple(replace(one, in_pieces=one.logprobs is None) for one in wanted)
    return Request(
        model=body.text("model") or core.settings.names[0],
        wanted=wanted,
        stream=stream,
        include_usage=options.flag("include_usage"),
        continuous_usage=options.flag("include_usage") and options.flag("continuous_usage_stats"),
        echo=echo,
    )
