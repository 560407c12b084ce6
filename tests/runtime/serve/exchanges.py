"""Requests to vLLM's server, what came back of them, and what differs between two such answers.

The requests are asked of a real vLLM once (hack/check_vllm.py --record) and of the CPU engine in every test run. Both
serve the same model (models.write_served) greedily in float32, so not only shapes are compared but words, counts and
log-probabilities, too.
"""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
_CHAT, _TEXT = "/v1/chat/completions", "/v1/completions"
_TALK = [{"role": "user", "content": "Where is the red pod?"}]
_CHATS: Json = {"model": "faq", "messages": _TALK, "max_tokens": 8, "temperature": 0}
_TEXTS: Json = {"model": "faq", "prompt": "The red pod", "max_tokens": 8, "temperature": 0}
_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
_EACH = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
_SYSTEM = [{"role": "system", "content": "Say where."}, *_TALK]
_PARTS = [{"role": "user", "content": [{"type": "text", "text": "Where is"}, {"type": "text", "text": "the pod?"}]}]
_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes"]}}}


def _chat(**changes: object) -> tuple[str, Json]:
    return _CHAT, {**_CHATS, **changes}


def _text(**changes: object) -> tuple[str, Json]:
    return _TEXT, {**_TEXTS, **changes}


def _without(name: str, asked: tuple[str, Json]) -> tuple[str, Json]:
    return asked[0], {key: value for key, value in asked[1].items() if key != name}


REQUESTS: Mapping[str, tuple[str, Json | str | None]] = {
    "models": ("/v1/models", None),
    "health": ("/health", None),
    "ping": ("/ping", None),
    "version": ("/version", None),
    "load": ("/load", None),
    "chat": _chat(),
    "chat of an adapter": _chat(model="tuned"),
    "chat without a model": _without("model", _chat()),
    "chat with system": _chat(messages=_SYSTEM),
    "chat in parts": _chat(messages=_PARTS),
    "chat, newer limit": _without("max_tokens", _chat(max_completion_tokens=3)),
    "chat, stop string": _chat(max_tokens=30, stop=["8 p", "never said"]),
    "chat, log-probabilities": _chat(logprobs=True, top_logprobs=2),
    "chat, log-probabilities alone": _chat(logprobs=True),
    "chat, end of turn": _chat(max_tokens=30, logit_bias={"0": 30}),
    "chat, schema": _chat(max_tokens=20, response_format=_SCHEMA),
    "chat stream": _chat(stream=True),
    "chat stream, usage": _chat(**_USAGE),
    "chat stream, usage each": _chat(max_tokens=3, **_EACH),
    "chat stream, log-probabilities": _chat(max_tokens=3, logprobs=True, top_logprobs=1, **_USAGE),
    "chat stream, end of turn": _chat(logit_bias={"0": 30}, **_USAGE),
    "chat stream, stop string": _chat(max_tokens=30, stop="8 p", **_USAGE),
    "text": _text(),
    "text of an adapter": _text(model="tuned"),
    "text, default limit": _without("max_tokens", _text()),
    "text of tokens": _text(prompt=[10, 20, 30]),
    "text of several": _text(prompt=["The red pod", "Where is the node", "The red pod"], max_tokens=4),
    "text of several tokens": _text(prompt=[[10, 20, 30], [40, 50]], max_tokens=2),
    "text, log-probabilities": _text(logprobs=2),
    "text, log-probabilities 0": _text(logprobs=0, max_tokens=2),
    "text, stop string": _text(max_tokens=30, stop="w"),
    "text, end": _text(logit_bias={"0": 30}),
    "text, echo": _text(echo=True, max_tokens=2),
    "text, echo scored": _text(echo=True, max_tokens=0, logprobs=1),
    "text, echo and one token scored": _text(echo=True, max_tokens=1, logprobs=1),
    "text stream": _text(stream=True),
    "text stream, usage": _text(**_USAGE),
    "text stream, usage each": _text(max_tokens=3, **_EACH),
    "text stream, log-probabilities": _text(max_tokens=3, logprobs=1, **_USAGE),
    "text stream, echo": _text(max_tokens=2, echo=True, stream=True),
    "text stream of several": _text(prompt=["The red pod", "Where is the node"], max_tokens=2, **_USAGE),
    "text stream, end": _text(logit_bias={"0": 30}, **_USAGE),
    "tokenize": ("/tokenize", {"model": "faq", "prompt": "The red pod"}),
    "tokenize, spelled": ("/tokenize", {"model": "faq", "prompt": "The red pod", "return_token_strs": True}),
    "tokenize a chat": ("/tokenize", {"model": "faq", "messages": _TALK}),
    "tokenize nothing": ("/tokenize", {"model": "faq"}),
    "detokenize": ("/detokenize", {"model": "faq", "tokens": [40, 41, 0, 42]}),
    "detokenize a wrong token": ("/detokenize", {"model": "faq", "tokens": [4000000]}),
    "seed": _text(seed=11, max_tokens=2),
    "penalties": _text(presence_penalty=1, frequency_penalty=0.5, repetition_penalty=1.3),
    "cuts": _text(top_k=3, top_p=0.9, min_p=0.1),
    "end ignored": _text(logit_bias={"0": 30}, ignore_eos=True, max_tokens=3),
    "role of no model": _chat(messages=[{"role": "wizard", "content": "hi"}], max_tokens=2),
    "field that nobody knows": _text(nonsense=1, max_tokens=2),
    "unknown route": ("/v1/nothing", None),
    "wrong method": (_TEXT, None),
    "no body": (_CHAT, ""),
    "no JSON": (_CHAT, "{"),
    "no object": (_CHAT, "[]"),
    "unknown model": _text(model="other"),
    "unknown model of a chat": _chat(model="other"),
    "no messages": _chat(messages=[]),
    "messages left out": _without("messages", _chat()),
    "messages that are none": _chat(messages="hi"),
    "message without role": _chat(messages=[{"content": "hi"}]),
    "content that is a number": _chat(messages=[{"role": "user", "content": 7}]),
    "temperature below 0": _chat(temperature=-1),
    "temperature above 2": _chat(temperature=3, max_tokens=1, logit_bias={"40": 100}),
    "temperature in words": _chat(temperature="hot"),
    "top_p 0": _chat(top_p=0),
    "top_p above 1": _chat(top_p=1.5),
    "top_k below -1": _chat(top_k=-2),
    "min_p above 1": _chat(min_p=2),
    "presence_penalty 3": _chat(presence_penalty=3),
    "no tokens asked for": _chat(max_tokens=0),
    "no tokens of a text": _text(max_tokens=0),
    "more tokens than fit": _chat(max_tokens=9000),
    "more tokens of a text than fit": _text(max_tokens=9000),
    "prompt too long": _text(prompt="pod " * 9000),
    "chat too long": _chat(messages=[{"role": "user", "content": "pod " * 9000}]),
    "empty prompt": _text(prompt=""),
    "empty list": _text(prompt=[]),
    "empty tokens": _text(prompt=[[1], []]),
    "prompt left out": _without("prompt", _text()),
    "prompt that is a number": _text(prompt=7),
    "negative token": _text(prompt=[1, -1]),
    "token beyond the vocabulary": _text(prompt=[1, 4000000]),
    "too many log-probabilities": _text(logprobs=21),
    "too many log-probabilities of a chat": _chat(logprobs=True, top_logprobs=21),
    "alternatives without log-probabilities": _chat(top_logprobs=2),
    "stream options without stream": _chat(stream_options={"include_usage": True}),
    "unknown response format": _chat(response_format={"type": "xml"}),
    "no answers": _chat(n=0),
    "log-probabilities below 0": _text(logprobs=-1),
    "alternatives below -1": _chat(logprobs=True, top_logprobs=-2),
    "frequency_penalty -3": _text(frequency_penalty=-3),
    "repetition_penalty 0": _text(repetition_penalty=0),
    "seed in words": _text(seed="x"),
    "stop that is a number": _text(stop=7),
    "empty stop": _text(stop=""),
    "limit of half a token": _text(max_tokens=2.5),
    "limit and prompt beyond the length": _text(prompt=[10] * 8190),
    "full prompt": _text(prompt=[10] * 8192, max_tokens=1),
    "model that is a number": _text(model=7),
    "empty prompt among others": _text(prompt=["a", ""]),
    "unknown model to tokenize": ("/tokenize", {"model": "other", "prompt": "x"}),
    "negative token to detokenize": ("/detokenize", {"model": "faq", "tokens": [-1]}),
    "nothing to detokenize": ("/detokenize", {"model": "faq"}),
    "schema left out": _chat(response_format={"type": "json_schema"}),
    "refused stream": _chat(stream=True, messages=[]),
    "stream of too many tokens": _chat(stream=True, max_tokens=9000),
}
"""What is asked: a name, the path, and the body to POST (a text: sent as it is); None: a GET."""
KEYED = ("models", "chat", "text", "tokenize", "health", "version")
"""What is asked without a key of a server that wants one."""
_PLACES = (
    (re.compile(r"^(chatcmpl|cmpl|modelperm)-[0-9a-z-]+$"), r"\1-<id>"),
    (re.compile(r"^vllm-[0-9.]+-[0-9a-f]+$"), "vllm-<version>-<id>"),
    (re.compile(r"^/\S*/(model|adapter)$"), r"<\1>"),
)
_LOGPROB = 0.02
"""Difference of two log-probabilities that is none: the engines add in another order."""


def ask(url: str, path: str, body: Json | str | None) -> Json:
    """Return status, media type and what came back without ids and times: `answer`, of a stream `events`."""
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            found = {"status": response.status, "type": response.headers.get("Content-Type")}
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        found = {"status": error.code, "type": error.headers.get("Content-Type")}
        text = error.read().decode()
    if not text:  # then the media type says nothing
        return {"status": found["status"]}
    if text.startswith("data: "):
        return {**found, "events": [_event(line) for line in text.removesuffix("\n\n").split("\n\n")]}
    return {**found, "answer": normalised(json.loads(text))}


def _event(line: str) -> Any:
    data = line.removeprefix("data: ")
    return data if data == "[DONE]" else normalised(json.loads(data))


def normalised(value: Any, name: str = "") -> Any:
    """Return an answer without what is another each time: ids, times, folders, and pydantic's words."""
    if isinstance(value, dict) and value.get("type") == "Bad Request":
        return {**value, "message": "<text>"}
    if isinstance(value, dict):
        return {key: normalised(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [normalised(entry) for entry in value]
    if name == "created":
        return "<time>"
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, str) and name in ("id", "system_fingerprint", "root"):
        for pattern, place in _PLACES:
            value = pattern.sub(place, value)
    return value


def differences(wanted: Any, found: Any, path: str = "$") -> list[str]:
    """Return what differs between two exchanges, by path. Streams may be cut into other pieces."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        lines = [f"{path}.{key} is missing" for key in wanted.keys() - found.keys()]
        lines += [f"{path}.{key} is too much" for key in found.keys() - wanted.keys()]
        for key in sorted(wanted.keys() & found.keys()):
            read = _stream if key == "events" else _same
            lines += differences(read(wanted[key]), read(found[key]), f"{path}.{key}")
        return lines
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found, strict=True))
        return [line for place, (one, other) in pairs for line in differences(one, other, f"{path}[{place}]")]
    if isinstance(wanted, float) and isinstance(found, float) and math.isclose(wanted, found, abs_tol=_LOGPROB):
        return []
    same = wanted == found and type(wanted) is type(found)
    return [] if same else [f"{path} is {_short(found)}, not {_short(wanted)}"]


def _same(value: Any) -> Any:
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 200 else f"{text[:200]}…"


def _stream(events: list[Any]) -> Json:
    """Return what a stream says whatever its pieces: each choice's text and scores, the forms of events, the end."""
    *chunks, end = events
    said: Json = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            made = said.setdefault(str(choice["index"]), {"text": "", "logprobs": {}, "finish": None})
            made["text"] += choice["text"] if "text" in choice else choice["delta"]["content"]
            made["finish"] = choice["finish_reason"]
            for name, entries in (choice["logprobs"] or {}).items():
                made["logprobs"].setdefault(name, []).extend(entries)
    forms = sorted({json.dumps(_form(chunk), sort_keys=True) for chunk in chunks})
    return {"said": said, "forms": [json.loads(form) for form in forms], "last": chunks[-1].get("usage"), "end": end}


def _form(chunk: Json) -> Json:
    """Return an event without what depends on where a stream is cut."""
    choices = []
    for choice in chunk["choices"]:
        choice = {**choice, "index": 0, "logprobs": choice["logprobs"] and "<scores>"}
        if "delta" in choice:
            choice["delta"] = {**choice["delta"], "content": "<text>"}
        else:
            choice["text"] = "<text>"
        choices.append(choice)
    return {**chunk, "choices": choices, "usage": sorted(chunk.get("usage", ()))}
