"""The device plugin against a test kubelet: registration, list and watch, allocation, restarts, wrong requests."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest
from ascend_emulator import registrar
from ascend_emulator._proto import deviceplugin_pb2 as pb
from ascend_emulator.chips import Fault, Level
from ascend_emulator.plugin import DevicePlugin, prefer
from ascend_emulator.podresources import Allocation, list_allocations
from ascend_emulator.registrar import Registrar
from emulator.builders import RESOURCE, eventually, make_settings, make_state

RESTART = Fault("80E01801", Level.RESTART_NPU, 0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(registrar, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(registrar, "BACKOFF_SECONDS", (0.01, 0.05))


@contextlib.asynccontextmanager
async def serving(settings, *, read=True):
    """A registrar with its state, running."""
    state = make_state(settings)
    if read:
        state.node_read.set()
    found = Registrar(DevicePlugin(settings, state))
    task = asyncio.create_task(found.run())
    try:
        yield found, state
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def plugin(settings, kubelet):
    async with serving(settings) as (found, state):
        await eventually(lambda: kubelet.devices and state.registered)
        yield found


async def test_registration(plugin, kubelet):
    (request,) = kubelet.requests
    assert (request.version, request.endpoint, request.resource_name) == ("v1beta1", "Ascend910.sock", RESOURCE)
    assert request.options == pb.DevicePluginOptions()
    assert kubelet.devices == [{f"Ascend910-{number}": "Healthy" for number in range(8)}]
    assert (await kubelet.plugin.GetDevicePluginOptions(pb.Empty())) == pb.DevicePluginOptions()


async def test_health_changes_are_sent(plugin, kubelet):
    state = plugin.plugin.state
    state.set_faults({3: RESTART})
    await eventually(lambda: kubelet.devices[-1]["Ascend910-3"] == "Unhealthy")
    assert list(kubelet.devices[-1].values()).count("Unhealthy") == 1
    state.set_processes({1: ()})  # concerns no health: nothing is sent
    state.set_faults({})
    await eventually(lambda: kubelet.devices[-1]["Ascend910-3"] == "Healthy")
    assert len(kubelet.devices) == 3


async def test_allocate(plugin, kubelet, settings):
    answer = await kubelet.allocate("Ascend910-5", "Ascend910-1")
    assert dict(answer.envs) == {"ASCEND_VISIBLE_DEVICES": "1,5"}
    assert [(mount.container_path, mount.host_path, mount.read_only) for mount in answer.mounts] == [
        ("/usr/local/bin/npu-smi", f"{settings.data_dir}/npu-smi", True),
        ("/var/lib/ascend-emulator", str(settings.data_dir), True),
    ]
    assert set(plugin.plugin.state.allocated) == {1, 5}
    assert await kubelet.plugin.PreStartContainer(pb.PreStartContainerRequest()) == pb.PreStartContainerResponse()


@pytest.mark.parametrize(
    "devices",
    [["Ascend910-8"], ["Ascend910-0", "Ascend910-0"], [], ["GPU-0"], ["Ascend910-0", ""]],
    ids=["absent", "twice", "none", "foreign", "empty"],
)
async def test_wrong_allocations_are_refused(plugin, kubelet, devices):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await kubelet.allocate(*devices)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert plugin.plugin.state.allocated == {}


async def test_preferred_allocation_is_not_supported(plugin, kubelet):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await kubelet.plugin.GetPreferredAllocation(pb.PreferredAllocationRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_preferred_allocation_when_asked_for(folder, kubelet):
    async with serving(make_settings(folder, PREFER_DEVICES="true")):
        await eventually(lambda: kubelet.devices)
        assert kubelet.requests[0].options.get_preferred_allocation_available
        request = pb.PreferredAllocationRequest()
        request.container_requests.add(
            available_deviceIDs=[f"Ascend910-{number}" for number in (7, 1, 4, 2, 6)], allocation_size=2
        )
        answer = await kubelet.plugin.GetPreferredAllocation(request)
    assert [list(container.deviceIDs) for container in answer.container_responses] == [["Ascend910-1", "Ascend910-2"]]


@pytest.mark.parametrize(
    ("available", "must", "size", "want"),
    [
        pytest.param([0, 1, 2, 3, 4, 5, 6, 7], [], 4, [0, 1, 2, 3], id="a-ring"),
        pytest.param([1, 2, 3, 4, 5, 6, 7], [], 4, [4, 5, 6, 7], id="the-whole-ring"),
        pytest.param([1, 2, 4, 5, 6], [], 1, [1], id="the-fuller-ring"),
        pytest.param([0, 4, 5, 6], [], 4, [0, 4, 5, 6], id="no-ring-has-enough"),
        pytest.param([0, 1, 2, 3, 4], [4], 2, [0, 4], id="must-include"),
        pytest.param([0, 1], [0, 1], 1, [0, 1], id="more-must-than-size"),
    ],
)
def test_prefer(available, must, size, want):
    assert prefer(available, must, size) == want


async def test_kubelet_restart_leads_to_a_new_registration(plugin, kubelet):
    await kubelet.allocate("Ascend910-0")
    await kubelet.restart()
    await eventually(lambda: len(kubelet.requests) == 2 and len(kubelet.devices) == 2)
    assert (await kubelet.allocate("Ascend910-1")).envs["ASCEND_VISIBLE_DEVICES"] == "1"
    assert plugin.registrations == 2


async def test_a_wiped_socket_is_made_again(plugin, kubelet):
    (kubelet.folder / "Ascend910.sock").unlink()
    await eventually(lambda: len(kubelet.devices) == 2)
    assert (kubelet.folder / "Ascend910.sock").is_socket()


async def test_a_kubelet_that_is_away_is_waited_for(plugin, kubelet):
    await kubelet.stop()
    for path in kubelet.folder.iterdir():
        path.unlink()
    await eventually(lambda: not plugin.plugin.state.registered)
    await asyncio.sleep(0.2)
    await kubelet.start()
    await eventually(lambda: len(kubelet.devices) == 2 and plugin.plugin.state.registered)


async def test_refused_registrations_are_retried(settings, kubelet):
    kubelet.refuse = 3
    async with serving(settings):
        await eventually(lambda: kubelet.devices)
    assert kubelet.refuse == 0


async def test_a_kubelet_that_does_not_call_gets_another_registration(plugin, kubelet, monkeypatch):
    monkeypatch.setattr(registrar, "CALL_BACK_SECONDS", 0.2)
    await kubelet._channel.close()
    await eventually(lambda: len(kubelet.devices) == 2)


async def test_the_first_list_waits_for_the_faults(settings, kubelet):
    async with serving(settings, read=False) as (_, state):
        await asyncio.sleep(0.2)
        assert not kubelet.requests
        state.set_faults({0: RESTART})
        state.node_read.set()
        await eventually(lambda: kubelet.devices)
    assert kubelet.devices[0]["Ascend910-0"] == "Unhealthy"


async def test_without_an_api_server_it_registers_all_the_same(settings, kubelet, monkeypatch):
    monkeypatch.setattr(registrar, "NODE_SECONDS", 0.1)
    async with serving(settings, read=False):
        await eventually(lambda: kubelet.devices)


async def test_the_socket_is_gone_after_the_end(settings, kubelet):
    async with serving(settings) as (_, state):
        await eventually(lambda: kubelet.devices)
    assert not (kubelet.folder / "Ascend910.sock").exists()
    assert not state.registered


async def test_allocations_of_other_resources_and_devices_are_skipped(settings, kubelet):
    kubelet.pods = {
        ("team-a", "faq-0", "trainer", RESOURCE): ["Ascend910-3", "Ascend910-1"],
        ("team-a", "faq-0", "other", "nvidia.com/gpu"): ["Ascend910-0"],
        ("team-a", "faq-1", "trainer", RESOURCE): ["strange"],
    }
    numbers = make_state(settings).numbers
    found = await list_allocations(kubelet.pod_resources_socket, RESOURCE, numbers)
    assert found == [Allocation("team-a", "faq-0", "trainer", (1, 3))]
