"""What ended a pod, whose fault it was, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ascend_jobs import names
from ascend_jobs.api.conditions import Reason
from ascend_jobs.api.finetunejob_status import LastFailure, Restarts
from ascend_jobs.decide.observed import ContainerView, Observed, PodPhase, PodView
from ascend_jobs.decide.words import last_words, reason_of

_PLATFORM_REASONS = frozenset(
    {
        "Evicted",
        "NodeLost",
        "Preempting",
        "NodeShutdown",
        "Terminated",
        "Shutdown",
        "UnexpectedAdmissionError",
        "TopologyAffinityError",
        "NodeAffinity",
    }
)
"""Pod reasons (PodStatus.reason) of the kubelet and the pod garbage collector that are nobody's program."""
_MESSAGE_LENGTH = 1000
_CAUSE_SECONDS = 10.0
"""How long a failed pod that caused the others' ends may take to reach the API server, its kubelet being alive."""
_LONGEST_PLATFORM_DELAY = 60.0
_FIRST_DELAY, _LONGEST_DELAY = 10.0, 360.0
"""Seconds before the attempt after a program failure, doubled each time: as the Job controller does."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt cannot go on.

    `platform`: not the program's fault; `fatal`: no retry helps; `symptom`: the cause is in another pod.
    """

    reason: str
    message: str
    pod: PodView | None = None
    exit_code: int | None = None
    platform: bool = False
    fatal: bool = False
    symptom: bool = False

    def record(self, observed: Observed) -> LastFailure:
        """Return the failure as the status keeps it."""
        return LastFailure(
            reason=self.reason,
            message=self.message[:_MESSAGE_LENGTH],
            pod=self.pod.name if self.pod else "",
            node=self.pod.node if self.pod else "",
            exit_code=self.exit_code,
            time=observed.now,
        )


def unready_nodes(observed: Observed) -> frozenset[str]:
    """Return the names of the nodes that are not Ready; once a pass, for every pod asks."""
    return frozenset(node.name for node in observed.nodes if not node.ready)


def pod_failure(pod: PodView, unready: frozenset[str]) -> Failure | None:
    """Return what is wrong with a pod, given the nodes that are not Ready; None while it runs, waits or ended well."""
    if pod.phase is PodPhase.SUCCEEDED:
        return None
    if pod.deleting or pod.disrupted:
        return Failure(Reason.POD_LOST, f"{pod.name} was {_how_lost(pod)}", pod, platform=True)
    if pod.phase is PodPhase.FAILED:
        return _ended(pod)
    if pod.node in unready:
        return Failure(Reason.NODE_NOT_READY, f"node {pod.node} of {pod.name} is not Ready", pod, platform=True)
    return None


def worst(failures: Sequence[Failure]) -> Failure | None:
    """Return the failure that decides: one that no retry mends, else one of the platform, else the lowest rank's.

    When one pod goes away, the others soon end for want of it; these come last.
    """
    ranked = sorted(failures, key=lambda f: (not f.fatal, f.symptom, not f.platform, f.pod.index if f.pod else -1))
    return ranked[0] if ranked else None


def cause_is_due(observed: Observed, failure: Failure) -> float:
    """Return seconds to wait for the pod that caused a symptom to show; 0 when there is nothing to wait for."""
    ends = [c.ended for c in failure.pod.containers if c.ended] if failure.symptom and failure.pod else []
    if not ends:
        return 0.0
    return max(0.0, _CAUSE_SECONDS - (observed.now - max(ends)).total_seconds())


def restarts_after(restarts: Restarts, failure: Failure) -> Restarts:
    """Return the counters with one more restart of the failure's kind."""
    if failure.platform:
        return restarts.evolve(platform=restarts.platform + 1)
    return restarts.evolve(program=restarts.program + 1)


def limit_reached(observed: Observed, failure: Failure) -> Reason | None:
    """Return the reason to give up, None while another attempt is allowed."""
    restarts, spec = observed.job.status.restarts, observed.job.spec
    if failure.fatal:
        return Reason.INVALID_INPUT
    if failure.platform and restarts.platform >= spec.fault_policy.platform_backoff_limit:
        return Reason.PLATFORM_BACKOFF_LIMIT_EXCEEDED
    if not failure.platform and restarts.program >= spec.backoff_limit:
        return Reason.BACKOFF_LIMIT_EXCEEDED
    return None


def delay_left(observed: Observed) -> float:
    """Return seconds until the next attempt may start.

    After a failure of the program as the Job controller has it; after the first fault of the platform none, later ones
    wait too, lest a node that refuses every pod spends the whole budget in seconds.
    """
    failure, restarts = observed.job.status.last_failure, observed.job.status.restarts
    if failure is None:
        return 0.0
    by_program = failure.reason == Reason.POD_FAILED
    number = restarts.program if by_program else restarts.platform - 1
    if number < 1:
        return 0.0
    delay = min(_FIRST_DELAY * 2 ** min(number - 1, 10), _LONGEST_DELAY if by_program else _LONGEST_PLATFORM_DELAY)
    return max(0.0, (failure.time + timedelta(seconds=delay) - observed.now).total_seconds())


def _how_lost(pod: PodView) -> str:
    if pod.disrupted:
        return f"taken away by the cluster ({pod.reason or 'DisruptionTarget'}: {pod.message or 'no message'})"
    return "deleted"


def _ended(pod: PodView) -> Failure:
    broken = _broken(pod)
    if pod.reason in _PLATFORM_REASONS or pod.reason.startswith("OutOf") or not pod.containers:
        return Failure(Reason.POD_LOST, f"{pod.name}: {pod.reason}: {pod.message}", pod, platform=True)
    if broken is None:
        return Failure(Reason.POD_FAILED, f"{pod.name}: {pod.reason or 'failed'} {pod.message}".strip(), pod)
    words = last_words(broken)
    sentence = str(words.get("message") or broken.exit_reason or "no message")
    if broken.exit_code == names.EXIT_INVALID_INPUT:
        reason, field = reason_of(words, Reason.INVALID_INPUT), words.get("field")
        return Failure(reason, f"{field}: {sentence}" if field else sentence, pod, broken.exit_code, fatal=True)
    if broken.exit_code == names.EXIT_FENCED:
        return Failure(Reason.FENCED, f"{pod.name}: {sentence}", pod, broken.exit_code, platform=True)
    if broken.exit_code == names.EXIT_PEER_LOST:
        lost = f"{pod.name}: {sentence}"
        return Failure(Reason.POD_LOST, lost, pod, broken.exit_code, platform=True, symptom=True)
    told = f"{pod.name}: {broken.name} exited with code {broken.exit_code}"
    if broken.exit_reason not in ("", "Error"):
        told += f" ({broken.exit_reason})"
    waited = broken.name == names.CONTAINER_WAIT
    return Failure(Reason.POD_FAILED, f"{told}: {sentence}", pod, broken.exit_code, platform=waited)


def _broken(pod: PodView) -> ContainerView | None:
    """Return the container that failed: ours before a sidecar, which may end as it likes."""
    failed = [c for c in pod.containers if c.exit_code not in (None, 0)]
    ours = (names.CONTAINER_TRAINER, names.CONTAINER_PREPARE, names.CONTAINER_WAIT)
    return min(failed, key=lambda c: ours.index(c.name) if c.name in ours else len(ours), default=None)
