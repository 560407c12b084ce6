"""The operator as a program: `python -m ascend_jobs`. Settings come from the environment (settings.py)."""

from __future__ import annotations

import asyncio
import os
import sys

import structlog

from ascend_jobs.cluster.connection import find_endpoint
from ascend_jobs.handlers.engine import Engine, catch_signals
from ascend_jobs.logs import set_up_logs
from ascend_jobs.settings import Settings, SettingsInvalid

log = structlog.get_logger()
_END_SECONDS = 5.0
"""Beyond the draining of the workers: giving the Lease back, closing streams and Kopf take well under a second."""


async def run(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT; raises an ExceptionGroup when a part of it ends on its own."""
    stop = asyncio.Event()
    catch_signals(stop)
    engine = Engine(settings, find_endpoint(settings.kubeconfig, settings.context))
    bound = asyncio.create_task(bound_end(stop, settings.drain_seconds + _END_SECONDS), name="bound")
    try:
        await engine.run(stop)
    finally:
        bound.cancel()


async def bound_end(stop: asyncio.Event, seconds: float) -> None:
    """End the process when it still runs so many seconds after `stop`, and say which tasks did not end."""
    await stop.wait()
    await asyncio.sleep(seconds)
    left = sorted(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task())
    log.error("operator did not end in time", seconds=seconds, tasks=left)
    os._exit(1)


def main() -> int:
    """Return 0 after a stop that was asked for, 1 after any other end, 2 when the settings make no sense."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsInvalid as error:
        print(f"ascend-jobs: {error}", file=sys.stderr)  # noqa: T201 - there are no logs yet
        return 2
    set_up_logs(settings.log_level, settings.log_format)
    try:
        asyncio.run(run(settings))
    except Exception as error:
        log.error("operator ended", error=str(first_cause(error)), exc_info=error)
        return 1
    return 0


def first_cause(error: BaseException) -> BaseException:
    """Return the error that ended a group of tasks: the first that is no group itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
