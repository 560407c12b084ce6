"""Lives of services and evaluations: what the Deployment controller, kubelets and engines do is played by the test."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.evaluationjob_status import EvaluationJobStatus
from ascend_jobs.api.inferenceservice_status import InferenceServiceStatus
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import CHILDREN, JOBS, PODS
from ascend_jobs.decide.inference.observed import LoadView, ProbeView
from ascend_jobs.decide.plan import Kind
from builders import UID
from flow.harness import NAMESPACE, Life

AISVC, EVJ = JOBS[names.INFERENCE_SHORT], JOBS[names.EVALUATION_SHORT]
DEPLOYMENTS, STATEFUL_SETS = CHILDREN[Kind.DEPLOYMENT], CHILDREN[Kind.STATEFUL_SET]
MODEL = {
    "architecture": "LlamaForCausalLM",
    "parameters": 135_000_000,
    "layers": 30,
    "hiddenSize": 576,
    "kvHeads": 3,
    "headDim": 64,
    "intermediateSize": 1536,
    "vocabSize": 49152,
    "bytesPerParameter": 2,
    "sizeBytes": 270_000_000,
    "sha256": "a" * 64,
}


class ServiceLife(Life):
    """A life with the hands of the Deployment controller and of the engines."""

    async def serve(self, name: str = "faq", **spec: Any) -> None:
        """Create an InferenceService and let the operator do what it can."""
        self.make(AISVC, names.INFERENCE_SERVICE, name, {"model": {"uri": "pvc://models/base"}, **spec})
        await self.settle()

    async def evaluate(self, name: str = "faq", **spec: Any) -> None:
        """Create an EvaluationJob."""
        wanted = {"target": {"service": "faq"}, "suites": [{"name": "ceval", "uri": "pvc://data/ceval"}], **spec}
        self.make(EVJ, names.EVALUATION_JOB, name, wanted)
        await self.settle()

    def make(self, resource: Any, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Create an object of a kind; its uid tells the kind."""
        uid = f"{names.GROUP[:1]}{resource.plural[:7].ljust(7, '0')}{UID[8:]}"
        meta = {
            "name": name,
            "namespace": NAMESPACE,
            "uid": uid,
            "generation": 1,
            "creationTimestamp": "2026-01-01T12:00:00Z",
        }
        body = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": meta, "spec": spec}
        self.api.add(resource, NAMESPACE, body)

    async def change(self, name: str = "faq", **spec: Any) -> None:
        """Merge fields into a service's spec."""
        self.api.change(AISVC, NAMESPACE, name, {"spec": spec})
        await self.settle()

    async def inspect(self, code: int = 0, words: dict[str, Any] | None = None) -> None:
        """Let the pods that look at models run and end."""
        await self.settle()
        for found in self.pods(names.ROLE_INSPECT):
            if found.get("status", {}).get("phase", "Pending") == "Pending":
                pod = found["metadata"]["name"]
                self.schedule(pod)
                self.end(pod, code, words or {"model": MODEL, "adapters": []})
        await self.settle()

    async def roll(self, *, ready: bool = True) -> None:
        """Bring the pods to what the Deployments ask for, and start them; `ready`: their engines have loaded."""
        await self.settle()
        for found in self.api.all(DEPLOYMENTS):
            self._roll_one(found)
        for pod in self.pods(names.ROLE_SERVER):
            owner = pod["metadata"]["labels"].get("deployment", "")
            if owner and self.api.find(DEPLOYMENTS, NAMESPACE, owner) is None:
                self.lose(pod["metadata"]["name"])
        for pod in self.pods(names.ROLE_SERVER):
            if ready and not _is_ready(pod):
                self.run(pod["metadata"]["name"])
        await self.settle()

    async def roll_sets(self) -> None:
        """Make the pods that StatefulSets ask for, place them and give them devices; their engines do not run yet."""
        await self.settle()
        for found in self.api.all(STATEFUL_SETS):
            spec, name = found["spec"], found["metadata"]["name"]
            for index in range(spec["replicas"]):
                if self.api.find(PODS, NAMESPACE, f"{name}-{index}") is None:
                    labels = {**spec["template"]["metadata"]["labels"], names.POD_INDEX: str(index)}
                    meta = {"name": f"{name}-{index}", "namespace": NAMESPACE, "labels": labels}
                    made = {"metadata": meta, "spec": spec["template"]["spec"], "status": {"phase": "Pending"}}
                    self.api.add(PODS, NAMESPACE, made)
                    self.schedule(f"{name}-{index}", f"node-{index}")
                    self._status(f"{name}-{index}", hostIP=f"10.0.0.{index + 1}", podIP=f"10.244.{index}.9")
                    self.start(f"{name}-{index}", waited=False)
        await self.settle()
        for pod in self.pods(names.ROLE_SERVER):
            self.allocate(pod["metadata"]["name"])
        await self.advance(2)

    def run(self, pod: str) -> None:
        """Place a pod, start its engine and let it be ready."""
        if not self.pod(pod)["spec"].get("nodeName"):
            self.schedule(pod)
        self.start(pod)
        conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
        self._status(pod, conditions=conditions)

    def _roll_one(self, found: dict[str, Any]) -> None:
        name = found["metadata"]["name"]
        mine = [p for p in self.pods(names.ROLE_SERVER) if p["metadata"]["labels"].get("deployment") == name]
        wanted = found["spec"]["replicas"]
        for pod in mine[wanted:]:
            self.lose(pod["metadata"]["name"])
        taken = {p["metadata"]["name"] for p in mine}
        free = (f"{name}-{i}" for i in range(100) if f"{name}-{i}" not in taken)
        template = found["spec"]["template"]
        for _ in range(wanted - len(mine)):
            labels = {**template["metadata"]["labels"], "deployment": name}
            self.api.add(
                PODS,
                NAMESPACE,
                {
                    "metadata": {"name": next(free), "namespace": NAMESPACE, "labels": labels},
                    "spec": template["spec"],
                    "status": {"phase": "Pending"},
                },
            )

    async def answer(self, name: str = "public", *, ok: bool = True, service: str = "faq", message: str = "2") -> None:
        """Let a completion that the operator asks for come back."""
        uid = self.service(service)["metadata"]["uid"]
        self._wake(Key(names.INFERENCE_SHORT, NAMESPACE, service))
        await self.settle()
        assert name in self.prober.wanted.get(uid, {}), f"{name} is not asked; asked are {self.prober.wanted.get(uid)}"
        view = ProbeView(self.now, ok, message, 42.0 if ok else None, 80.0 if ok else None, 0 if ok else 1)
        self.prober.views.setdefault(uid, {})[name] = view
        self._wake(Key(names.INFERENCE_SHORT, NAMESPACE, service))
        await self.settle()

    async def load(self, *, waiting: float, running: float = 1.0) -> None:
        """Let every ready engine tell its load."""
        uid = self.service()["metadata"]["uid"]
        pods = [p for p in self.pods(names.ROLE_SERVER) if _is_ready(p)]
        share = waiting / max(1, len(pods))
        self.scraper.views[uid] = {p["metadata"]["name"]: LoadView(self.now, running, share, 0.1) for p in pods}
        self._wake(Key(names.INFERENCE_SHORT, NAMESPACE, "faq"))
        await self.settle()

    async def up(self) -> None:
        """Bring a service that was just applied to Ready."""
        for _ in range(6):
            await self.inspect()
            await self.roll()
            await self.answer_all()

    async def answer_all(self) -> None:
        """Let every completion that is asked for come back."""
        for name in list(self.prober.wanted.get(self.service()["metadata"]["uid"], {})):
            with contextlib.suppress(AssertionError):  # no longer asked after the one before
                await self.answer(name)

    def service(self, name: str = "faq") -> dict[str, Any]:
        """Return a service."""
        found = self.api.find(AISVC, NAMESPACE, name)
        assert found is not None
        return found

    def state(self, name: str = "faq") -> dict[str, Any]:
        """Return a service's status."""
        return self.service(name).get("status") or {}

    def evaluation(self, name: str = "faq") -> dict[str, Any]:
        """Return an evaluation's status."""
        found = self.api.find(EVJ, NAMESPACE, name)
        assert found is not None
        return found.get("status") or {}

    def is_true(self, type_: str, *, of: dict[str, Any] | None = None) -> tuple[str, str]:
        """Return (status, reason) of a condition of the service, or of another status."""
        found = next(c for c in (of or self.state())["conditions"] if c["type"] == type_)
        return found["status"], found["reason"]

    def replicas(self) -> dict[str, int]:
        """Return the replicas that Deployments ask for."""
        return {d["metadata"]["name"]: d["spec"]["replicas"] for d in self.api.all(DEPLOYMENTS)}

    def finish_evaluation(self, words: dict[str, Any], code: int = 0) -> None:
        """End the pods of runs that are under way."""
        for found in self.pods(names.ROLE_EVALUATE):
            if found.get("status", {}).get("phase", "Pending") in ("Pending", "Running"):
                pod = found["metadata"]["name"]
                self.schedule(pod)
                self.end(pod, code, json.dumps(words))

    def check(self) -> None:
        """Assert what holds after every pass, of services too."""
        super().check()
        for body in self.api.all(AISVC):
            if raw := body.get("status"):
                status = InferenceServiceStatus.model_validate(raw)
                assert {c.type for c in status.conditions} >= {"Ready", "Stalled", "Reconciling", "Progressing"}
                ready = next(c for c in status.conditions if c.type == "Ready")
                assert not (ready.status == "True" and status.revision is None)
        for body in self.api.all(EVJ):
            if raw := body.get("status"):
                found = EvaluationJobStatus.model_validate(raw)
                true = {c.type for c in found.conditions if c.status == "True"}
                assert not {"Complete", "Failed"} <= true
                assert not {"Stalled", "Reconciling"} <= true


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions") or ())
