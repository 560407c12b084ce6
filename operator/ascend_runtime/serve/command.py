"""`python -m ascend_runtime serve {vllm,mindie}`: a server from its arguments to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence

from ascend_runtime.report import emit
from ascend_runtime.serve.lifecycle import Stop, bind, listening, load_or_stop, serve_until_stopped
from ascend_runtime.serve.loading import loaded
from ascend_runtime.serve.ranks import is_head
from ascend_runtime.serve.vllm import follower_app, vllm_app
from ascend_runtime.serve.vllm_arguments import VllmSettings, parse_vllm
from ascend_runtime.serve.vllm_metrics import VllmMetrics

ENGINES = ("vllm", "mindie")


def serve(engine: str, arguments: Sequence[str]) -> None:
    """Serve until SIGTERM; raises CannotServe or InvalidInput when that cannot be."""
    if engine == "mindie":
        from ascend_runtime.serve.mindie_command import serve_mindie

        serve_mindie(arguments)
        return
    settings = parse_vllm(arguments)
    for message in settings.warnings:
        emit("warning", message=message)
    asyncio.run(_serve_vllm(settings))


async def _serve_vllm(settings: VllmSettings) -> None:
    stop = Stop()
    port = bind(settings.listen)
    if not is_head(os.environ, settings.node_rank):
        async with listening([(follower_app(), port)]):
            emit("following", url=settings.listen.url)
            await stop.wait()
        return
    metrics = VllmMetrics(settings.model.names[0])
    async with contextlib.AsyncExitStack() as stack:
        loading = loaded(settings.model, metrics)
        core = await load_or_stop(loading, stop)
        stack.push_async_exit(loading.__aexit__)
        metrics.watch(core)
        await stack.enter_async_context(listening([(vllm_app(core, metrics, settings.api_keys), port)]))
        emit("serving", engine="vllm", url=settings.listen.url, model=settings.model.names[0])
        await serve_until_stopped(core, stop, settings.grace)
