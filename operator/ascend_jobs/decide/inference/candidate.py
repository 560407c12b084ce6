"""How far a new version is: its model looked at, its pods started, asked, and let through its gate.

INSPECTING  a pod without NPUs looks at the model's files
PROVING     pods run aside of the traffic until a completion came back from them
GATING      the evaluation of spec.rollout.gate asks them
SHIFTING    they take requests; old pods go as new ones come
(given up)  wrong files, an engine that ends again and again, no answer in time
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import Reason
from ascend_jobs.api.inferenceservice import Engine
from ascend_jobs.api.inferenceservice_status import ModelFacts, RevisionStatus
from ascend_jobs.decide.failure import pod_failure
from ascend_jobs.decide.inference.fit import misfit
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.profile import server_settings
from ascend_jobs.decide.observed import ContainerView, PodPhase, PodView
from ascend_jobs.decide.plan import Action, Create, Kind
from ascend_jobs.decide.words import last_words, reason_of
from ascend_jobs.desired.inference.gate import gate_evaluation
from ascend_jobs.desired.inference.pods import engine_input, inspect_pod
from ascend_jobs.desired.inference.source import Source

_MOST_INSPECTIONS = 5
"""Tries of the pod that looks at the model, when nodes take it away."""
_FIRST_PAUSE = 10.0
"""Seconds before the second try, doubled each time."""
_MOST_RESTARTS = 3
"""Restarts of one engine container after which a new version is given up: it does not get better by itself."""
_NPU_SECONDS = 60.0
"""Seconds between looks at a version that waits for free NPUs beyond its deadline; its pods' events come sooner."""


class Stage(Enum):
    """Where a candidate stands."""

    INSPECTING = "inspecting"
    PROVING = "proving"
    GATING = "gating"
    SHIFTING = "shifting"


@dataclass(frozen=True)
class Progress:
    """A candidate's stage, its status as far as it is known now, and what is said and done about it.

    `failure` is (reason, message) when it is to be given up.
    """

    stage: Stage
    revision: RevisionStatus
    reason: str
    message: str
    actions: tuple[Action, ...] = ()
    failure: tuple[str, str] | None = None
    requeue_after: float | None = None


def inspect(observed: ServiceObserved, source: Source, revision: RevisionStatus) -> Progress | None:
    """Bring the look at a candidate's model a step on; None when it is done."""
    if revision.inspected is not None or revision.engine == Engine.CUSTOM:
        return None
    name = names.inspect_name(observed.service.base, revision.number, revision.inspections)
    pod = next((p for p in observed.pods if p.name == name), None)
    pause = _pause_left(observed, revision)
    if pod is None and pause > 0:
        return replace(_inspecting(revision, "looks at the model again soon"), requeue_after=pause)
    if pod is None:
        made = inspect_pod(observed.service, source, revision.number, revision.inspections, server_settings(observed))
        return _inspecting(revision, "makes the pod that looks at the model", Create(Kind.POD, made))
    if pod.phase is PodPhase.SUCCEEDED:
        return _inspected(observed, source, revision, pod)
    failure = pod_failure(pod, frozenset(n.name for n in observed.nodes if not n.ready))
    if failure is None:
        return _inspecting(revision, _where(pod))
    if failure.fatal or revision.inspections >= _MOST_INSPECTIONS:
        return Progress(
            Stage.INSPECTING, revision, failure.reason, failure.message, failure=(failure.reason, failure.message)
        )
    again = revision.evolve(inspections=revision.inspections + 1)
    return Progress(Stage.INSPECTING, again, Reason.INSPECTING, failure.message, requeue_after=0.0)


def _pause_left(observed: ServiceObserved, revision: RevisionStatus) -> float:
    """Return seconds until the model is looked at again: none after a lost pod, more after each that failed."""
    earlier = (p for p in observed.pods if p.role == names.ROLE_INSPECT and p.revision == revision.number)
    ends = [c.ended for pod in earlier for c in pod.containers if c.ended]
    if not revision.inspections or not ends:
        return 0.0
    delay = _FIRST_PAUSE * 2.0 ** (revision.inspections - 1)
    return max(0.0, (max(ends) + timedelta(seconds=delay) - observed.now).total_seconds())


def prove(observed: ServiceObserved, revision: RevisionStatus) -> Progress:
    """Return how far a candidate is whose pods have been asked for."""
    pods = observed.servers(revision.number)
    started = revision.start_time or observed.now
    seen = revision.evolve(start_time=started)
    probe = observed.probes.get(probe_name(revision))
    broken = next((found for pod in pods if (found := engine_failure(pod)) is not None), None)
    if broken is not None:
        return Progress(Stage.PROVING, seen, *broken, failure=broken)
    if revision.answered_time is not None or (probe is not None and probe.answered):
        return _gated(observed, seen.evolve(answered_time=revision.answered_time or observed.now))
    deadline = started + timedelta(seconds=observed.service.spec.probe.start_deadline_seconds)
    left = (deadline - observed.now).total_seconds()
    reason, message = waiting_words(pods, revision)
    if left <= 0 and reason is not Reason.NO_FREE_NPUS:
        late = (Reason.START_DEADLINE_EXCEEDED.value, f"no completion within startDeadlineSeconds; {message}")
        return Progress(Stage.PROVING, seen, *late, failure=late)
    if probe is not None and any(pod.ready for pod in pods):
        message = f"revision {revision.number} is asked: {probe.message}"
    return Progress(Stage.PROVING, seen, reason, message, requeue_after=left if left > 0 else _NPU_SECONDS)


def hold(revision: RevisionStatus) -> Progress:
    """Return that a candidate waits while no replicas are wanted; it is proven when there are some again."""
    message = f"revision {revision.number} is started when replicas are wanted"
    return Progress(Stage.PROVING, revision.evolve(start_time=None, answered_time=None), Reason.PROVING, message)


def _gated(observed: ServiceObserved, revision: RevisionStatus) -> Progress:
    """Return how far a candidate is that has answered; the first version needs its gate too."""
    gate, wanted = observed.gate, observed.service.spec.rollout.gate
    if gate is None or wanted is None or revision.gate_time is not None:
        return Progress(Stage.SHIFTING, revision, Reason.SHIFTING, f"revision {revision.number} takes requests")
    name = f"the gate {wanted.evaluation}"
    if gate.complete and gate.accepted is not False:
        passed = revision.evolve(gate_time=observed.now)
        return Progress(Stage.SHIFTING, passed, Reason.SHIFTING, f"revision {revision.number} passed {name}")
    if gate.complete or gate.failed:
        rejected = (Reason.GATE_FAILED.value, f"{name}: {gate.message}")
        return Progress(Stage.GATING, revision, *rejected, failure=rejected)
    if gate.started:
        return Progress(Stage.GATING, revision, Reason.GATE_RUNNING, f"{name}: {gate.message}")
    if gate.spec is None:
        message = f"spec.rollout.gate.evaluation: waits for EvaluationJob {wanted.evaluation}, which is not there yet"
        return Progress(Stage.GATING, revision, Reason.GATE_RUNNING, message)
    made = Create(Kind.EVALUATION, gate_evaluation(observed.service, revision, gate.spec))
    return Progress(Stage.GATING, revision, Reason.GATE_RUNNING, f"starts {name}", (made,))


def probe_name(revision: RevisionStatus) -> str:
    """Return what the completions asked of a revision alone are known by."""
    return f"revision-{revision.number}"


def engine_failure(pod: PodView) -> tuple[str, str] | None:
    """Return (reason, message) when a pod's engine does not get better by itself."""
    for container in pod.containers:
        words = engine_words(container)
        wrong_input = container.exit_code == names.EXIT_INVALID_INPUT
        if wrong_input or (container.restarts >= _MOST_RESTARTS and not container.running):
            reason = reason_of(words, Reason.ENGINE_FAILED)
            return reason, f"{pod.name}: {container.name} ended {container.restarts + 1} times: {_sentence(words)}"
    return None


def engine_words(container: ContainerView) -> dict[str, Any]:
    """Return the last words of a container that ended, also of its earlier life."""
    return last_words(container)


def waiting_words(pods: tuple[PodView, ...], revision: RevisionStatus) -> tuple[Reason, str]:
    """Return why a revision's pods do not answer yet."""
    for pod in pods:
        if "Insufficient huawei.com" in pod.scheduling_message:
            return Reason.NO_FREE_NPUS, f"{pod.name}: {pod.scheduling_message}"
    for pod in pods:
        if not pod.ready:
            return Reason.PROVING, _where(pod)
    return Reason.PROVING, f"revision {revision.number} starts" if not pods else f"revision {revision.number} is asked"


def _inspected(observed: ServiceObserved, source: Source, revision: RevisionStatus, pod: PodView) -> Progress:
    words = last_words(pod.container(names.CONTAINER_INSPECT)).get("model")
    told = words if isinstance(words, dict) else {}
    facts = _facts(told)
    seen = revision.evolve(inspected=facts)
    given = engine_input(observed.service, source, Engine(revision.engine), revision=revision.number, track="")
    too_large = misfit(observed, given, told)
    if too_large is not None:
        no_room = (Reason.DOES_NOT_FIT.value, too_large)
        return Progress(Stage.INSPECTING, seen, *no_room, failure=no_room)
    message = f"{facts.architecture}, {facts.parameters / 1e9:.2f} billion weights"
    return Progress(Stage.INSPECTING, seen, Reason.MODEL_READY, message, requeue_after=0.0)


def _facts(words: dict[str, Any]) -> ModelFacts:
    """Take numbers and names out of the last words; what is odd is left out."""

    def number(key: str, otherwise: float = 0) -> float:
        value = words.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else otherwise

    def text(key: str) -> str:
        value = words.get(key)
        return value[:128] if isinstance(value, str) else ""

    return ModelFacts(
        architecture=text("architecture"),
        parameters=int(number("parameters")),
        size_bytes=int(number("sizeBytes")),
        layers=int(number("layers")),
        hidden_size=int(number("hiddenSize")),
        kv_heads=int(number("kvHeads")),
        head_dim=int(number("headDim")),
        vocab_size=int(number("vocabSize")),
        bytes_per_parameter=min(8.0, number("bytesPerParameter", 2.0)),
        sha256=text("sha256"),
    )


def _inspecting(revision: RevisionStatus, message: str, *actions: Action) -> Progress:
    return Progress(Stage.INSPECTING, revision, Reason.INSPECTING, message, actions)


def _where(pod: PodView) -> str:
    for container in pod.containers:
        if container.waiting_reason not in ("", "PodInitializing"):
            told = _sentence(engine_words(container)) if container.restarts else container.waiting_message
            return f"{pod.name}: {container.name}: {container.waiting_reason} {told}".strip()
    if not pod.node:
        return f"{pod.name}: {pod.scheduling_message or 'waits for a node'}"
    return f"{pod.name} starts" if not any(c.running for c in pod.containers) else f"{pod.name} loads the model"


def _sentence(words: dict[str, Any]) -> str:
    text = str(words.get("message") or "no message")
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else text[:500]
