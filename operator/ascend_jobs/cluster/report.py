"""The end of a pass: status if it changed, then the events that announce it, then metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from time import monotonic
from typing import Any

import orjson

from ascend_jobs.cluster.act import outdated_or
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import JOBS
from ascend_jobs.decide.plan import Manifest, Plan
from ascend_jobs.errors import ApiError


async def report(cluster: Cluster, key: Key, body: Manifest, decided: Plan, now: datetime) -> None:
    """Write what was decided about a job as it was observed (`body`); raises Outdated when that is not the newest."""
    before: Mapping[str, Any] = body.get("status") or {}
    after: Mapping[str, Any] = before if decided.status is None else orjson.loads(orjson.dumps(decided.status))
    if after != before:
        await _write(cluster, key, body, merge_patch(before, after))
    await cluster.recorder.post(body, decided.events, now)
    _measure(cluster, body["metadata"]["uid"], before, after)


async def _write(cluster: Cluster, key: Key, body: Manifest, patch: Mapping[str, Any]) -> None:
    meta = body["metadata"]
    guarded = {"metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}, "status": patch}
    try:
        answer = await cluster.api.patch(JOBS[key.kind], key.namespace, key.name, guarded, status=True)
    except ApiError as error:
        if error.status == 404:
            cluster.cache.jobs[key.kind].drop(meta["uid"])
        raise outdated_or(error, key.name) from error
    cluster.cache.jobs[key.kind].seen(answer, written=True)


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7396) that makes `after` out of `before`: what vanished becomes null."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := merge_patch(old, value):
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch


def _measure(cluster: Cluster, uid: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Measure, once a version, how long the rank table took from the last device report on."""
    old, new = before.get("rankTable") or {}, after.get("rankTable") or {}
    reported = cluster.cache.last_report(uid)
    if reported is None:
        return
    if new.get("sha256") and new.get("sha256") != old.get("sha256"):
        cluster.metrics.rank_table_seconds.labels("published").observe(monotonic() - reported)
    if new.get("readyTime") and new.get("readyTime") != old.get("readyTime"):
        cluster.metrics.rank_table_seconds.labels("ready").observe(monotonic() - reported)
