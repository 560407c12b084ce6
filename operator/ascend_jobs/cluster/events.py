"""Kubernetes Events on jobs. The same words within ten minutes raise the count of one Event."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import structlog

from ascend_jobs import names
from ascend_jobs.api.base import format_time
from ascend_jobs.cluster.client import Api
from ascend_jobs.cluster.verbs import EVENTS
from ascend_jobs.decide.plan import Event, Manifest
from ascend_jobs.errors import ApiError

log = structlog.get_logger()
_TOGETHER = timedelta(minutes=10)
_REMEMBERED = 4096
"""Events of which the count can still be raised, 1 MB; forgetting one costs a second Event with the same words."""
_LONGEST = 1024
"""Characters of a message (Kubernetes API, core/v1 Event validation)."""


@dataclass
class _Posted:
    name: str
    count: int
    last: datetime


class Recorder:
    """Posts Events; a failure is logged and harms nobody."""

    def __init__(self, api: Api) -> None:
        """Take the API; nothing was posted yet."""
        self._api = api
        self._posted: OrderedDict[tuple[str, str, str], _Posted] = OrderedDict()

    async def post(self, job: Manifest, events: Sequence[Event], now: datetime) -> None:
        """Post events on a job, in their order."""
        for event in events:
            try:
                await self._post(job, event, now)
            except ApiError as error:
                log.warning("event not posted", reason=event.reason, error=str(error))

    async def _post(self, job: Manifest, event: Event, now: datetime) -> None:
        same = (job["metadata"]["uid"], event.reason, event.message)
        namespace, known = job["metadata"]["namespace"], self._posted.get(same)
        if known is not None and now - known.last < _TOGETHER and await self._raise_count(namespace, known, now):
            return
        made = _manifest(job, event, now)
        await self._api.create(EVENTS, namespace, made)
        self._posted[same] = _Posted(made["metadata"]["name"], 1, now)
        self._posted.move_to_end(same)
        if len(self._posted) > _REMEMBERED:
            self._posted.popitem(last=False)

    async def _raise_count(self, namespace: str, known: _Posted, now: datetime) -> bool:
        """Raise the count of an Event; say whether it is still there."""
        known.count, known.last = known.count + 1, now
        patch = {"count": known.count, "lastTimestamp": format_time(now)}
        try:
            await self._api.patch(EVENTS, namespace, known.name, patch)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True


def _manifest(job: Manifest, event: Event, now: datetime) -> Manifest:
    """Return a core/v1 Event; its name is the job's with a suffix, as client-go makes it."""
    meta = job["metadata"]
    suffix = sha256(f"{meta['uid']}{event.reason}{event.message}{now.timestamp()}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{suffix}", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": job.get("apiVersion", names.API_VERSION),
            "kind": job.get("kind", names.FINE_TUNE_JOB),
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "message": event.message[:_LONGEST],
        "source": {"component": names.MANAGER},
        "reportingComponent": names.MANAGER,
        "reportingInstance": names.MANAGER,
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "count": 1,
    }
