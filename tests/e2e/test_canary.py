"""Canary and keys in kind: a real HAProxy between real engines, switched on and off under load."""

from __future__ import annotations

import json

import pytest
from e2e.cluster import Namespace, condition, demo_image, kubectl
from e2e.test_serving import MODEL, load_pod, ready, service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
ASK = """
import json, sys, urllib.error, urllib.request
body = json.dumps({"model": "smol", "prompt": "What is a cookie?", "max_tokens": 2}).encode()
for key in sys.argv[1:]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key != "-" else {})}
    try:
        asked = urllib.request.Request("http://smol-aisvc:8000/v1/completions", body, headers)
        print(urllib.request.urlopen(asked, timeout=60).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


def test_a_canary_comes_and_goes_under_load_without_a_lost_request(namespace: Namespace):
    namespace.apply(service())
    ready(namespace)
    namespace.apply(load_pod(120))
    namespace.wait("pod/load", lambda o: o["status"]["phase"] == "Running")
    namespace.apply(service(canary={"model": {"uri": MODEL}, "weight": 50}))
    namespace.wait("aisvc/smol", lambda o: (o["status"].get("canary") or {}).get("weight") == 50, 120)
    counted = namespace.wait("aisvc/smol", lambda o: o["status"]["canary"]["canary"].get("requests", 0) > 2, 60)
    assert counted["status"]["canary"]["canary"]["averageMilliseconds"] > 0
    assert counted["status"]["canary"]["canary"].get("errors", 0) == 0
    kubectl("patch", "aisvc", "smol", "-n", namespace.name, "--type=merge", "-p", '{"spec":{"canary":null}}')
    namespace.wait("aisvc/smol", lambda o: "canaryRevision" not in o["status"], 150)
    namespace.wait("pod/load", lambda o: o["status"]["phase"] == "Succeeded", 200)
    counts = json.loads(kubectl("logs", "load", "-n", namespace.name).splitlines()[-1])
    assert counts["failed"] == 0, counts
    assert counts["done"] > 20
    assert not namespace.get("deployment/smol-aisvc-proxy")
    assert not namespace.get("service/smol-aisvc-stable")


def test_keys_are_wanted_and_a_missing_secret_is_told(namespace: Namespace):
    namespace.apply(service(access={"apiKeysSecretRef": {"name": "smol-keys"}}))

    def told(found: dict) -> bool:
        conditions = found.get("status", {}).get("conditions")
        return bool(conditions) and condition(found["status"], "Ready") == ("False", "MissingSecret")

    found = namespace.wait("aisvc/smol", told, 300)
    assert "spec.access.apiKeysSecretRef: Secret smol-keys is not there" in found["status"]["message"]
    kubectl("create", "secret", "generic", "smol-keys", "--from-literal=alice=sk-1", "-n", namespace.name)
    ready(namespace)
    container = {
        "name": "main",
        "image": demo_image(),
        "imagePullPolicy": "Never",
        "command": ["python", "-c", ASK, "-", "sk-2", "sk-1"],
    }
    spec = {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 0}
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ask"}, "spec": spec})
    namespace.wait("pod/ask", lambda o: o["status"]["phase"] == "Succeeded")
    assert kubectl("logs", "ask", "-n", namespace.name).split() == ["401", "401", "200"]
