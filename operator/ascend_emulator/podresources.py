"""The kubelet's pod resources API: which container holds which chip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from ascend_emulator._proto import podresources_pb2, podresources_pb2_grpc

_OPTIONS = (("grpc.default_authority", "localhost"), ("grpc.max_receive_message_length", 16 * 1024 * 1024))
"""The kubelet refuses the percent-encoded path that gRPC would send as authority; its own clients allow 16 MiB."""


@dataclass(frozen=True)
class Allocation:
    """The chips of one container, by number. The kubelet gives no pod UID."""

    namespace: str
    pod: str
    container: str
    chips: tuple[int, ...]


async def list_allocations(socket: Path, resource: str, numbers: Mapping[str, int]) -> list[Allocation]:
    """Return all allocations of a resource on this node; numbers gives the chip of a device id, others are skipped.

    Raises grpc.aio.AioRpcError when the kubelet does not answer within 10 s.
    """
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
        stub = podresources_pb2_grpc.PodResourcesListerStub(channel)  # type: ignore[no-untyped-call]
        answer = await stub.List(podresources_pb2.ListPodResourcesRequest(), timeout=10)
    return list(_allocations(answer, resource, numbers))


def _allocations(
    answer: podresources_pb2.ListPodResourcesResponse, resource: str, numbers: Mapping[str, int]
) -> Iterable[Allocation]:
    for pod in answer.pod_resources:
        for container in pod.containers:
            chips = {
                numbers[device]
                for devices in container.devices
                if devices.resource_name == resource
                for device in devices.device_ids
                if device in numbers
            }
            if chips:
                yield Allocation(pod.namespace, pod.name, container.name, tuple(sorted(chips)))
