"""A Cluster over a fake API, and a job in it."""

from __future__ import annotations

from typing import Any

from ascend_jobs import names
from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.events import Recorder
from ascend_jobs.cluster.prober import Prober
from ascend_jobs.cluster.progress import Followers
from ascend_jobs.cluster.reach import DirectReach
from ascend_jobs.cluster.scraper import Scraper
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import JOBS
from ascend_jobs.metrics import Metrics
from builders import NOW, make_body
from fake_api import FakeApi

KEY = Key(names.FINE_TUNE_SHORT, "team-a", "faq")
FTJ = JOBS[names.FINE_TUNE_SHORT]


def make_cluster(api: FakeApi, **parts: Any) -> Cluster:
    """A cluster whose cache wakes nobody."""
    metrics = Metrics()
    values: dict[str, Any] = {
        "api": api,
        "cache": Cache(lambda _: None),
        "followers": Followers(api, lambda _: None, metrics, pauses=(0.0, 0.0)),
        "prober": Prober(DirectReach(), lambda _: None, lambda: NOW),
        "scraper": Scraper(DirectReach(), lambda _: None, lambda: NOW),
        "recorder": Recorder(api),
        "metrics": metrics,
        "clock": lambda: NOW,
    }
    return Cluster(**{**values, **parts})


def put_job(cluster: Cluster, **status: Any) -> dict[str, Any]:
    """Put job faq into the API and the cache; return it."""
    api: Any = cluster.api
    api.add(FTJ, KEY.namespace, make_body())
    body = api.change(FTJ, KEY.namespace, KEY.name, {"status": status}, status=True) if status else api.all(FTJ)[0]
    cluster.cache.jobs[KEY.kind].seen(body)
    found: dict[str, Any] = body
    return found


def child(name: str, uid: str, **spec: Any) -> dict[str, Any]:
    """The manifest of a child of the job with this uid."""
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": names.FINE_TUNE_JOB,
        "name": "faq",
        "uid": uid,
        "controller": True,
    }
    labels = {names.JOB_UID: uid, names.JOB_NAME: "faq", names.JOB_KIND: names.FINE_TUNE_SHORT}
    return {"metadata": {"name": name, "labels": labels, "ownerReferences": [owner]}, "spec": spec}
