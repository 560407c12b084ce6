"""The device plugin service (kubelet API v1beta1) that the kubelet calls on our socket.

Options are empty, as the real plugin's are: GetPreferredAllocation is not supported unless PREFER_DEVICES asks for it,
and PreStartContainer does nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from ascend_jobs import names

from ascend_emulator._proto import deviceplugin_pb2 as pb
from ascend_emulator._proto import deviceplugin_pb2_grpc
from ascend_emulator.logs import get_log
from ascend_emulator.settings import Settings
from ascend_emulator.smi import CONTAINER_DATA_DIR, CONTAINER_TOOL, TOOL
from ascend_emulator.state import NodeState

RING = 4
"""Chips that share a direct HCCS ring on 8-chip servers of the 910A; a preferred allocation stays inside one."""

log = get_log("plugin")


class DevicePlugin(deviceplugin_pb2_grpc.DevicePluginServicer):
    """Answers the kubelet; streams counts its open ListAndWatch calls."""

    def __init__(self, settings: Settings, state: NodeState) -> None:
        self.settings = settings
        self.state = state
        self.streams = 0

    def options(self) -> pb.DevicePluginOptions:
        """Return what the plugin offers beyond the duty."""
        return pb.DevicePluginOptions(get_preferred_allocation_available=self.settings.prefer_devices)

    async def GetDevicePluginOptions(self, request: pb.Empty, context: Any) -> pb.DevicePluginOptions:  # noqa: N802, ANN401
        """Tell the kubelet what is offered."""
        return self.options()

    async def ListAndWatch(self, request: pb.Empty, context: Any) -> AsyncIterator[pb.ListAndWatchResponse]:  # noqa: N802, ANN401
        """Send the whole list of devices at once, and again when a health changes; ends with the connection."""
        self.streams += 1
        log.info("kubelet connected", devices=len(self.state.chips))
        sent: pb.ListAndWatchResponse | None = None
        try:
            while True:
                version, devices = self.state.version, self._devices()
                if devices != sent:
                    yield devices
                    sent = devices
                await self.state.changed_since(version)
        finally:
            self.streams -= 1

    async def Allocate(self, request: pb.AllocateRequest, context: Any) -> pb.AllocateResponse:  # noqa: N802, ANN401
        """Return environment and mounts for each container; INVALID_ARGUMENT for devices that are not ours."""
        answer = pb.AllocateResponse()
        for container in request.container_requests:
            chips = await self._chips(container.devices_ids, context)
            answer.container_responses.append(self._container(chips))
            self.state.allocated.update(dict.fromkeys(chips, time.time()))
            log.info("devices allocated", chips=chips)
        return answer

    async def GetPreferredAllocation(  # noqa: N802
        self,
        request: pb.PreferredAllocationRequest,
        context: Any,  # noqa: ANN401
    ) -> pb.PreferredAllocationResponse:
        """Return a choice for each container, or UNIMPLEMENTED when PREFER_DEVICES is off."""
        if not self.settings.prefer_devices:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "GetPreferredAllocation is not supported")
        answer = pb.PreferredAllocationResponse()
        for container in request.container_requests:
            available = await self._chips(container.available_deviceIDs, context)
            wanted = (
                await self._chips(container.must_include_deviceIDs, context) if container.must_include_deviceIDs else []
            )
            chosen = prefer(available, wanted, container.allocation_size)
            answer.container_responses.add(deviceIDs=[self.state.chips[number].device for number in chosen])
        return answer

    async def PreStartContainer(  # noqa: N802
        self,
        request: pb.PreStartContainerRequest,
        context: Any,  # noqa: ANN401
    ) -> pb.PreStartContainerResponse:
        """Do nothing."""
        return pb.PreStartContainerResponse()

    def _devices(self) -> pb.ListAndWatchResponse:
        return pb.ListAndWatchResponse(
            devices=[
                pb.Device(ID=chip.device, health="Healthy" if self.state.is_healthy(chip) else "Unhealthy")
                for chip in self.state.chips
            ]
        )

    async def _chips(self, devices: Iterable[str], context: Any) -> list[int]:  # noqa: ANN401
        wanted = list(devices)
        unknown = [device for device in wanted if device not in self.state.numbers]
        if unknown or not wanted or len(set(wanted)) != len(wanted):
            what = f"no devices of this node: {', '.join(unknown)}" if unknown else "no devices, or one twice"
            log.warning("request refused", devices=wanted, reason=what)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, what)
        return sorted(self.state.numbers[device] for device in wanted)

    def _container(self, chips: list[int]) -> pb.ContainerAllocateResponse:
        folder = self.settings.data_dir
        return pb.ContainerAllocateResponse(
            envs={names.ENV_VISIBLE_DEVICES: ",".join(map(str, chips))},
            mounts=[
                pb.Mount(container_path=CONTAINER_TOOL, host_path=str(folder / TOOL), read_only=True),
                pb.Mount(container_path=CONTAINER_DATA_DIR, host_path=str(folder), read_only=True),
            ],
        )


def prefer(available: list[int], must_include: list[int], size: int) -> list[int]:
    """Choose size chips: those that must be in, then from the fullest ring with enough, else from the emptiest ones."""
    chosen = list(must_include)
    free = [number for number in sorted(available) if number not in chosen]
    missing = size - len(chosen)
    rings = {number // RING for number in free}
    by_ring = [[number for number in free if number // RING == ring] for ring in sorted(rings)]
    fitting = sorted((ring for ring in by_ring if len(ring) >= missing), key=len)
    source = fitting[0] if fitting else [number for ring in sorted(by_ring, key=len, reverse=True) for number in ring]
    return sorted(chosen + source[: max(missing, 0)])
