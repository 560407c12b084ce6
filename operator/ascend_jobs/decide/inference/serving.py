"""The heart of a service's pass: versions, replicas, addresses, and whether it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from ascend_jobs.api.conditions import ConditionStatus, ConditionType, Reason, is_true
from ascend_jobs.api.inferenceservice_status import InferenceServiceStatus, Load, RevisionStatus, ScalingStatus
from ascend_jobs.decide.decision import Verdict
from ascend_jobs.decide.inference.canary import decide_canary
from ascend_jobs.decide.inference.candidate import Progress, Stage, engine_failure, hold, inspect, prove, waiting_words
from ascend_jobs.decide.inference.decision import Phase, ServiceDecision, stalled
from ascend_jobs.decide.inference.exposure import opens, probe_targets, scrape_targets, service_actions
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.probes import PUBLIC, told_probe
from ascend_jobs.decide.inference.proxies import proxy_actions, proxy_note, proxy_targets, proxy_verdict
from ascend_jobs.decide.inference.ranktables import decide_rank_tables
from ascend_jobs.decide.inference.revisions import give_up, new_candidate
from ascend_jobs.decide.inference.scaling import decide_scaling, load_of, telling, told_load
from ascend_jobs.decide.inference.sources import NoSource, find_source
from ascend_jobs.decide.inference.workloads import count, targets, workload_actions
from ascend_jobs.decide.plan import Event
from ascend_jobs.desired.inference.source import Source

_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
_LATE_PROBES = 3.0
"""Intervals after which an answer is too old to call the service Ready."""


def decide_serving(observed: ServiceObserved) -> ServiceDecision:
    """Return what a service needs now."""
    source = find_source(observed)
    if isinstance(source, NoSource):
        return _without_source(observed, source)
    status, recorded = new_candidate(observed, source)
    if recorded is not None:
        message = f"revision {recorded.revision.number} is recorded"
        phase = Phase.STARTING if status.revision is None else Phase.UPDATING
        return ServiceDecision(
            status, phase, Reason.REVISION_RECORDED, message, recorded.actions, (recorded.event,), requeue_after=0.0
        )
    progress = _progress(observed, source, status)
    if progress is not None and progress.failure is not None:
        return _given_up(observed, status.evolve(candidate=progress.revision), progress)
    if progress is not None:
        status = status.evolve(candidate=progress.revision)
    return _served(observed, status, progress)


def _progress(observed: ServiceObserved, source: Source, status: InferenceServiceStatus) -> Progress | None:
    if status.candidate is None:
        return None
    looked = inspect(observed, source, status.candidate)
    if looked is not None:
        return looked
    idle = _scale(observed, status).scaling.desired == 0
    return (
        hold(status.candidate)
        if idle and not _is_proven(observed, status.candidate)
        else prove(observed, status.candidate)
    )


def _is_proven(observed: ServiceObserved, revision: RevisionStatus) -> bool:
    gated = observed.gate is None or revision.gate_time is not None
    return revision.answered_time is not None and gated


@dataclass(frozen=True)
class _Scale:
    """The load, and the replicas that it, the spec or a schedule ask for."""

    load: Load | None
    scaling: ScalingStatus
    events: tuple[Event, ...]
    after: float | None


def _scale(observed: ServiceObserved, status: InferenceServiceStatus) -> _Scale:
    live = [r for r in (status.revision, status.candidate) if r is not None]
    pods = [pod.name for r in live for pod in observed.servers(r.number)]
    return _Scale(load_of(observed, pods), *decide_scaling(observed, load_of(observed, pods), telling(observed, pods)))


def freeze(observed: ServiceObserved, decision: ServiceDecision) -> ServiceDecision:
    """Return `decision` of a spec that cannot be followed; what serves is asked on, and its ranks stay together."""
    status = observed.service.status
    if status.revision is None:
        return decision
    live = (status.revision, status.candidate, status.canary_revision)
    ready = sum(count(observed, revision).ready for revision in live[:2])
    tables = decide_rank_tables(observed, live)
    return replace(
        decision,
        actions=tables.actions,
        events=(*decision.events, *tables.events),
        verdicts={ConditionType.READY: _ready(observed, status, ready), ConditionType.RANK_TABLE_READY: tables.verdict},
        probes=probe_targets(observed, status, public=ready > 0),
        scrapes=(*proxy_targets(observed), *scrape_targets(observed, live[:2])),
    )


def _without_source(observed: ServiceObserved, none: NoSource) -> ServiceDecision:
    """Go on with what is served already; a service that serves nothing yet waits."""
    status = observed.service.status
    verdict = {ConditionType.MODEL_READY: Verdict(_FALSE, none.reason, none.message)}
    left = status.evolve(candidate=None)
    if status.revision is not None:
        return _served(observed, left, None, note=none.message)
    if none.stalled:
        decision = stalled(left, none.reason, none.message, 300.0)
    else:
        decision = ServiceDecision(left, Phase.PENDING, none.reason, none.message)
    return replace(decision, actions=workload_actions(observed, left, {}), verdicts=verdict)


def _given_up(observed: ServiceObserved, status: InferenceServiceStatus, progress: Progress) -> ServiceDecision:
    reason, message = progress.failure or (progress.reason, progress.message)
    left, event = give_up(observed, status, reason, message)
    if left.revision is not None:
        served = _served(observed, left, None)
        return replace(served, events=(*served.events, event), requeue_after=0.0)
    decision = _unserved(observed, left)
    return replace(decision, events=(event,))


def _unserved(observed: ServiceObserved, status: InferenceServiceStatus) -> ServiceDecision:
    """Stall on a first version that was given up; nothing of it is kept running."""
    failed = status.failed_revision
    assert failed is not None
    actions = workload_actions(observed, status, {})
    decision = stalled(status, failed.reason, f"revision {failed.number}: {failed.message}", None)
    wrong_model = failed.reason not in (Reason.START_DEADLINE_EXCEEDED, Reason.ENGINE_FAILED)
    verdicts = {ConditionType.MODEL_READY: Verdict(_FALSE, failed.reason, failed.message)} if wrong_model else {}
    return replace(decision, actions=actions, verdicts=verdicts)


@dataclass(frozen=True)
class _Step:
    """Replica counts of this pass."""

    wanted: int
    ready: int
    old: int
    new: int


def _served(
    observed: ServiceObserved, status: InferenceServiceStatus, progress: Progress | None, note: str = ""
) -> ServiceDecision:
    if status.revision is None and status.candidate is None:
        return _unserved(observed, status)
    alone = status.revision is None
    live = [r for r in (status.revision, status.candidate) if r is not None]
    scale = _scale(observed, status)
    scaling = scale.scaling
    stage = progress.stage if progress else None
    old, new = count(observed, status.revision), count(observed, status.candidate)
    step = targets(observed.service.spec.rollout, scaling.desired, old, new, stage, alone=alone)
    status = status.evolve(load=told_load(observed, scale.load, scaling), scaling=scaling)
    status, done = _promoted(observed, status, progress, scaling.desired)
    stage = None if done else stage
    wanted = {}
    if status.revision is not None:
        wanted[status.revision.number] = scaling.desired if done else step[0]
    if status.candidate is not None:
        wanted[status.candidate.number] = step[1]
    canary = decide_canary(observed, status)
    status = canary.status
    services = service_actions(observed, status, stage)
    if stage is Stage.SHIFTING and status.revision is not None and opens(services, observed.service.base):
        wanted[status.revision.number] = max(step[0], min(old.present, scaling.desired))
    public = status.revision is not None and old.ready + new.ready > 0
    tables = decide_rank_tables(observed, (*live, status.canary_revision))
    waits = (scale.after, progress.requeue_after if progress else None, tables.requeue_after, canary.requeue_after)
    note = "; ".join(words for words in (note, canary.note, proxy_note(observed)) if words)
    counts = _Step(scaling.desired, old.ready + new.ready, *step)
    decision = _verdict(observed, status, None if done else progress, counts, note)
    return replace(
        decision,
        actions=(
            *(progress.actions if progress else ()),
            *canary.actions,
            *services,
            *workload_actions(observed, status, {**wanted, **canary.replicas}),
            *tables.actions,
            *proxy_actions(observed, status.revision or status.candidate, canary.share, scaling.desired),
        ),
        events=(*scale.events, *done, *tables.events, *canary.events),
        verdicts={**decision.verdicts, ConditionType.RANK_TABLE_READY: tables.verdict},
        requeue_after=min((t for t in waits if t is not None), default=None),
        probes=probe_targets(observed, status, public=public),
        scrapes=(*proxy_targets(observed), *scrape_targets(observed, (status.revision, status.candidate))),
    )


def _promoted(
    observed: ServiceObserved, status: InferenceServiceStatus, progress: Progress | None, wanted: int
) -> tuple[InferenceServiceStatus, tuple[Event, ...]]:
    """Let the candidate be the version that serves: the first when it answered, a later one when it stands alone."""
    candidate = status.candidate
    if candidate is None or progress is None:
        return status, ()
    shifting = progress.stage is Stage.SHIFTING
    complete = count(observed, candidate).ready >= wanted and count(observed, status.revision).present == 0
    if shifting and (status.revision is None or complete):
        event = Event(Reason.ROLLED_OUT, f"revision {candidate.number} serves: {candidate.model}")
        return status.evolve(revision=candidate, candidate=None), (event,)
    return status, ()


def _verdict(
    observed: ServiceObserved, status: InferenceServiceStatus, progress: Progress | None, step: _Step, note: str
) -> ServiceDecision:
    verdicts = {ConditionType.PROGRESSING: _progressing(status, progress)}
    serving = status.revision or status.candidate
    if serving is not None and serving.inspected is not None:
        words = f"{serving.inspected.architecture}, {serving.inspected.parameters / 1e9:.2f} billion weights"
        verdicts[ConditionType.MODEL_READY] = Verdict(_TRUE, Reason.MODEL_READY, words)
    if step.wanted == 0:
        message = f"no replicas are wanted: {status.scaling.reason}"
        return ServiceDecision(status, Phase.SCALED_TO_ZERO, Reason.SCALED_TO_ZERO, message, verdicts=verdicts)
    ready = _ready(observed, status, step.ready)
    verdicts[ConditionType.READY] = ready
    answers = ready.status is _TRUE
    if progress is not None:
        phase = Phase.UPDATING if status.revision is not None else Phase.STARTING
        return ServiceDecision(status, phase, progress.reason, progress.message, verdicts=verdicts)
    if not answers:
        phase = Phase.DEGRADED if status.ready_time else Phase.STARTING
        return ServiceDecision(status, phase, ready.reason, ready.message, verdicts=verdicts)
    if step.ready < step.wanted:
        message = f"{step.ready} of {step.wanted} replicas are ready; {_lacking(observed, status)}"
        return ServiceDecision(status, Phase.DEGRADED, Reason.DEGRADED, message, verdicts=verdicts)
    message = "; ".join(words for words in (ready.message, _failed_words(status), note) if words)
    return ServiceDecision(status, Phase.READY, Reason.ANSWERED, message, verdicts=verdicts)


def _ready(observed: ServiceObserved, status: InferenceServiceStatus, ready: int) -> Verdict:
    """Ready is what has answered lately, with a pod behind it; `ready` replicas take requests."""
    if status.revision is None or ready == 0:
        return Verdict(_FALSE, Reason.STARTING, _lacking(observed, status))
    shut = proxy_verdict(observed)
    if shut is not None:
        return shut
    probe, every = observed.probes.get(PUBLIC), observed.service.spec.probe.every_seconds
    if probe is None:
        if is_true(status.conditions, ConditionType.READY) and status.probe is not None and status.probe.answered:
            fresh = observed.now - status.probe.time <= timedelta(seconds=_LATE_PROBES * every + 30)
            if fresh:
                return Verdict(
                    _TRUE,
                    Reason.ANSWERED,
                    _answer(status.probe.first_token_milliseconds, status.probe.tokens_per_second),
                )
        return Verdict(_FALSE, Reason.NOT_ANSWERED, "no completion has been asked for yet")
    told = told_probe(observed) or status.probe
    assert told is not None
    if not probe.answered:
        return Verdict(_FALSE, Reason.NOT_ANSWERED, f"{told.failures} failed in a row: {told.message}")
    return Verdict(_TRUE, Reason.ANSWERED, _answer(told.first_token_milliseconds, told.tokens_per_second))


def _answer(first: float | None, speed: float | None) -> str:
    told = f"first token after {first:.0f} ms" if first is not None else "answered"
    return f"{told}, {speed:.1f} tokens/s" if speed is not None else told


def _progressing(status: InferenceServiceStatus, progress: Progress | None) -> Verdict:
    if progress is not None:
        return Verdict(_TRUE, progress.reason, progress.message)
    if status.failed_revision is not None:
        return Verdict(_FALSE, Reason.ROLLOUT_FAILED, _failed_words(status))
    return Verdict(_FALSE, Reason.ROLLED_OUT, f"revision {status.revision.number}" if status.revision else "")


def _failed_words(status: InferenceServiceStatus) -> str:
    failed = status.failed_revision
    return f"revision {failed.number} was given up ({failed.reason}): {failed.message}" if failed else ""


def _lacking(observed: ServiceObserved, status: InferenceServiceStatus) -> str:
    serving = status.revision or status.candidate
    if serving is None:
        return "nothing is served"
    pods = observed.servers(serving.number)
    broken = next((found for pod in pods if (found := engine_failure(pod)) is not None), None)
    return broken[1] if broken else waiting_words(pods, serving)[1]
