"""What the status tells of the completions that are asked for: news at once, numbers that only move now and then."""

from __future__ import annotations

from ascend_jobs.api.inferenceservice_status import ProbeStatus
from ascend_jobs.decide.inference.observed import ServiceObserved

PUBLIC = "public"
"""What the completions through the public Service are known by."""
_SAME_FAILURE = 30.0
"""Seconds for which the same trouble is not written again; the completions come every 3 s then."""
_SAME_ANSWER = 120.0
"""As much for answers, but well within the three intervals for which a restarted operator believes the last one."""


def told_probe(observed: ServiceObserved) -> ProbeStatus | None:
    """Return the last completion as the status tells it; an object is not written with every answer."""
    view, old = observed.probes.get(PUBLIC), observed.service.status.probe
    if view is None:
        return old
    every = observed.service.spec.probe.every_seconds
    longest = min(_SAME_ANSWER, 2.0 * every + 15.0) if view.answered else _SAME_FAILURE
    if old is not None and old.answered == view.answered and 0 <= (view.time - old.time).total_seconds() < longest:
        return old
    return ProbeStatus(
        time=view.time,
        answered=view.answered,
        message=view.message[:512],
        first_token_milliseconds=view.first_token_milliseconds,
        tokens_per_second=view.tokens_per_second,
        failures=view.failures,
    )
