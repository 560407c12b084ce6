"""The kind cluster as tests see it: kubectl, waiting, namespaces with volumes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

CONTEXT = os.environ.get("E2E_CONTEXT", "kind-ascend-jobs")
SYSTEM = "ascend-jobs-system"
EXAMPLE = Path(__file__).parents[2] / "examples" / "finetune.yaml"
Object = dict[str, Any]
T = TypeVar("T")


def kubectl(*arguments: str, stdin: str | None = None, check: bool = True) -> str:
    """Run kubectl and return what it prints; an error carries what it says."""
    done = subprocess.run(
        ("kubectl", "--context", CONTEXT, *arguments), input=stdin, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout if check else done.stdout + done.stderr


def eventually(what: str, look: Callable[[], T | None], seconds: float = 180.0, pause: float = 0.5) -> T:
    """Look until there is something; what is seen last is told when the time is over."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)


class Namespace:
    """A namespace of its own for a test, removed with all that is in it."""

    def __init__(self) -> None:
        self.name = f"e2e-{uuid.uuid4().hex[:8]}"
        kubectl("create", "namespace", self.name)

    def remove(self) -> None:
        """Delete the namespace and wait until it is gone; empty the volumes that it held."""
        kubectl("delete", "namespace", self.name, "--timeout=180s")
        subprocess.run(("python3", "hack/cluster", "recycle"), cwd=EXAMPLE.parents[1], capture_output=True, check=False)

    def apply(self, *objects: Object) -> None:
        """Apply objects."""
        text = yaml.safe_dump_all(objects)
        kubectl("apply", "-n", self.name, "-f", "-", stdin=text)

    def claim(self, name: str = "models") -> None:
        """Make a claim on a volume that all nodes share, and wait until it is bound."""
        spec = {
            "storageClassName": "shared",
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        self.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
        self.wait(f"pvc/{name}", lambda o: o["status"].get("phase") == "Bound", 60)

    def get(self, what: str) -> Object:
        """Return an object, {} when it is not there."""
        text = kubectl("get", what, "-n", self.name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else {}

    def items(self, kind: str, selector: str = "") -> list[Object]:
        """Return objects of a kind."""
        wanted = ("-l", selector) if selector else ()
        return json.loads(kubectl("get", kind, "-n", self.name, "-o", "json", *wanted))["items"]

    def wait(self, what: str, holds: Callable[[Object], Any], seconds: float = 180.0) -> Object:
        """Wait until something holds of an object; the failure shows its status."""
        seen: Object = {}

        def look() -> Object | None:
            nonlocal seen
            seen = self.get(what)
            return seen if seen and holds(seen) else None

        try:
            return eventually(what, look, seconds)
        except AssertionError as err:
            status = json.dumps(seen.get("status"), indent=1)[:3000]
            raise AssertionError(
                f"{err}\n{status}\n{kubectl('get', 'pods,events', '-n', self.name, check=False)}"
            ) from None

    def job(self, name: str, seconds: float = 300.0, *, phase: str) -> Object:
        """Wait for a job's phase; return its status."""
        return self.wait(f"ftj/{name}", lambda o: o.get("status", {}).get("phase") == phase, seconds)["status"]

    def workers(self, name: str, attempt: int) -> list[Object]:
        """Return a job's pods of an attempt by rank."""
        chosen = f"ascendjobs.io/job-name={name},ascendjobs.io/role=worker,ascendjobs.io/attempt={attempt}"
        return sorted(self.items("pods", chosen), key=lambda p: p["metadata"]["name"])


def make_toy_job(name: str, *, steps: int = 8, **spec: Any) -> Object:
    """A job on the self-test model that fixture `toy` has put on claim models."""
    values = {
        "model": {"uri": "pvc://models/toy/model"},
        "dataset": {"uri": "pvc://models/toy/data/train.jsonl", "tokenize": {"maxLength": 64}},
        "training": {"hyperparameters": {"maxSteps": steps, "epochs": 1000, "dtype": "fp32", "learningRate": 0.01}},
        "output": {"uri": f"pvc://models/out/{name}"},
        "checkpoint": {"everySteps": 4},
        "nodes": 2,
        **spec,
    }
    return {"apiVersion": "ascendjobs.io/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": name}, "spec": values}


def condition(status: Object, type_: str) -> tuple[str, str]:
    """Return (status, reason) of a condition."""
    found = next(c for c in status["conditions"] if c["type"] == type_)
    return found["status"], found["reason"]


def demo_image() -> str:
    """Return the runtime image that the installation gives to jobs."""
    deployment = json.loads(kubectl("get", "deployment", "-n", SYSTEM, "-o", "json"))["items"][0]
    env = {e["name"]: e.get("value") for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    return next(value for key, value in env.items() if key.endswith("IMAGE") and "PREPARE" not in key)


def runtime_pod(name: str, *arguments: str, claim: str = "models") -> Object:
    """A pod of the runtime image that runs one of its commands with a claim mounted."""
    container = {
        "name": "main",
        "image": demo_image(),
        "command": ["python", "-m", "ascend_runtime", *arguments],
        "volumeMounts": [{"name": "claim", "mountPath": f"/volumes/{claim}"}],
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
