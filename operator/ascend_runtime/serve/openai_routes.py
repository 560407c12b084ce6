"""The routes of the OpenAI protocol that both engines have: chat, completions, models."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ascend_runtime.serve.body import BadRequest, Malformed
from ascend_runtime.serve.core import Core, Wanted
from ascend_runtime.serve.engine import EngineDied, EngineRefused, Piece
from ascend_runtime.serve.openai_answers import (
    Answer,
    ChatAnswer,
    Sequel,
    TextAnswer,
    echoed,
    model_cards,
    usage_of_chunk,
)
from ascend_runtime.serve.openai_requests import Request, read_chat, read_completion

EVENTS = "text/event-stream; charset=utf-8"
MAX_BODY = 32 << 20
"""Longest request in bytes."""
_JSON = "application/json"
_THROWN_AWAY = 1
"""Tokens that vLLM computes, counts and does not show when it is asked for a prompt's echo alone."""
_Item = tuple[int, Piece]
"""A piece and the index of its sequence."""
_TYPES = {400: "BadRequestError", 404: "NotFoundError", 503: "ServiceUnavailableError"}


def openai_routes(core: Core, fingerprint: str | None = None) -> list[web.RouteDef]:
    """Return the routes /v1/models, /v1/chat/completions and /v1/completions; a fingerprint is told in answers."""

    async def chat(request: web.Request) -> web.StreamResponse:
        asked = read_chat(core, await read_json(request))
        return await _answer(core, request, asked, ChatAnswer(asked, core.prompts, fingerprint))

    async def completions(request: web.Request) -> web.StreamResponse:
        asked = read_completion(core, await read_json(request))
        return await _answer(core, request, asked, TextAnswer(asked, core.prompts, fingerprint))

    async def models(_: web.Request) -> web.Response:
        settings = core.settings
        adapters = {adapter.name: str(adapter.folder) for adapter in settings.adapters}
        return json_answer(model_cards(settings.names, str(settings.folder), adapters, core.length))

    return [
        web.get("/v1/models", models),
        web.post("/v1/chat/completions", chat),
        web.post("/v1/completions", completions),
    ]


async def read_json(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a request; raises BadRequest."""
    try:
        document = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise Malformed("the body must be a JSON object")
    return document


def json_answer(document: object, status: int = 200) -> web.Response:
    """Return a JSON answer with the media type alone, as vLLM's."""
    return web.Response(body=json.dumps(document, ensure_ascii=False).encode(), status=status, content_type=_JSON)


def error_body(message: str, status: int, param: str | None = None, kind: str | None = None) -> dict[str, Any]:
    """Return an error as vLLM spells it."""
    kind = kind or _TYPES.get(status, "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


@web.middleware
async def explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into an answer."""
    try:
        return await handler(request)
    except BadRequest as error:
        kind = error.kind if error.status == 400 else None
        return json_answer(error_body(error.message, error.status, error.param, kind), error.status)
    except EngineRefused as error:
        return json_answer(error_body(str(error), 400), 400)
    except EngineDied as error:
        return json_answer(error_body(str(error), 500), 500)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return json_answer({"detail": error.reason}, error.status)


def refuse_when_draining(core: Core, paths: Callable[[str], bool]) -> Middleware:
    """Return a middleware that answers 503 on the named paths once the server takes no new requests."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if core.draining and paths(request.path):
            answer = json_answer(error_body("the server is shutting down", 503), 503)
            answer.headers.update({"Connection": "close", "Retry-After": "1"})
            return answer
        return await handler(request)

    return middleware


async def start_stream(request: web.Request) -> web.StreamResponse:
    """Open a server-sent event stream."""
    response = web.StreamResponse(headers={"Content-Type": EVENTS, "Cache-Control": "no-cache"})
    await response.prepare(request)
    return response


async def send(response: web.StreamResponse, document: Mapping[str, Any] | str) -> None:
    """Send one event; raises ConnectionError when the client is gone."""
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    await response.write(f"data: {text}\n\n".encode())


async def _answer(core: Core, request: web.Request, asked: Request, answer: Answer) -> web.StreamResponse:
    if asked.stream:
        return await _stream(core, request, asked, answer)
    sequels = await _all(_whole(core, wanted, echo=asked.echo) for wanted in asked.wanted)
    return json_answer(answer.whole(sequels))


async def _all(sequences: Iterable[Coroutine[Any, Any, Sequel]]) -> list[Sequel]:
    """Run several sequences at once; the first error ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(sequence) for sequence in sequences]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


async def _whole(core: Core, wanted: Wanted, *, echo: bool) -> Sequel:
    sequel = Sequel(len(wanted.tokens))
    if echo:
        sequel = await _echo(core, wanted)
    if wanted.limit == 0:
        sequel.finish, sequel.generated = "length", _THROWN_AWAY
        return sequel
    async with contextlib.aclosing(core.generate(wanted)) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            sequel.add(piece)
    return sequel


async def _echo(core: Core, wanted: Wanted) -> Sequel:
    scores = [] if wanted.logprobs is None else await core.score_prompt(wanted)
    return echoed(core.prompts, wanted.tokens, scores)


async def _stream(core: Core, request: web.Request, asked: Request, answer: Answer) -> web.StreamResponse:
    """Send pieces as they come. Until the first one an error still has a status of its own."""
    sequels = [Sequel(len(wanted.tokens)) for wanted in asked.wanted]
    async with contextlib.aclosing(_merged(core, asked)) as pieces:  # type: ignore[type-var]
        first = await anext(pieces)
        response = await start_stream(request)
        for index in range(len(sequels)):
            opening = answer.opening(index)
            if opening is not None:
                await send(response, _with_usage(asked, opening, sequels[index]))
        try:
            async for index, piece in _chained(first, pieces):
                sequels[index].add(piece)
                await send(response, _with_usage(asked, answer.chunk(index, piece), sequels[index]))
            if asked.include_usage:
                await send(response, answer.usage_chunk(sequels))
        except EngineDied as error:
            await send(response, error_body(str(error), 500))
    await send(response, "[DONE]")
    await response.write_eof()
    return response


def _with_usage(asked: Request, chunk: dict[str, Any], sequel: Sequel) -> dict[str, Any]:
    return {**chunk, "usage": usage_of_chunk([sequel])} if asked.continuous_usage else chunk


async def _chained(first: _Item, rest: AsyncIterator[_Item]) -> AsyncIterator[_Item]:
    yield first
    async for item in rest:
        yield item


async def _joined(core: Core, wanted: Wanted, *, echo: bool) -> AsyncIterator[Piece]:
    """Yield pieces cut as vLLM does: the prompt with the first token, the end with the last one."""
    held: Piece | None = None
    if echo:
        made = await _echo(core, wanted)
        held = Piece(made.text, tuple(wanted.tokens), tuple(made.scores))
    if wanted.limit == 0:
        yield replace(held or Piece("", ()), generated=_THROWN_AWAY, finish="length")
        return
    async with contextlib.aclosing(core.generate(wanted)) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            whole = piece.after(held)
            is_held = piece.finish is None and (piece.generated >= wanted.limit or not whole.text)
            held = whole if is_held else None
            if not is_held:
                yield whole


async def _merged(core: Core, asked: Request) -> AsyncIterator[_Item]:
    """Yield the pieces of all sequences with their index as they come; raises EngineDied."""
    queue: asyncio.Queue[tuple[int, Piece | None]] = asyncio.Queue()

    async def pump(index: int, wanted: Wanted) -> None:
        try:
            async with contextlib.aclosing(_joined(core, wanted, echo=asked.echo)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    await queue.put((index, piece))
        finally:
            queue.put_nowait((index, None))

    tasks = [asyncio.create_task(pump(index, wanted)) for index, wanted in enumerate(asked.wanted)]
    left = len(tasks)
    try:
        while left:
            index, piece = await queue.get()
            if piece is not None:
                yield index, piece
                continue
            left -= 1
            await tasks[index]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
