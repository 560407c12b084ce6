"""The second version of spec.canary: how far it is, and the part of the requests that it gets.

It is recorded, looked at, started and asked as a version that is to take over is, but in pods of its own and with its
own Service; nothing of it is in the proxy's configuration before it has answered. It gets no requests again while it
does not answer, and the proxy itself turns to the first version at once when it cannot be reached. When it goes, the
proxies forget it first, and its pods stay until every proxy that still knew it has ended its last request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ascend_jobs import names
from ascend_jobs.api.conditions import Reason
from ascend_jobs.api.inferenceservice import Canary
from ascend_jobs.api.inferenceservice_status import (
    CanaryStatus,
    FailedRevision,
    InferenceServiceStatus,
    RevisionStatus,
    VersionTraffic,
)
from ascend_jobs.decide.inference.candidate import Stage, inspect, probe_name, prove, waiting_words
from ascend_jobs.decide.inference.observed import ServiceObserved, TrafficView
from ascend_jobs.decide.inference.proxies import is_everywhere, is_proxied, proxies, service_address
from ascend_jobs.decide.inference.revisions import record, record_of
from ascend_jobs.decide.inference.sources import NoSource, find_source
from ascend_jobs.decide.inference.workloads import count
from ascend_jobs.decide.plan import Action, Delete, Event, Kind
from ascend_jobs.desired.inference.pods import revision_service
from ascend_jobs.desired.inference.proxyconfig import Share, Upstream
from ascend_jobs.desired.inference.source import Source, input_digest

_MOST_FAILURES = 3
"""Completions in a row that may fail before a canary that has answered gets no more requests."""
_TIMES = 1024
"""Requests that HAProxy's means are taken over (configuration.txt, TIME_STATS_SAMPLES)."""


@dataclass(frozen=True)
class CanaryStep:
    """What a pass does about the canary: status with it, its replicas by number, its part of the requests."""

    status: InferenceServiceStatus
    replicas: Mapping[int, int] = field(default_factory=dict)
    share: Share | None = None
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None

    @property
    def note(self) -> str:
        """What people are told beside the service's own message."""
        message = self.status.canary.message if self.status.canary else ""
        return f"canary: {message}" if message else ""


def decide_canary(observed: ServiceObserved, status: InferenceServiceStatus) -> CanaryStep:
    """Return what the canary needs now."""
    wanted, there = observed.service.spec.canary, status.canary_revision
    if wanted is None:
        return _leaving(observed, status, None) if there else CanaryStep(status.evolve(canary=None))
    source = find_source(observed, canary=True)
    if isinstance(source, NoSource):
        return _without(observed, status, source.message)
    digest = input_digest(observed.service, source, names.TRACK_CANARY)
    failed = status.canary.failed if status.canary else None
    if failed is not None and failed.input_sha256 == digest:
        message = f"revision {failed.number} was given up ({failed.reason}): {failed.message}"
        return _without(observed, status, message, failed)
    if there is not None and there.input_sha256 != digest:
        return _leaving(observed, status, CanaryStatus(message="another version takes its place"))
    if there is not None and record_of(observed, there) is not None:
        return _brought(observed, status, source, wanted, there)
    if status.revision is None:
        return _without(observed, status, "waits until the first version serves")
    made = record(observed, source, digest, names.TRACK_CANARY)
    number = made.revision.number
    told = CanaryStatus(message=f"revision {number} is recorded")
    recorded = status.evolve(canary_revision=made.revision, last_revision=number, canary=told)
    return CanaryStep(recorded, actions=made.actions, events=(made.event,), requeue_after=0.0)


def _without(
    observed: ServiceObserved, status: InferenceServiceStatus, message: str, failed: FailedRevision | None = None
) -> CanaryStep:
    told = CanaryStatus(message=message[:512], failed=failed)
    if status.canary_revision is not None:
        return _leaving(observed, status, told)
    return CanaryStep(status.evolve(canary=told))


def _brought(
    observed: ServiceObserved, status: InferenceServiceStatus, source: Source, wanted: Canary, there: RevisionStatus
) -> CanaryStep:
    """Bring a canary a step on until it has answered, then let it have its part."""
    probe = observed.probes.get(probe_name(there))
    if there.answered_time is None and not (probe is not None and probe.answered):
        return _proving(observed, status, source, wanted, there)
    events: tuple[Event, ...] = ()
    if there.answered_time is None:
        there = there.evolve(answered_time=observed.now)
        told = f"revision {there.number} has answered and gets {wanted.weight} % of the requests"
        events = (Event(Reason.CANARY_SERVING, told),)
    mute = probe is not None and probe.failures >= _MOST_FAILURES
    share = _share(observed, wanted, there, mute=mute)
    ready = count(observed, there).ready > 0
    took_over = is_proxied(observed) and is_everywhere(observed, status.revision, share)
    message = ""
    if mute and probe is not None:
        message = f"{probe.failures} completions failed in a row: {probe.message}"
    elif not ready:
        message = waiting_words(observed.servers(there.number), there)[1]
    elif not took_over:
        message = "its part of the requests is on its way to the proxies"
    if mute and status.canary is not None and not status.canary.message:
        events = (Event(Reason.CANARY_FAILED, f"revision {there.number} gets no requests: {message}", warning=True),)
    weight = share.weight if share and ready and took_over else 0
    told_of = _counted(observed, CanaryStatus(weight=weight, message=message[:512]))
    served = status.evolve(canary_revision=there, canary=told_of)
    return CanaryStep(served, {there.number: wanted.replicas}, share, events=events)


def _share(observed: ServiceObserved, wanted: Canary, there: RevisionStatus, *, mute: bool) -> Share | None:
    """Return the canary's part; None while its Service has no address."""
    address = service_address(observed, revision_service(observed.service, there.number))
    if not address:
        return None
    return Share(Upstream(address, there.port), 0 if mute else wanted.weight, wanted.sticky_header)


def _proving(
    observed: ServiceObserved, status: InferenceServiceStatus, source: Source, wanted: Canary, there: RevisionStatus
) -> CanaryStep:
    progress = inspect(observed, source, there) or prove(observed, there)
    if progress.failure is not None:
        return _given_up(observed, status, progress.revision, *progress.failure)
    told = CanaryStatus(message=progress.message[:512])
    replicas = 0 if progress.stage is Stage.INSPECTING else wanted.replicas
    return CanaryStep(
        status.evolve(canary_revision=progress.revision, canary=told),
        {there.number: replicas},
        actions=progress.actions,
        requeue_after=progress.requeue_after,
    )


def _given_up(
    observed: ServiceObserved, status: InferenceServiceStatus, there: RevisionStatus, reason: str, message: str
) -> CanaryStep:
    failed = FailedRevision(
        number=there.number,
        input_sha256=there.input_sha256,
        reason=reason,
        message=message[:1024],
        time=observed.now,
    )
    words = f"revision {there.number} was given up ({reason}): {message}"
    left = status.evolve(canary_revision=None, canary=CanaryStatus(message=words[:512], failed=failed))
    event = Event(Reason.CANARY_FAILED, f"canary: {words}", warning=True)
    return CanaryStep(left, actions=_looks(observed, there), events=(event,))


def _leaving(observed: ServiceObserved, status: InferenceServiceStatus, told: CanaryStatus | None) -> CanaryStep:
    """Keep a canary's pods until no proxy knows it any more, then let it go; `told` is said while one is wanted."""
    there = status.canary_revision
    assert there is not None
    if there.answered_time is None or is_everywhere(observed, status.revision, None):
        event = Event(Reason.CANARY_REMOVED, f"revision {there.number} gets no requests any more; its pods go")
        gone = status.evolve(canary_revision=None, canary=told)
        return CanaryStep(gone, actions=_looks(observed, there), events=(event,), requeue_after=0.0)
    drains = (told or CanaryStatus()).evolve(message=f"revision {there.number} ends its last requests")
    kept = max(1, count(observed, there).present)
    return CanaryStep(status.evolve(canary=_counted(observed, drains)), {there.number: kept})


def _looks(observed: ServiceObserved, there: RevisionStatus) -> tuple[Action, ...]:
    """Return the removal of the pods that looked at the model: a canary that comes back is looked at anew."""
    done = (p for p in observed.pods if p.role == names.ROLE_INSPECT and p.revision == there.number and not p.deleting)
    return tuple(Delete(Kind.POD, pod.name, pod.uid) for pod in done)


def _counted(observed: ServiceObserved, told: CanaryStatus) -> CanaryStatus:
    """Return the status with what the proxies counted, over all that serve."""
    loads = [observed.loads[p.name] for p in proxies(observed, ready=True) if p.name in observed.loads]
    found = {
        track: _summed(tuple(load.traffic[track] for load in loads if track in load.traffic))
        for track in (names.TRACK_STABLE, names.TRACK_CANARY)
    }
    return told.evolve(stable=found[names.TRACK_STABLE], canary=found[names.TRACK_CANARY])


def _summed(views: tuple[TrafficView, ...]) -> VersionTraffic:
    requests = sum(view.requests for view in views)
    errors = min(requests, sum(view.errors for view in views))
    timed = [replace(view, requests=min(view.requests, _TIMES)) for view in views]
    samples = sum(view.requests for view in timed)
    return VersionTraffic(
        requests=requests,
        errors=errors,
        error_rate=round(errors / requests, 4) if requests else 0.0,
        average_milliseconds=round(sum(v.milliseconds * v.requests for v in timed) / samples, 1) if samples else None,
    )
