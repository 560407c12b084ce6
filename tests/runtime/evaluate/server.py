"""A server that speaks the OpenAI protocol and gives the answers that a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aiohttp import web

Reply = str | None
"""None: the connection is closed in the middle of the answer."""


@dataclass
class Server:
    """What it answers, and what it was asked."""

    answer: Callable[[str], Reply]
    """Prompt -> answer."""
    logprobs: Callable[[str], dict[str, float]] | None = None
    """Prompt -> likeliest next tokens; None: the server refuses to say."""
    chat: bool = True
    key: str | None = None
    model: str = "faq"
    url: str = ""
    prompts: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_post("/v1/completions", self._completions)
        return application

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not self.chat:
            return web.json_response({"error": {"message": "no chat template"}}, status=400)
        prompt = body["messages"][-1]["content"]
        content = None
        if body.get("logprobs") and self.logprobs:
            top = [{"token": t, "logprob": p} for t, p in self.logprobs(prompt).items()]
            content = {"content": [{"token": "x", "logprob": -0.1, "top_logprobs": top}]}
        return await self._reply(request, body, prompt, lambda text: {"delta": {"content": text}, "logprobs": content})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = body["prompt"]
        found = None
        if body.get("logprobs") and self.logprobs:
            found = {"tokens": ["x"], "token_logprobs": [-0.1], "top_logprobs": [self.logprobs(prompt)]}
        return await self._reply(request, body, prompt, lambda text: {"text": text, "logprobs": found})

    async def _reply(self, request, body, prompt, choice) -> web.StreamResponse:
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        if body["model"] != self.model:
            return web.json_response({"error": {"message": f"no model {body['model']}"}}, status=404)
        if body.get("logprobs") and self.logprobs is None:
            return web.json_response({"error": {"message": "logprobs are not supported"}}, status=400)
        self.prompts.append(prompt)
        text = self.answer(prompt)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if text is None:
            await response.write(_event({"choices": [{"index": 0, **choice("x"), "finish_reason": None}]}))
            request.transport.close()
            return response
        await response.write(_event({"choices": [{"index": 0, **choice(text), "finish_reason": "stop"}]}))
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        await response.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        return response


def _event(document: dict) -> bytes:
    return b"data: " + json.dumps({"id": "x", "object": "chunk", **document}).encode() + b"\n\n"


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run the server in a thread of its own, as what is tested has its own loop."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(server.application(), access_log=None)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner.addresses[0][1]

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
