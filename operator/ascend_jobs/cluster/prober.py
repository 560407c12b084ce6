"""Completions asked of services again and again: only an answer with tokens proves that a service answers.

A target is a task. What came back last is kept until the target is not wanted any more; every answer wakes the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from time import monotonic

import aiohttp
import orjson
import structlog

from ascend_jobs.cluster.clock import Clock
from ascend_jobs.cluster.reach import Reach, RefusedAnswer
from ascend_jobs.cluster.store import Key
from ascend_jobs.decide.inference.observed import ProbeView
from ascend_jobs.decide.plan import ProbeTarget

log = structlog.get_logger()
_LONGEST = 120.0
"""Seconds that one completion may take."""
_SHOWN = 80
"""Characters of an answer that are kept."""
_MOST_PIECES = 4096
"""Pieces of one answer; an engine that does not stop at max_tokens (at most 256) does not answer."""


class Prober:
    """The completions asked of all services."""

    def __init__(self, reach: Reach, wake: Callable[[Key], None], clock: Clock) -> None:
        """Take how services are reached, whom to tell of an answer, and the clock."""
        self._reach, self._wake, self._clock = reach, wake, clock
        self._asked: dict[str, dict[str, _Asked]] = {}

    def view(self, uid: str) -> Mapping[str, ProbeView]:
        """Return the last answers of a service's targets, by name."""
        return {name: asked.view for name, asked in self._asked.get(uid, {}).items() if asked.view is not None}

    def want(self, key: Key, uid: str, targets: Sequence[ProbeTarget]) -> None:
        """Ask these targets of a service from now on, and no others."""
        wanted = {target.name: target for target in targets}
        asked = self._asked.setdefault(uid, {})
        for name in [name for name in asked if name not in wanted]:
            asked.pop(name).stop()
        for name, target in wanted.items():
            if name in asked and asked[name].moved(target):
                asked.pop(name).stop()
            if name not in asked:
                asked[name] = _Asked(self, key, target)
            asked[name].retarget(target)
        if not asked:
            del self._asked[uid]

    def forget(self, uid: str) -> None:
        """Ask nothing of a service that is gone."""
        for asked in self._asked.pop(uid, {}).values():
            asked.stop()

    async def close(self) -> None:
        """Stop all."""
        tasks = [asked.task for found in self._asked.values() for asked in found.values()]
        for uid in list(self._asked):
            self.forget(uid)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, key: Key, target: ProbeTarget, failures: int) -> ProbeView:
        """Ask for one completion; never raises but for cancellation."""
        try:
            async with asyncio.timeout(_LONGEST):
                return await self._answered(key, target)
        except RefusedAnswer as error:
            message = str(error)
        except TimeoutError:
            message = f"no answer within {_LONGEST:.0f} s"
        except Exception as error:  # noqa: BLE001 - a task that ends would leave its last answer, and Ready, for ever
            known = isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError)
            message = str(error) if known else f"{type(error).__name__}: {error}"
        return ProbeView(self._clock(), answered=False, message=message[:300], failures=failures + 1)

    async def _answered(self, key: Key, target: ProbeTarget) -> ProbeView:
        """Ask as a chat; a model without a chat template refuses that, and is asked to complete the text."""
        chat = {"messages": [{"role": "user", "content": target.prompt}]}
        try:
            return await self._completion(key, target, "/v1/chat/completions", chat)
        except RefusedAnswer as error:
            if error.status not in (400, 404):
                raise
        return await self._completion(key, target, "/v1/completions", {"prompt": target.prompt})

    async def _completion(self, key: Key, target: ProbeTarget, path: str, asked: Mapping[str, object]) -> ProbeView:
        body = {
            **asked,
            "model": target.model,
            "max_tokens": target.max_tokens,
            "temperature": 0,
            "stream": True,
        }
        started = monotonic()
        first, last, pieces, text = 0.0, 0.0, 0, ""
        lines = self._reach.post_service(key.namespace, target, path, body)
        async with aclosing(lines) as stream:  # type: ignore[type-var]
            async for line in stream:
                piece = _piece(line)
                if piece is None:
                    continue
                last, pieces = monotonic(), pieces + 1
                first, text = first or last, (text + piece)[:_SHOWN]
                if pieces > _MOST_PIECES:
                    raise ValueError(
                        f"an answer that does not end after {pieces} pieces, max_tokens {target.max_tokens}"
                    )
        if not pieces:
            raise ValueError("an answer without a token came back")
        return ProbeView(
            time=self._clock(),
            answered=True,
            message=text,
            first_token_milliseconds=round((first - started) * 1000, 1),
            tokens_per_second=round((pieces - 1) / (last - first), 1) if last > first else None,
        )

    def told(self, key: Key) -> None:
        """Wake the service of an answer."""
        self._wake(key)


class _Asked:
    """One target and what it last answered."""

    def __init__(self, prober: Prober, key: Key, target: ProbeTarget) -> None:
        self._prober, self._key, self.target = prober, key, target
        self.view: ProbeView | None = None
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"probe of {target.service}")

    def moved(self, target: ProbeTarget) -> bool:
        """Say whether somebody else is to be asked, or something else."""
        same = replace(target, every_seconds=self.target.every_seconds)
        return same != self.target

    def retarget(self, target: ProbeTarget) -> None:
        """Ask as this target says from now on."""
        if target != self.target:
            self.target = target
            self._changed.set()

    def stop(self) -> None:
        """Ask no more."""
        self.task.cancel()

    async def _run(self) -> None:
        while True:
            self.view = await self._prober.ask(self._key, self.target, self.view.failures if self.view else 0)
            self._prober.told(self._key)
            await self._pause()

    async def _pause(self) -> None:
        """Wait until it is time again; a pass may make the interval shorter or longer meanwhile."""
        started = monotonic()
        while (left := started + self.target.every_seconds - monotonic()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left * random.uniform(0.95, 1.0) + 0.01)


def _piece(line: bytes) -> str | None:
    """Return the text of a server-sent event of a chat or a completion, None when it brings no token.

    Engines that show their reasoning send it as reasoning_content (vLLM) before the answer: that is tokens too.
    """
    if not line.startswith(b"data:"):
        return None
    data = line[5:].strip()
    if data in (b"", b"[DONE]"):
        return None
    found = orjson.loads(data)
    if not isinstance(found, dict):
        raise ValueError("an event that is no object")
    if "error" in found:
        raise ValueError(f"the engine says {str(found['error'])[:200]}")
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    for text in (choice.get("text"), delta.get("content"), delta.get("reasoning_content")):
        if isinstance(text, str) and text:
            return text
    return None
