"""Logs: one JSON object a line, ours and those of the libraries alike; what is secret is not in them."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer

_SECRET_KEYS = re.compile(r"token|password|secret|authorization|credential", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?i)(bearer\s+|authorization['\"]?:\s*['\"]?(?:bearer\s+)?)[\w.~+/=-]{8,}")
_FIRST = ("time", "level", "message", "namespace", "name", "job_kind", "uid", "generation")
_QUIET = ("kopf", "aiohttp", "asyncio", "urllib3", "kubernetes")
"""Libraries of which only warnings are wanted; Kopf says two lines about every event."""


def set_up_logs(level: str = "info", format_: str = "json", stream: TextIO | None = None) -> None:
    """Send all logs of the process to a stream (stderr), from this level on, as `json` or for a `console`."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        redacted,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[*shared, _named], processors=_rendering(format_))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def redacted(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values under keys that sound secret, and bearer tokens wherever they stand."""
    for key, value in event.items():
        if _SECRET_KEYS.search(key):
            event[key] = "[redacted]"
        elif isinstance(value, str):
            event[key] = _SECRET_TEXT.sub(r"\1[redacted]", value)
    return event


def ordered(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put first what every line has, then the job, then the rest."""
    return {key: event[key] for key in (*(k for k in _FIRST if k in event), *(k for k in event if k not in _FIRST))}


def _named(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the name of the library's logger; records carry more, which is dropped."""
    event["logger"] = event["_record"].name
    return event


def _rendering(format_: str) -> list[structlog.typing.Processor]:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if format_ == "console":
        return [remove, structlog.dev.ConsoleRenderer()]
    return [
        remove,
        structlog.processors.EventRenamer("message"),
        ordered,
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False, max_frames=30)),
        structlog.processors.JSONRenderer(),
    ]
