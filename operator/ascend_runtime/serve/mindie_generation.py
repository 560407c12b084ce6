"""MindIE's own ways to ask for text: TGI's, Triton's and its native one; requests and answers.

Routes are those of MindIE-LLM's repository of April 2026. Fields are our reading of it, and of TGI's and Triton's
protocols; no MindIE was at hand to compare with. One reader and one answer for all of them.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from ascend_runtime.serve.body import BadRequest, Body
from ascend_runtime.serve.core import Core, Wanted
from ascend_runtime.serve.engine import Piece
from ascend_runtime.serve.openai_requests import answer_limit, check_tokens, sampling
from ascend_runtime.serve.openai_routes import read_json, send, start_stream

_DEFAULT_TOKENS = 20
"""max_new_tokens unless a request names it."""
_ENDS = {"stop": "eos_token", "length": "length"}
Json = dict[str, Any]


@dataclass
class Made:
    """An answer as far as it has come."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    generated: int = 0
    finish: str = ""


def generation_routes(core: Core) -> list[web.RouteDef]:
    """Return TGI's, Triton's and the native routes."""

    async def whole(request: web.Request) -> web.StreamResponse:
        body = Body(await read_json(request))
        made = await _make(core, _wanted(core, body, _text_tokens(core, body, "inputs")))
        return web.json_response({"generated_text": made.text, **_details(core, body, made)})

    async def stream(request: web.Request) -> web.StreamResponse:
        body = Body(await read_json(request))
        return await _stream_tgi(core, request, _wanted(core, body, _text_tokens(core, body, "inputs")))

    async def either(request: web.Request) -> web.StreamResponse:
        body = Body(await read_json(request))
        wanted = _wanted(core, body, _text_tokens(core, body, "inputs"))
        if body.flag("stream"):
            return await _stream_tgi(core, request, wanted)
        made = await _make(core, wanted)
        answer = {"generated_text": made.text, **_details(core, body, made)}
        return web.json_response([answer] if request.path == "/" else answer)

    async def from_tokens(request: web.Request) -> web.StreamResponse:
        body = Body(await read_json(request))
        wanted = _wanted(core, body, check_tokens(core, body.document.get("input_id")))
        if body.flag("stream"):
            return await _stream_tgi(core, request, wanted)
        made = await _make(core, wanted)
        return web.json_response({"generated_text": made.text, **_details(core, body, made)})

    async def tokenizer(request: web.Request) -> web.Response:
        tokens = _text_tokens(core, Body(await read_json(request)), "inputs")
        return web.json_response({"token_number": len(tokens), "tokens": core.prompts.spell_pieces(tokens)})

    return [
        web.post("/generate", whole),
        web.post("/generate_stream", stream),
        web.post("/", either),
        web.post("/infer", either),
        web.post("/infer_token", from_tokens),
        web.post("/v1/tokenizer", tokenizer),
        *_triton_routes(core),
    ]


def _triton_routes(core: Core) -> list[web.RouteDef]:
    async def text(request: web.Request) -> web.Response:
        core.adapter_of(request.match_info["name"])
        body = Body(await read_json(request))
        made = await _make(core, _wanted(core, body, _text_tokens(core, body, "text_input")))
        answer: Json = {"id": body.text("id") or uuid.uuid4().hex, "model_name": request.match_info["name"]}
        return web.json_response({**answer, "model_version": None, "text_output": made.text, **_counts(made)})

    async def tensors(request: web.Request) -> web.Response:
        core.adapter_of(request.match_info["name"])
        body = Body(await read_json(request))
        made = await _make(core, _wanted(core, body, _input_tensor(core, body)))
        output = {"name": "output0", "datatype": "UINT32", "shape": [1, len(made.tokens)], "data": list(made.tokens)}
        return web.json_response({"id": body.text("id") or uuid.uuid4().hex, "outputs": [output]})

    return [web.post("/v2/models/{name}/generate", text), web.post("/v2/models/{name}/infer", tensors)]


def _wanted(core: Core, body: Body, tokens: list[int]) -> Wanted:
    asked = body.part("parameters")
    limit = asked.integer("max_new_tokens", _DEFAULT_TOKENS, 1)
    drawn = asked.flag("do_sample") or "temperature" in asked
    options: Mapping[str, Any] = sampling(core, asked)
    if not drawn:
        options = {**options, "temperature": 0}
    room = core.length - len(tokens)
    return Wanted(tokens, answer_limit(core, len(tokens), min(limit or 1, max(1, room))), options)


def _text_tokens(core: Core, body: Body, field: str) -> list[int]:
    text = body.text(field)
    if not text:
        raise BadRequest(f"{field} must be a string, not empty", field)
    return core.prompts.encode(text, special=True)


def _input_tensor(core: Core, body: Body) -> list[int]:
    inputs = body.document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadRequest("inputs must be a list of one tensor of token ids", "inputs")
    return check_tokens(core, inputs[0].get("data"))


async def _make(core: Core, wanted: Wanted) -> Made:
    made = Made()
    async for piece in _pieces(core, replace(wanted, in_pieces=False)):
        _add(made, piece)
    return made


async def _pieces(core: Core, wanted: Wanted) -> AsyncIterator[Piece]:
    async with contextlib.aclosing(core.generate(wanted)) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            yield piece


def _add(made: Made, piece: Piece) -> None:
    made.text += piece.text
    made.tokens += piece.tokens
    made.generated = piece.generated
    if piece.finish is not None:
        made.finish = "stop_sequence" if piece.stop_string else _ENDS[piece.finish]


async def _stream_tgi(core: Core, request: web.Request, wanted: Wanted) -> web.StreamResponse:
    """Send an event a token; the last one carries the whole text."""
    made = Made()
    started = time.monotonic()
    async with contextlib.aclosing(_pieces(core, wanted)) as pieces:  # type: ignore[type-var]
        first = await anext(pieces)
        response = await start_stream(request)
        await send(response, _event(made, first, started))
        async for piece in pieces:
            await send(response, _event(made, piece, started))
    await response.write_eof()
    return response


def _event(made: Made, piece: Piece, started: float) -> str:
    _add(made, piece)
    number = piece.tokens[-1] if piece.tokens else None
    event: Json = {"token": {"id": number, "text": piece.text, "logprob": None, "special": None}}
    event |= {"generated_text": None, "details": None}
    if piece.finish is not None:
        event |= {"generated_text": made.text, **_counts(made)}
    return json.dumps({**event, "elapsed": round((time.monotonic() - started) * 1000, 3)}, ensure_ascii=False)


def _details(core: Core, body: Body, made: Made) -> Json:
    """Return details for a request that asked for them, with the answer's tokens."""
    if not body.part("parameters").flag("details"):
        return {"details": None}
    found = _counts(made)
    tokens = [{"id": token, "text": core.prompts.spell(token), "logprob": None} for token in made.tokens]
    found["details"] |= {"prefill": [], "tokens": tokens}
    return found


def _counts(made: Made) -> Json:
    return {"details": {"finish_reason": made.finish, "generated_tokens": made.generated, "seed": None}}
