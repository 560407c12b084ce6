"""What a pass works with, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.capacity import Capacity
from ascend_jobs.cluster.client import Api
from ascend_jobs.cluster.clock import Clock, utc_now
from ascend_jobs.cluster.events import Recorder
from ascend_jobs.cluster.prober import Prober
from ascend_jobs.cluster.progress import Followers
from ascend_jobs.cluster.scraper import Scraper
from ascend_jobs.decide.observed import Defaults
from ascend_jobs.metrics import Metrics


@dataclass(frozen=True)
class Cluster:
    """The API server, what was seen of it, and the helpers that read and write it."""

    api: Api
    cache: Cache
    followers: Followers
    prober: Prober
    scraper: Scraper
    recorder: Recorder
    metrics: Metrics
    capacity: Capacity | None = None
    """None where nodes and foreign pods cannot be read (namespaced mode)."""
    defaults: Defaults = field(default_factory=Defaults)
    clock: Clock = utc_now
