"""Requests of the OpenAI protocol, as vLLM reads them -> what to generate and how to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ascend_runtime.serve.body import BadRequest, Body, Malformed, refused
from ascend_runtime.serve.core import Core, Wanted
from ascend_runtime.serve.prompts import NoPrompt
from ascend_runtime.serve.sampling import sampling_options

_MAX_LOGPROBS = 20
"""vLLM's --max-logprobs, as it is unless set."""
_MOST_PROMPTS = 1024
"""Of one request to /v1/completions."""
_DEFAULT_TOKENS = 16
"""Length of an answer of /v1/completions unless the request names one (so answers vLLM 0.23)."""


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
    limit = _limit(body.integer("max_completion_tokens", body.integer("max_tokens", None)), 1)
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
    asked = _limit(body.integer("max_tokens", _DEFAULT_TOKENS), 0 if echo else 1)
    logprobs = body.integer("logprobs", None)
    if logprobs is not None and logprobs < 0:
        raise _at_field("`logprobs` must be a positive value.", "logprobs")
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
    if not isinstance(messages, list):
        raise Malformed("messages must be a list of messages")
    if not messages:
        raise BadRequest("Cannot apply chat template to an empty conversation. Provide at least one message.")
    plain = [_message(index, message) for index, message in enumerate(messages)]
    answer = body.flag("add_generation_prompt", default=True)
    try:
        text = core.prompts.render(plain, answer=answer, extra=body.part("chat_template_kwargs").document)
    except NoPrompt as error:
        raise BadRequest(str(error)) from error
    return core.prompts.encode(text, special=body.flag("add_special_tokens"))


def answer_limit(core: Core, prompt: int, asked: int | None) -> int:
    """Return how many tokens an answer may have; raises BadRequest when prompt or answer are too long."""
    if prompt == 0:
        raise BadRequest("The decoder prompt cannot be empty")
    if asked is not None and asked > core.length:
        text = f"max_tokens={asked} cannot be greater than max_model_len=max_total_tokens={core.length}."
        raise refused(f"{text} Please request fewer output tokens.", "max_tokens", asked)
    room = core.length - prompt
    if prompt > min(core.length - 1, core.settings.max_input or core.length) or (asked or 0) > room:
        raise refused(
            f"This model's maximum context length is {core.length} tokens. However, you requested {asked or 0} output "
            f"tokens and your prompt contains {prompt} input tokens, for a total of {prompt + (asked or 0)} tokens. "
            "Please reduce the length of the input prompt or the number of requested output tokens.",
            "input_tokens",
            prompt,
        )
    most = min(room, core.settings.max_output or room)
    return most if asked is None else min(asked, most)


def _message(index: int, message: object) -> dict[str, Any]:
    field = f"messages[{index}]"
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise Malformed(f"{field} must be an object with a role")
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(_part_text(field, part) for part in content)
    if content is not None and not isinstance(content, str):
        raise Malformed(f"{field}.content must be a string or a list of text parts")
    return {**message, "content": content or ""}


def _part_text(field: str, part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise BadRequest(f"{field}: this model reads text parts only")


def _prompts(core: Core, body: Body) -> list[Sequence[int]]:
    """Return the tokens of each prompt: a text, tokens, or a list of either."""
    prompt = body.document.get("prompt")
    special = body.flag("add_special_tokens", default=True)
    if prompt is None or prompt == "":
        raise _at_field("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if isinstance(prompt, str):
        return [core.prompts.encode(prompt, special=special)]
    if prompt == []:
        raise BadRequest("You must pass at least one prompt")
    if not isinstance(prompt, list):
        raise Malformed("prompt must be a string, tokens, or a list of them")
    if all(isinstance(entry, int) for entry in prompt):
        return [check_tokens(core, prompt)]
    if len(prompt) > _MOST_PROMPTS:
        raise Malformed(f"prompt may be a list of {_MOST_PROMPTS} prompts at most")
    if all(isinstance(entry, str) for entry in prompt):
        return [core.prompts.encode(entry, special=special) for entry in prompt]
    return [check_tokens(core, entry) for entry in prompt]


def check_tokens(core: Core, tokens: object) -> list[int]:
    """Return a list of token ids that the model has; raises BadRequest."""
    found = read_tokens(tokens)
    if found and max(found) >= core.prompts.vocabulary:
        raise BadRequest(f"Token id {max(found)} is out of vocabulary")
    return found


def read_tokens(tokens: object) -> list[int]:
    """Return a list of numbers that may be token ids; raises Malformed."""
    if isinstance(tokens, list) and all(type(token) is int and token >= 0 for token in tokens):
        return tokens
    raise Malformed("tokens must be a list of integers of 0 or more")


def _chat_logprobs(body: Body) -> int | None:
    top = body.integer("top_logprobs", None)
    if top is not None and top < 0:  # vLLM takes -1 for all and then refuses, as they are more than 20
        raise _at_field("`top_logprobs` must be a positive value or -1.", "top_logprobs")
    if top and not body.flag("logprobs"):
        raise _at_field("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    _check_logprobs(top)
    return (top or 0) if body.flag("logprobs") else None


def _check_logprobs(count: int | None) -> None:
    if count is not None and count > _MAX_LOGPROBS:
        text = f"Requested sample logprobs of {count}, which is greater than max allowed: {_MAX_LOGPROBS}"
        raise refused(text, "logprobs", count)


def _limit(asked: int | None, low: int) -> int | None:
    if asked is not None and asked < low:
        raise refused(f"max_tokens must be at least 1, got {asked}.", "max_tokens", asked)
    return asked


def _at_field(message: str, name: str) -> Malformed:
    """Return the error for a value that vLLM checks as it reads the body: malformed, but with the field's name."""
    return Malformed(f"{message} (parameter={name})", name)


def _request(core: Core, body: Body, wanted: tuple[Wanted, ...], *, echo: bool = False) -> Request:
    stream = body.flag("stream")
    options = body.part("stream_options")
    if not stream and "stream_options" in body:
        raise _at_field("Stream options can only be defined when `stream=True`.", "stream_options")
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
