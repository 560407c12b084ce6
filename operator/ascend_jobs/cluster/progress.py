"""Follow the log of one pod of each running job, and keep the newest lines that tell how far it is.

A stream is a task and a connection; nothing of it is kept but three small objects. Who is followed is decided by the
plan of each pass.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from ascend_jobs.cluster.client import Api
from ascend_jobs.cluster.lines import LineSplitter
from ascend_jobs.cluster.progress_lines import LONGEST_LINE, parse_line
from ascend_jobs.cluster.store import Key
from ascend_jobs.decide.observed import ProgressView
from ascend_jobs.errors import ApiError
from ascend_jobs.metrics import Metrics

log = structlog.get_logger()
WAKE_SECONDS = 10.0
"""A job is woken by its progress at most so often; at once for the first line and for a checkpoint."""
_TAIL = 200
"""Lines read again when a stream is opened: more than the default 100 steps between two checkpoints."""
_LINGER = 5.0
"""Seconds that a stream which is not wanted any more may take to deliver the last lines."""
_PAUSES = (1.0, 30.0)
"""Seconds before a stream that ended or failed is opened again, at first and at most."""


@dataclass(frozen=True)
class _Target:
    """Whose log is read for which job."""

    key: Key
    uid: str
    pod: str
    container: str


class Followers:
    """The followed logs of all jobs, at most one a job."""

    def __init__(
        self, api: Api, wake: Callable[[Key], None], metrics: Metrics, pauses: tuple[float, float] = _PAUSES
    ) -> None:
        """Take where logs are read, whom to tell of news, what to count, and seconds before a stream is reopened."""
        self._api, self._wake, self._metrics, self._pauses = api, wake, metrics, pauses
        self._followers: dict[str, _Follower] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        metrics.progress_streams.set_function(lambda: len(self._tasks))

    def view(self, uid: str, pods: Collection[str]) -> ProgressView:
        """Return the newest lines for a job if they come from one of these pods, by name; else an empty view."""
        follower = self._followers.get(uid)
        return follower.view if follower is not None and follower.target.pod in pods else ProgressView()

    def follow(self, key: Key, uid: str, wanted: tuple[str, str] | None) -> None:
        """Follow (pod, container) for a job from now on, or nobody; what is read now is kept until then."""
        follower = self._followers.get(uid)
        if wanted is None:
            if follower is not None:
                follower.linger()
            return
        target = _Target(key, uid, *wanted)
        if follower is not None:
            if follower.target == target and follower.wanted:
                return
            follower.stop()
        self._followers[uid] = started = _Follower(self._api, target, self._wake, self._metrics, self._pauses)
        self._tasks.add(started.task)
        started.task.add_done_callback(self._ended)

    def forget(self, uid: str) -> None:
        """Stop following for a job that is gone, and forget what was read."""
        follower = self._followers.pop(uid, None)
        if follower is not None:
            follower.stop()

    async def close(self) -> None:
        """Stop all."""
        for uid in list(self._followers):
            self.forget(uid)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("follower failed", task=task.get_name(), exc_info=task.exception())


class _Follower:
    """One followed log."""

    def __init__(
        self,
        api: Api,
        target: _Target,
        wake: Callable[[Key], None],
        metrics: Metrics,
        pauses: tuple[float, float],
    ) -> None:
        self._api, self.target, self._wake, self._pauses = api, target, wake, pauses
        self._lines = metrics.progress_lines
        self.view = ProgressView()
        self._woken = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.wanted = True
        self.task = asyncio.create_task(self._run(), name=f"log of {target.pod}")

    def linger(self) -> None:
        """Read what is there and end."""
        if self.wanted:
            self.wanted = False
            asyncio.get_running_loop().call_later(_LINGER, self.stop)

    def stop(self) -> None:
        """End now."""
        self.wanted = False
        self.task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    async def _run(self) -> None:
        """Read the log until it is not wanted; its end may be the container's or just the connection's."""
        first, longest = self._pauses
        pause = first
        while self.wanted:
            try:
                if await self._read():
                    pause = first
            except ApiError as error:
                log.debug("log not read", pod=self.target.pod, error=str(error))
            if self.wanted:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(longest, pause * 2)

    async def _read(self) -> bool:
        """Read one stream to its end; say whether it gave anything."""
        splitter, any_ = LineSplitter(LONGEST_LINE), False
        target = self.target
        stream = self._api.read_log(target.key.namespace, target.pod, target.container, tail=_TAIL)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                any_ = True
                for line in splitter.feed(chunk):
                    self._take(line)
        return any_

    def _take(self, line: bytes) -> None:
        parsed = parse_line(line)
        self._lines.labels("kept" if parsed else "ignored").inc()
        if parsed is None:
            return
        event, fields = parsed
        first = self.view.progress is None and event == "progress"
        if getattr(self.view, event) != fields:
            self.view = _updated(self.view, event, fields)
            self._tell(at_once=first or event == "checkpoint")

    def _tell(self, *, at_once: bool) -> None:
        """Wake the job now or when ten seconds have passed since the last time."""
        now = asyncio.get_running_loop().time()
        due = now if at_once else self._woken + WAKE_SECONDS
        if due <= now:
            self._fire()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due, self._fire)

    def _fire(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._woken = asyncio.get_running_loop().time()
        self._wake(self.target.key)


def _updated(view: ProgressView, event: str, fields: Mapping[str, object]) -> ProgressView:
    match event:
        case "progress":
            return replace(view, progress=fields)
        case "validation":
            return replace(view, validation=fields)
        case _:
            return replace(view, checkpoint=fields)
