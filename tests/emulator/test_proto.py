"""The stubs speak the kubelet's wire format: bytes made by its own Go types, both ways."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ascend_emulator._proto import deviceplugin_pb2 as plugin
from ascend_emulator._proto import podresources_pb2 as resources
from emulator.builders import RESOURCE, vectors

ROOT = Path(__file__).resolve().parents[2]

MESSAGES = {
    "RegisterRequest": plugin.RegisterRequest(
        version="v1beta1",
        endpoint="Ascend910.sock",
        resource_name=RESOURCE,
        options=plugin.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True),
    ),
    "ListAndWatchResponse": plugin.ListAndWatchResponse(
        devices=[
            plugin.Device(ID="Ascend910-0", health="Healthy"),
            plugin.Device(
                ID="Ascend910-1", health="Unhealthy", topology=plugin.TopologyInfo(nodes=[plugin.NUMANode(ID=1)])
            ),
        ]
    ),
    "AllocateRequest": plugin.AllocateRequest(
        container_requests=[plugin.ContainerAllocateRequest(devices_ids=["Ascend910-0", "Ascend910-1"])]
    ),
    "AllocateResponse": plugin.AllocateResponse(
        container_responses=[
            plugin.ContainerAllocateResponse(
                envs={"ASCEND_VISIBLE_DEVICES": "0,1"},
                mounts=[
                    plugin.Mount(
                        container_path="/usr/local/bin/npu-smi",
                        host_path="/var/lib/ascend-emulator/npu-smi",
                        read_only=True,
                    )
                ],
                devices=[
                    plugin.DeviceSpec(container_path="/dev/davinci0", host_path="/dev/davinci0", permissions="rw")
                ],
                annotations={"a": "b"},
                cdi_devices=[plugin.CDIDevice(name="huawei.com/npu=0")],
            )
        ]
    ),
    "PreferredAllocationRequest": plugin.PreferredAllocationRequest(
        container_requests=[
            plugin.ContainerPreferredAllocationRequest(
                available_deviceIDs=["a", "b"], must_include_deviceIDs=["b"], allocation_size=2
            )
        ]
    ),
    "PreferredAllocationResponse": plugin.PreferredAllocationResponse(
        container_responses=[plugin.ContainerPreferredAllocationResponse(deviceIDs=["a", "b"])]
    ),
    "PreStartContainerRequest": plugin.PreStartContainerRequest(devices_ids=["a"]),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_wire_format(name):
    message = MESSAGES[name]
    assert message.SerializeToString(deterministic=True).hex() == vectors()["wire"][name]
    assert type(message).FromString(bytes.fromhex(vectors()["wire"][name])) == message


def test_pod_resources_are_read_and_fields_we_do_not_know_are_skipped():
    answer = resources.ListPodResourcesResponse.FromString(bytes.fromhex(vectors()["wire"]["ListPodResourcesResponse"]))
    (pod,) = answer.pod_resources
    (container,) = pod.containers
    (devices,) = container.devices
    assert (pod.namespace, pod.name, container.name) == ("team-a", "worker-0", "trainer")
    assert (devices.resource_name, list(devices.device_ids)) == (RESOURCE, ["Ascend910-0"])


def test_stubs_are_generated():
    pytest.importorskip("grpc_tools")
    done = subprocess.run([sys.executable, ROOT / "hack/proto.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
