"""The pod of an evaluation's run: what it mounts, and whom it shows which key."""

from __future__ import annotations

import json

from ascend_jobs import names
from ascend_jobs.api.evaluationjob import EvaluationJob
from ascend_jobs.desired.evaluation import Asked, evaluate_pod
from ascend_jobs.desired.pods import PodSettings

SETTINGS = PodSettings(image="runtime:1", prepare_image="", pull_policy="", pull_secrets=(), resource="", share={})
META = {"name": "faq", "namespace": "team-a", "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}


def made(target: Asked, baseline: Asked | None = None, **spec) -> tuple[dict, dict]:
    """Return the pod's spec and its configuration."""
    suites = [{"name": "ceval", "uri": "pvc://data/ceval"}]
    job = EvaluationJob.parse({"metadata": META, "spec": {"target": {"service": "x"}, "suites": suites, **spec}})
    pod = evaluate_pod(job, target, baseline, None, SETTINGS)["spec"]
    env = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
    return pod, json.loads(env[names.ENV_CONFIG])


def test_each_server_is_shown_its_own_keys_alone():
    elsewhere = Asked("other", "http://10.0.0.1:8000", "m")
    keyed = Asked("faq", "http://faq-aisvc.team-a.svc:8000", "faq", keys_secret="faq-keys")
    pod, config = made(elsewhere, keyed)
    assert config["apiKeyFile"] is None
    mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert volumes[mounts[config["baselineApiKeyFile"]]]["secret"]["secretName"] == "faq-keys"
    _, config = made(keyed, elsewhere)
    assert (config["apiKeyFile"] is None, config["baselineApiKeyFile"]) == (False, None)


def test_shared_memory_is_there_when_it_is_asked_for():
    pod, _ = made(Asked("x", "http://x:1", "m"), runtime={"resources": {"sharedMemory": "1Gi"}})
    [volume] = [v for v in pod["volumes"] if v["name"] == "dshm"]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert {"name": "dshm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]
