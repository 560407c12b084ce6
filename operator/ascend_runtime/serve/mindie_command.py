"""`serve mindie`: MindIE's daemon from its config.json to its end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ascend_runtime.report import emit
from ascend_runtime.serve.failures import config_invalid
from ascend_runtime.serve.lifecycle import Stop, bind, listening, load_or_stop, serve_until_stopped
from ascend_runtime.serve.loading import loaded
from ascend_runtime.serve.mindie import business_app, follower_app, management_app, metrics_app
from ascend_runtime.serve.mindie_config import ENV_CONFIG_PATH, MindieSettings, config_path, read_mindie
from ascend_runtime.serve.mindie_metrics import MindieMetrics
from ascend_runtime.serve.ranks import is_head
from ascend_runtime.serve.settings import ModelSettings

ENV_MONITOR = "MIES_SERVICE_MONITOR_MODE"
STARTED = "Daemon start success!"
"""What MindIE says when it serves; scripts wait for it."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise config_invalid("arguments", message)


def serve_mindie(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
    """Serve until SIGTERM or /stopService; raises CannotServe or InvalidInput when that cannot be."""
    options = _parser().parse_args(arguments)
    base = ModelSettings(
        folder=Path(),
        names=(),
        precision=options.quantization or "auto",
        cache_dir=options.cache_dir,
        threads=options.threads,
    )
    settings = read_mindie(config_path(options.config_file, environ), environ, base)
    asyncio.run(_serve(settings, environ, options.shutdown_timeout))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m ascend_runtime serve mindie", description=__doc__)
    parser.add_argument("--config-file", type=Path, metavar="FILE", help=f"config.json; also {ENV_CONFIG_PATH}")
    parser.add_argument("--quantization", choices=("q8_0",), help="8 bits instead of the stored precision")
    parser.add_argument("--shutdown-timeout", type=float, default=60.0, metavar="SECONDS", help="for running requests")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="converted models")
    parser.add_argument("--threads", type=int, metavar="N", help="that compute; default: one less than the CPU limit")
    return parser


async def _serve(settings: MindieSettings, environ: Mapping[str, str], grace: float) -> None:
    stop = Stop()
    management = bind(settings.management)
    if settings.multi_node and not is_head(environ):
        async with listening([(follower_app(), management)]):
            print(STARTED, flush=True)
            await stop.wait()
        return
    business = bind(settings.business)
    monitor = bind(settings.metrics) if environ.get(ENV_MONITOR) == "1" else None
    if not settings.multi_node:
        is_head(environ)  # a rank table, where one is named, has to be right
    metrics = MindieMetrics(settings.model.names[0])
    async with contextlib.AsyncExitStack() as stack:
        loading = loaded(settings.model, metrics)
        core = await load_or_stop(loading, stop)
        stack.push_async_exit(loading.__aexit__)
        metrics.watch(core)
        sites = [(business_app(core), business), (management_app(core, settings, metrics, stop.set), management)]
        if monitor is not None:
            sites.append((metrics_app(metrics), monitor))
        await stack.enter_async_context(listening(sites))
        emit("serving", engine="mindie", url=settings.business.url, model=settings.model.names[0])
        print(STARTED, flush=True)
        await serve_until_stopped(core, stop, grace)
