"""The emulated device plugin against a real kubelet."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from e2e.cluster import CONTEXT, Namespace, demo_image, eventually, kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
RESOURCE = "huawei.com/Ascend910"


def emulated_node() -> dict:
    return json.loads(kubectl("get", "nodes", "-l", "ascendjobs.io/emulated=true", "-o", "json"))["items"][0]


def allocatable(node: str) -> str:
    return json.loads(kubectl("get", "node", node, "-o", "json"))["status"]["allocatable"].get(RESOURCE, "0")


def ascendctl(*arguments: str) -> None:
    command = (sys.executable, "-m", "ascend_jobs.cli.main", "emulator", *arguments, "--context", CONTEXT)
    subprocess.run(command, check=True)


def device_list(node: str) -> dict[str, str]:
    found = json.loads(kubectl("get", "configmap", f"mindx-dl-deviceinfo-{node}", "-n", "kube-system", "-o", "json"))
    return json.loads(found["data"]["DeviceInfoCfg"])["DeviceInfo"]["DeviceList"]


def test_a_pod_gets_devices_report_and_npu_smi(namespace: Namespace):
    container = {
        "name": "main",
        "image": demo_image(),
        "command": ["sleep", "600"],
        "resources": {"limits": {RESOURCE: "2"}},
    }
    namespace.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "npus"},
         "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    )  # fmt: skip
    key = "ascend.kubectl.kubernetes.io/ascend-910-configuration"
    pod = namespace.wait(
        "pod/npus", lambda p: key in p["metadata"].get("annotations", {}) and p["status"]["phase"] == "Running"
    )
    report = json.loads(pod["metadata"]["annotations"][key])
    assert report["server_id"] == pod["metadata"]["uid"]
    assert report["host_ip"] == pod["status"]["hostIP"]
    chips = [d["device_id"] for d in report["devices"]]
    assert len(chips) == 2
    seen = kubectl("exec", "npus", "-n", namespace.name, "--", "sh", "-c", "echo $ASCEND_VISIBLE_DEVICES")
    assert seen.strip() == ",".join(chips)
    table = kubectl("exec", "npus", "-n", namespace.name, "--", "npu-smi", "info")
    assert "910B3" in table
    assert "HBM-Usage(MB)" in table


def test_a_fault_is_seen_by_kubelet_and_configmap_and_can_be_cleared():
    node = emulated_node()["metadata"]["name"]
    ascendctl("fault", node, "3")
    try:
        eventually("seven devices", lambda: allocatable(node) == "7", 60)
        eventually("fault in ConfigMap", lambda: "Ascend910-3" in device_list(node)[f"{RESOURCE}-Unhealthy"], 60)
    finally:
        ascendctl("fault", node, "3", "--clear")
    eventually("eight devices", lambda: allocatable(node) == "8", 60)


def test_a_kubelet_that_starts_again_gets_its_devices_back():
    node = emulated_node()["metadata"]["name"]
    subprocess.run(("docker", "exec", node, "systemctl", "restart", "kubelet"), check=True)
    eventually("eight devices", lambda: allocatable(node) == "8", 90)
