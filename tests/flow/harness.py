"""Whole lives of jobs in memory: the real passes over a fake API server, a clock that tests move, a kubelet they play.

    async def story(life: Life) -> None:
        await life.apply(nodes=2)             # kubectl apply, and passes until nothing is left to do
        await life.prepare()                  # the prepare pod runs and ends well
        await life.train()                    # worker pods get nodes, devices and the rank table, and train
        life.end("faq-ftj-0-worker-0", 0, {"steps": 2, ...})
        ...
        await life.settle()
        assert life.phase == "Complete"

    await replay(story)                       # once as it is, then with every fault at every call

Passes see a cache that lags: what happens during a pass is delivered after it, own writes at once. A killed operator
starts again with an empty memory. After each pass the invariants are checked (`Life.check`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionType
from ascend_jobs.api.finetunejob_status import FineTuneJobStatus
from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.capacity import Capacity
from ascend_jobs.cluster.cluster import Cluster
from ascend_jobs.cluster.events import Recorder
from ascend_jobs.cluster.progress import Followers
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import CHILDREN, CLAIMS, EVENTS, JOBS, NODES, PODS, Resource
from ascend_jobs.decide.observed import Defaults
from ascend_jobs.errors import ApiError, Outdated
from ascend_jobs.metrics import Metrics
from ascend_jobs.reconcile import reconcile
from builders import FINE_TUNE_CONDITIONS, NOW, make_body, make_report
from fake_api import FakeApi, Fault, Killed, Log, Manifest, wire_copy

NAMESPACE = "team-a"
FTJ = JOBS[names.FINE_TUNE_SHORT]
_PASSES = 300
"""Passes within which a world that nobody moves comes to rest."""

_YIELDS = 20
"""Turns of the loop within which a followed log is opened and read."""

Story = Callable[["Life"], Awaitable[None]]


class Asked:
    """The operator's own requests to services and pods: what is wanted is kept, what comes back the test says."""

    def __init__(self) -> None:
        self.wanted: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}

    def view(self, uid: str) -> dict[str, Any]:
        names_wanted = self.wanted.get(uid, {})
        return {name: view for name, view in self.views.get(uid, {}).items() if name in names_wanted}

    def want(self, key: Key, uid: str, targets: Iterable[Any]) -> None:
        self.wanted[uid] = {getattr(t, "name", None) or t.pod: t for t in targets}

    def forget(self, uid: str) -> None:
        self.wanted.pop(uid, None)
        self.views.pop(uid, None)


class Life:
    """A cluster in memory with an operator, a scheduler and kubelets; the test says when they do what."""

    def __init__(self, *, nodes: int = 2, npus: int = 8, claims: Iterable[str] = ("models", "data")) -> None:
        """Make nodes `node-0`... with so many 910B each, and claims."""
        self.now = NOW
        self.api = FakeApi(lambda: self.now)
        self.passes = 0
        self.deaths = 0
        self._past: dict[str, FineTuneJobStatus] = {}
        self._foreign: dict[tuple[str, str], tuple[Resource, Manifest]] = {}
        for claim in claims:
            self.foreign(CLAIMS, {"metadata": {"name": claim}})
        for index in range(nodes):
            self.api.add(NODES, "", _node(index, npus))
        self.api.listeners.append(lambda type_, resource, thing: self._news.append((type_, resource, thing)))
        self._start()

    # -- the operator ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start an operator that knows nothing but what it lists."""
        self._news: list[tuple[str, Resource, Manifest]] = []
        self._woken: dict[Key, None] = {}
        self._due: dict[Key, datetime] = {}
        metrics = Metrics()
        cache = Cache(self._wake)
        self.prober, self.scraper = Asked(), Asked()
        self.cluster = Cluster(
            api=self.api,
            cache=cache,
            followers=Followers(self.api, self._wake, metrics, pauses=(0.0, 0.0)),
            prober=self.prober,
            scraper=self.scraper,
            recorder=Recorder(self.api),
            metrics=metrics,
            capacity=Capacity(self.api),
            defaults=Defaults(image="registry.example.com/runtime:1"),
            clock=lambda: self.now,
        )
        for resource in (*JOBS.values(), NODES, *CHILDREN.values()):
            for found in self.api.all(resource):
                if resource in (*JOBS.values(), NODES) or names.JOB_UID in found["metadata"].get("labels", {}):
                    cache.store_of(resource).seen(wire_copy(found))

    async def restart(self) -> None:
        """Kill the operator and start it again."""
        await self.cluster.followers.close()
        self._start()

    def _wake(self, key: Key) -> None:
        if key.kind:
            self._woken[key] = None

    async def settle(self) -> None:
        """Run passes until none is due; collect garbage on the way."""
        for _ in range(_PASSES):
            if self.deaths < self.api.kills:
                self.deaths = self.api.kills
                await self.restart()
            self._deliver()
            for key, moment in list(self._due.items()):
                if moment <= self.now:
                    self._wake(key)
            if self._woken:
                await self._pass(next(iter(self._woken)))
            elif not self.api.collect_garbage():
                return
        raise AssertionError(f"no rest after {_PASSES} passes; status {self._latest()}")

    async def advance(self, seconds: float) -> None:
        """Let time pass, with every pass that falls due on the way."""
        end = self.now + timedelta(seconds=seconds)
        await self.settle()
        while (moment := min(self._due.values(), default=end)) < end:
            self.now = max(self.now, moment)
            await self.settle()
        self.now = end
        await self.settle()

    async def _pass(self, key: Key) -> None:
        del self._woken[key]
        self._due.pop(key, None)
        self.passes += 1
        try:
            after = await reconcile(self.cluster, key)
        except (Outdated, ApiError):
            self._wake(key)
        except BaseException as error:
            if not _is_death(error):
                raise
        else:
            if after is not None:
                self._due[key] = self.now + timedelta(seconds=after)
        self.check()

    def _deliver(self) -> None:
        news, self._news = self._news, []
        for type_, resource, thing in news:
            ours = (*JOBS.values(), NODES)
            watched = resource in ours or names.JOB_UID in thing["metadata"].get("labels", {})
            if watched and resource in (*ours, *CHILDREN.values()):
                store = self.cluster.cache.store_of(resource)
                store.gone(thing) if type_ == "DELETED" else store.seen(thing)

    # -- people ------------------------------------------------------------------------------------------------------

    async def apply(self, name: str = "faq", **spec: Any) -> None:
        """Create a job (builders.make_body) and let the operator do what it can."""
        self.create(name, **spec)
        await self.settle()

    def create(self, name: str = "faq", **spec: Any) -> None:
        """Create a job; the operator has not seen it yet."""
        self.api.add(FTJ, NAMESPACE, make_body(name, spec=spec))

    async def edit(self, name: str = "faq", **spec: Any) -> None:
        """Merge fields into a job's spec."""
        self.api.change(FTJ, NAMESPACE, name, {"spec": spec})
        await self.settle()

    async def delete(self, name: str = "faq") -> None:
        """Delete a job."""
        self.api.remove(FTJ, NAMESPACE, name)
        await self.settle()

    def foreign(self, resource: Resource, manifest: Manifest) -> None:
        """Put something there that is not ours; it has to stay as it is."""
        made = self.api.add(resource, NAMESPACE, manifest)
        self._foreign[(resource.plural, made["metadata"]["name"])] = (resource, wire_copy(made))

    # -- scheduler, device plugin and kubelet ------------------------------------------------------------------------

    def schedule(self, pod: str, node: str = "") -> None:
        """Give a pod a node: by its index where none is named."""
        found = self.pod(pod)
        index = int(found["metadata"]["labels"].get(names.RANK_INDEX, 0))
        self._patch(pod, {"spec": {"nodeName": node or f"node-{index % len(self.api.all(NODES))}"}})
        self._status(pod, hostIP=f"10.0.0.{index + 1}", podIP=f"10.244.{index}.5", conditions=_scheduled())

    def refuse_node(
        self, pod: str, message: str = "0/2 nodes are available: 2 Insufficient huawei.com/Ascend910."
    ) -> None:
        """Find no node for a pod."""
        self._status(pod, conditions=_scheduled(message))

    def allocate(self, pod: str) -> None:
        """Write the device plugin's report."""
        found = self.pod(pod)
        count = sum(
            int(c.get("resources", {}).get("limits", {}).get(names.ASCEND_910, 0)) for c in found["spec"]["containers"]
        )
        if count:
            meta = found["metadata"]
            report = make_report(pod, meta["uid"], found["status"]["hostIP"], list(range(count)))
            self._patch(pod, {"metadata": {"annotations": report}})

    def start(self, pod: str, *, waited: bool = True) -> None:
        """Start a pod's containers; with `waited` its init containers have ended well and the main ones run."""
        spec = self.pod(pod)["spec"]
        init = {"terminated": {"exitCode": 0, "reason": "Completed"}} if waited else {"running": {}}
        main = {"running": {}} if waited else {"waiting": {"reason": "PodInitializing"}}
        self._status(
            pod,
            phase="Running" if waited else "Pending",
            initContainerStatuses=[{"name": c["name"], "state": init} for c in spec.get("initContainers") or ()],
            containerStatuses=[{"name": c["name"], "state": main} for c in spec["containers"]],
        )

    def end(self, pod: str, code: int = 0, words: Manifest | str = "", reason: str = "") -> None:
        """End a pod's main containers with a code and last words."""
        message = words if isinstance(words, str) else json.dumps(words)
        ended = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), "message": message}
        statuses = [{"name": c["name"], "state": {"terminated": ended}} for c in self.pod(pod)["spec"]["containers"]]
        self._status(pod, phase="Failed" if code else "Succeeded", containerStatuses=statuses)

    def lose(self, pod: str) -> None:
        """Take a pod away at once, as the pod garbage collector does."""
        self.api.remove(PODS, NAMESPACE, pod, grace_seconds=0)

    def reap(self) -> None:
        """Remove the pods that were asked to end, as their kubelets do."""
        for found in self.api.all(PODS):
            if "deletionTimestamp" in found["metadata"]:
                self.lose(found["metadata"]["name"])

    def set_ready(self, node: str, ready: bool) -> None:
        """Let a node become Ready, or stop being it."""
        self.api.change(NODES, "", node, {"status": {"conditions": _ready(ready)}}, status=True)

    async def say(self, pod: str, **line: Any) -> None:
        """Let the trainer print a line (keys as in the contract), and the operator read and use it."""
        self.api.logs.setdefault((pod, names.CONTAINER_TRAINER), Log()).write(json.dumps(line) + "\n")
        for _ in range(_YIELDS):
            await asyncio.sleep(0)
        await self.settle()
        for _ in range(_YIELDS):
            await asyncio.sleep(0)
        for key, _ in self.cluster.cache.jobs[names.FINE_TUNE_SHORT]:
            self._wake(key)
        await self.settle()

    # -- both, in the usual order ------------------------------------------------------------------------------------

    async def prepare(self, **words: Any) -> None:
        """Let the prepare pod run and end well."""
        for found in self.pods(names.ROLE_PREPARE):
            if found["status"]["phase"] == "Pending":
                pod = found["metadata"]["name"]
                self.schedule(pod)
                self.start(pod)
                await self.settle()
                counts = {"documents": 10, "trainDocuments": 9, "validationDocuments": 1, "tokens": 900}
                self.end(pod, 0, {**counts, "dataset": "sha256:0", "alreadyComplete": False, "artifacts": [], **words})
        await self.settle()

    async def train(self) -> None:
        """Let the pending worker pods get nodes and devices, wait for the rank table, and train."""
        await self.advance(1)
        waiting = [p["metadata"]["name"] for p in self.pods(names.ROLE_WORKER) if p["status"]["phase"] == "Pending"]
        for pod in waiting:
            self.schedule(pod)
            self.start(pod, waited=False)
        await self.settle()
        for pod in waiting:
            self.allocate(pod)
        await self.advance(2)
        for pod in waiting:
            self.start(pod)
        await self.advance(1)

    # -- what is there -----------------------------------------------------------------------------------------------

    def job(self, name: str = "faq") -> Manifest:
        """Return a job."""
        found = self.api.find(FTJ, NAMESPACE, name)
        assert found is not None, f"no job {name}"
        return found

    def status(self, name: str = "faq") -> Manifest:
        """Return a job's status."""
        return self.job(name).get("status") or {}

    @property
    def phase(self) -> str:
        """Phase of job faq."""
        return str(self.status().get("phase"))

    def condition(self, type_: ConditionType, name: str = "faq") -> tuple[str, str]:
        """Return (status, reason) of a condition."""
        found = next(c for c in self.status(name)["conditions"] if c["type"] == type_)
        return found["status"], found["reason"]

    def pod(self, name: str) -> Manifest:
        """Return a pod."""
        found = self.api.find(PODS, NAMESPACE, name)
        assert found is not None, f"no pod {name}; there are {[p['metadata']['name'] for p in self.api.all(PODS)]}"
        return found

    def pods(self, role: str = "") -> list[Manifest]:
        """Return the pods (of a role) by name."""
        found = self.api.all(PODS, **({names.ROLE: role} if role else {}))
        return sorted(found, key=lambda pod: pod["metadata"]["name"])

    def events(self) -> list[tuple[str, str]]:
        """Return (reason, message) of all Events in the order of posting."""
        return [(e["reason"], e["message"]) for e in self.api.all(EVENTS)]

    def children(self) -> list[str]:
        """Return `plural/name` of everything that is ours."""
        return [
            f"{resource.plural}/{found['metadata']['name']}"
            for resource in CHILDREN.values()
            for found in self.api.all(resource)
            if (resource.plural, found["metadata"]["name"]) not in self._foreign
        ]

    # -- invariants --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Assert what holds after every pass."""
        for body in self.api.all(FTJ):
            if raw := body.get("status"):
                status = FineTuneJobStatus.model_validate(raw)
                assert_conditions_sound(status)
                uid = body["metadata"]["uid"]
                if uid in self._past:
                    assert_never_back(self._past[uid], status)
                self._past[uid] = status
                self._check_pods(uid, status)
        for resource, was in self._foreign.values():
            assert self.api.find(resource, NAMESPACE, was["metadata"]["name"]) == was, "a foreign object was touched"

    def _check_pods(self, uid: str, status: FineTuneJobStatus) -> None:
        """No pod of an attempt that the status does not tell of: what cannot be undone is recorded first."""
        for pod in self.api.all(PODS, **{names.JOB_UID: uid, names.ROLE: names.ROLE_WORKER}):
            attempt = int(pod["metadata"]["labels"][names.ATTEMPT])
            assert attempt <= status.attempt.number
            recorded = attempt < status.attempt.number or status.attempt.start_time is not None
            assert recorded, "a worker before its attempt was recorded"

    async def assert_at_rest(self) -> None:
        """Assert that one more pass over each job writes nothing."""
        await self.settle()
        before = self.api.writes
        for key, _ in list(self.cluster.cache.jobs[names.FINE_TUNE_SHORT]):
            self._wake(key)
        await self.settle()
        assert self.api.writes == before, f"a pass without news wrote: {self.api.calls[-5:]}"

    def _latest(self) -> list[Any]:
        return [body.get("status") for body in self.api.all(FTJ)]

    def _patch(self, pod: str, patch: Manifest) -> None:
        self.api.change(PODS, NAMESPACE, pod, patch)

    def _status(self, pod: str, **fields: Any) -> None:
        self.api.change(PODS, NAMESPACE, pod, {"status": fields}, status=True)


async def replay(story: Story, faults: Iterable[Fault] = tuple(Fault), **world: Any) -> int:
    """Play a story undisturbed, then once for each call and fault; return how often it was played.

    A story asserts its own end. It must not depend on how many passes or restarts of the operator there were.
    """
    calls = await _play(story, None, Fault.REFUSED, world)
    for how in faults:
        for number in range(calls):
            await _play(story, number, how, world)
    return 1 + calls * len(tuple(faults))


async def replay_in_turn(story: Story, every: int = 1, **world: Any) -> int:
    """Play a story undisturbed, then once a call (or each `every`-th), kinds of fault taking turns.

    A quarter of `replay`'s time, and less.
    """
    kinds = tuple(Fault)
    calls = range(0, await _play(story, None, Fault.REFUSED, world), every)
    for turn, number in enumerate(calls):
        await _play(story, number, kinds[turn % len(kinds)], world)
    return 1 + len(calls)


async def _play(story: Story, number: int | None, how: Fault, world: dict[str, Any]) -> int:
    life = world.get("life", Life)(**{key: value for key, value in world.items() if key != "life"})
    if number is not None:
        life.api.fail_at(number, how)
    try:
        await story(life)
    except Exception as error:
        if number is not None:
            error.add_note(f"with call {number} ({life.api.calls[number : number + 1]}) {how.value}")
        raise
    finally:
        await life.cluster.followers.close()
    return len(life.api.calls)


def assert_conditions_sound(status: FineTuneJobStatus) -> None:
    """Assert what holds of the conditions of every status."""
    types = [c.type for c in status.conditions]
    assert sorted(types) == sorted(FINE_TUNE_CONDITIONS), "each condition once, all from the first write on"
    true = {c.type for c in status.conditions if c.status == "True"}
    assert not {ConditionType.COMPLETE, ConditionType.FAILED} <= true, "Complete and Failed exclude each other"
    assert (ConditionType.READY in true) == (ConditionType.COMPLETE in true), "a job is ready when it is complete"
    assert not {ConditionType.STALLED, ConditionType.RECONCILING} <= true, "kstatus: stalled is not reconciling"
    assert all(c.reason for c in status.conditions), "every condition has a reason"


def assert_never_back(old: FineTuneJobStatus, new: FineTuneJobStatus) -> None:
    """Assert that counters, ends and records do not go back."""
    for type_ in (ConditionType.COMPLETE, ConditionType.FAILED):
        assert _truth(new, type_) or not _truth(old, type_), f"{type_} was taken back"
    for condition in new.conditions:
        before = next(c for c in old.conditions if c.type == condition.type)
        moved = condition.last_transition_time != before.last_transition_time
        assert not moved or condition.status != before.status, f"{condition.type}: time moved, status did not"
    for what in ("observed_generation", "attempt.number", "prepare.number", "restarts.program", "restarts.platform"):
        assert _get(new, what) >= _get(old, what), f"{what} went back"
    assert new.rank_table.version >= old.rank_table.version, "rankTable.version went back"
    if new.attempt.number == old.attempt.number:
        assert set(new.succeeded_ranks) >= set(old.succeeded_ranks), "a rank that succeeded was forgotten"
        assert new.attempt.all_pods_seen or not old.attempt.all_pods_seen, "allPodsSeen was taken back"


def _truth(status: FineTuneJobStatus, type_: ConditionType) -> bool:
    return any(c.type == type_ and c.status == "True" for c in status.conditions)


def _get(status: Any, path: str) -> int:
    for step in path.split("."):
        status = getattr(status, step)
    return int(status)


def _is_death(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_death(inner) for inner in error.exceptions)
    return isinstance(error, Killed)


def _node(index: int, npus: int) -> Manifest:
    allocatable = {names.ASCEND_910: str(npus), "cpu": "192", "memory": "1536Gi"}
    return {
        "metadata": {"name": f"node-{index}", "labels": {names.ACCELERATOR_TYPE_LABEL: "module-910b-8"}},
        "spec": {},
        "status": {"allocatable": allocatable, "conditions": _ready(True)},
    }


def _ready(ready: bool) -> list[Manifest]:
    return [{"type": "Ready", "status": "True" if ready else "Unknown"}]


def _scheduled(message: str = "") -> list[Manifest]:
    if message:
        return [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    return [{"type": "PodScheduled", "status": "True"}]
