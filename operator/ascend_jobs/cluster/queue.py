"""The work queue: no duplicates, no key in two hands, failures further and further apart, one timer for all."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import AsyncIterator

from ascend_jobs.cluster.store import Key
from ascend_jobs.metrics import Metrics

_FIRST, _LONGEST = 0.25, 300.0
"""Seconds before a key that failed once, and at most, is tried again; doubled at each failure, with jitter."""
_IMPATIENT = 10.0
"""Seconds after a failure from which news of the key (a new spec, say) end the wait."""


_PAUSES = 10_000
"""Pauses that are remembered before those that are over are forgotten."""
_BREATH = 1.0
"""Seconds that events of a key wait at most after its last pass."""


class WorkQueue:
    """Keys that want a pass. A key that is added while it is worked on is handed out again afterwards."""

    def __init__(self, metrics: Metrics) -> None:
        """Make an empty queue; its methods need a running loop."""
        self._metrics = metrics
        self._ready: asyncio.Queue[Key | None] = asyncio.Queue()
        self._since: dict[Key, float] = {}
        self._working: dict[Key, float] = {}
        self._dirty: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failures: dict[Key, int] = {}
        self._not_before: dict[Key, float] = {}
        self._closed = False
        metrics.queue_depth.set_function(lambda: len(self._since))

    def add(self, key: Key) -> None:
        """Ask for a pass: at once, or as soon as a key may be tried that failed or had its pass just now."""
        if self._closed or key in self._since:
            return
        wait = self._not_before.get(key, 0.0) - _now()
        if key in self._working:
            self._dirty.add(key)
        elif wait > 0:
            self.add_after(key, wait)
        else:
            self._since[key] = _now()
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a pass in a while; the earlier of two times counts."""
        moment = _now() + seconds
        if not self._closed and moment < self._due.get(key, float("inf")):
            self._due[key] = moment
            heapq.heappush(self._heap, (moment, key))
            self._arm()

    async def __aiter__(self) -> AsyncIterator[Key]:
        """Hand out keys until the queue is closed; each has to be given back by done() or retry()."""
        while True:
            key = await self._ready.get()
            if key is None or self._closed:
                self._ready.put_nowait(None)  # for the next worker
                return
            self._metrics.queue_seconds.observe(_now() - self._since.pop(key))
            self._due.pop(key, None)
            self._not_before.pop(key, None)
            self._working[key] = _now()
            yield key

    def done(self, key: Key, requeue_after: float | None) -> None:
        """Give a key back after a pass that went well; None: wait for events.

        Events of a key wait as long as its last pass took, so a job of 5,000 pods, whose pass is long and whose events
        are many, leaves half of the time to others; a time that the pass itself asked for is kept.
        """
        self._failures.pop(key, None)
        now = _now()
        self._not_before[key] = now + min(_BREATH, now - self._working.get(key, now))
        self._give_back(key, requeue_after)

    def retry(self, key: Key) -> None:
        """Give a key back after a pass that failed."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(_LONGEST, _FIRST * 2 ** min(failures - 1, 20)) * random.uniform(0.5, 1.0)
        self._not_before[key] = _now() + min(pause, _IMPATIENT)
        self._give_back(key, pause)

    def oldest_age(self) -> float:
        """Return for how many seconds the oldest key has waited, 0 when none waits."""
        oldest = next(iter(self._since.values()), None)
        return 0.0 if oldest is None else _now() - oldest

    def close(self) -> None:
        """Hand out nothing more; keys in work may still be given back."""
        self._closed = True
        self._ready.put_nowait(None)
        if self._timer is not None:
            self._timer.cancel()

    def _give_back(self, key: Key, seconds: float | None) -> None:
        self._working.pop(key, None)
        if seconds is not None:
            self.add_after(key, seconds)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def _arm(self) -> None:
        """Set the timer to the first moment of the heap."""
        if self._timer is not None:
            self._timer.cancel()
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._ring)

    def _ring(self) -> None:
        """Add the keys whose moment has come."""
        while self._heap and self._heap[0][0] <= _now():
            moment, key = heapq.heappop(self._heap)
            if self._due.get(key) == moment:
                del self._due[key]
                self._not_before.pop(key, None)
                self.add(key)
        self._arm()
        self._forget_past()

    def _forget_past(self) -> None:
        """Forget pauses that are over, of jobs that may be gone."""
        if len(self._not_before) > _PAUSES:
            now = _now()
            self._not_before = {key: moment for key, moment in self._not_before.items() if moment > now}


def _now() -> float:
    return asyncio.get_running_loop().time()
