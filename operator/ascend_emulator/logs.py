"""structlog set-up: JSON lines on standard output, as the operator writes them. No setting holds a secret."""

from __future__ import annotations

import logging
from typing import cast

import orjson
import structlog


def set_up_logs(level: int = logging.INFO, **bound: object) -> None:
    """Write JSON lines with time, level, event and the bound keys to standard output; level is one of logging's."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_line),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**bound)


def get_log(part: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one part of the program (key `part` on its lines)."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(part=part))


def _line(event: object, **_: object) -> str:
    """Encode anything: keys that are no text, and values that JSON does not know, become text."""
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
