"""Before anything is measured: whether the target answers at all, and whether it speaks chat."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.client import Prompt, RequestRecord, Target, complete
from ascend_runtime.evaluate.config import TargetConfig

PATIENCE = 60.0
"""Seconds that a target may take to answer first: as long as a rollout's last pod or a proxy needs to come up."""
_PAUSE = 2.0
_TRY_SECONDS = 30.0
_GREETING = "Hello"
_NO_CHAT = ("HTTP 400", "HTTP 404", "HTTP 405", "HTTP 422", "HTTP 500", "HTTP 501")
"""How servers refuse a chat for a model without chat template, or have no such route."""
_NO_ENTRY = ("HTTP 401", "HTTP 403")


class TargetUnreachable(Exception):
    """The target gives no answers: exit 1; the operator tries again later."""

    code = 1

    def __init__(self, sentence: str) -> None:
        """Take a sentence that says which target and what happened last."""
        super().__init__(sentence)
        self.message = {"reason": "TargetUnreachable", "message": sentence}


@dataclass(frozen=True)
class Reached:
    """A target that has answered."""

    config: TargetConfig
    target: Target
    chat: bool
    """Whether it takes messages; a model without chat template only continues text."""


def read_api_key(path: Path | None) -> str | None:
    """Return the key that the file holds, of a mounted Secret the first; raises InvalidInput where there is none.

    A Secret may hold many keys, by any names; what the kubelet keeps beside them begins with two dots.
    """
    if path is None:
        return None
    try:
        files = sorted(p for p in path.iterdir() if not p.name.startswith("..")) if path.is_dir() else [path]
        key = next((text for file in files if (text := file.read_text().strip())), "")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(Reason.CONFIG_INVALID, "spec.apiKey", f"the file {path} cannot be read: {error}") from error
    if not key or not key.isprintable():
        raise InvalidInput(Reason.CONFIG_INVALID, "spec.apiKey", f"the file {path} holds no key of one line")
    return key


async def reach(
    session: aiohttp.ClientSession, config: TargetConfig, api_key: str | None, *, patience: float = PATIENCE
) -> Reached:
    """Ask for one token until one comes, for at most `patience` seconds; raises TargetUnreachable."""
    target = Target(url=config.url, model=config.model, api_key=api_key, engine=config.engine)
    end = time.monotonic() + patience
    while True:
        record, chat = await _greet(session, target)
        if record.ok:
            return Reached(config, target, chat)
        if time.monotonic() + _PAUSE > end or record.error.startswith(_NO_ENTRY):
            raise TargetUnreachable(f"{config.name} at {config.url} gave no answer: {record.error}")
        await asyncio.sleep(_PAUSE)


async def _greet(session: aiohttp.ClientSession, target: Target) -> tuple[RequestRecord, bool]:
    messages = Prompt(messages=({"role": "user", "content": _GREETING},))
    record = await complete(session, target, messages, max_tokens=1, timeout=_TRY_SECONDS)
    if record.ok or not record.error.startswith(_NO_CHAT):
        return record, True
    plain = await complete(session, target, Prompt(text=_GREETING), max_tokens=1, timeout=_TRY_SECONDS)
    return (plain, False) if plain.ok else (record, True)
