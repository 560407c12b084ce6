"""A test kubelet on unix sockets: registration, dialling back, and pod resources, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import grpc
from ascend_emulator._proto import deviceplugin_pb2 as plugin
from ascend_emulator._proto import deviceplugin_pb2_grpc as plugin_grpc
from ascend_emulator._proto import podresources_pb2 as resources
from ascend_emulator._proto import podresources_pb2_grpc as resources_grpc


class FakeKubelet(plugin_grpc.RegistrationServicer, resources_grpc.PodResourcesListerServicer):
    """Serves kubelet.sock in folder and the pod resources on a socket beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pod_resources_socket = folder.parent / "pod-resources.sock"
        self.requests: list[plugin.RegisterRequest] = []
        self.devices: list[dict[str, str]] = []
        self.pods: dict[tuple[str, str, str, str], list[str]] = {}
        self.list_calls = 0
        self.refuse = 0
        self._servers: list[grpc.aio.Server] = []
        self._watches: list[asyncio.Task[None]] = []
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Wipe the folder as a starting kubelet does, then listen."""
        for path in self.folder.iterdir():
            path.unlink()
        self._servers = [await self._serve(self.folder / "kubelet.sock", plugin=True)]
        self._servers.append(await self._serve(self.pod_resources_socket, plugin=False))

    async def stop(self) -> None:
        """Close everything; the sockets stay as files, as after a kill."""
        for watch in self._watches:
            watch.cancel()
        if self._channel:
            await self._channel.close()
            self._channel = None
        for server in self._servers:
            await server.stop(0)

    async def restart(self) -> None:
        """Stop and start again with an empty memory of plugins."""
        await self.stop()
        await self.start()

    async def Register(self, request, context):  # noqa: N802
        if self.refuse:
            self.refuse -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not ready")
        self.requests.append(request)
        self._watches.append(asyncio.create_task(self._watch(request.endpoint)))
        return plugin.Empty()

    async def List(self, request, context):  # noqa: N802
        self.list_calls += 1
        answer = resources.ListPodResourcesResponse()
        for (namespace, pod, container, resource), devices in self.pods.items():
            entry = answer.pod_resources.add(name=pod, namespace=namespace)
            held = entry.containers.add(name=container).devices
            for device in devices:  # the kubelet gives one entry a device when they have topology
                held.add(resource_name=resource, device_ids=[device])
        return answer

    @property
    def plugin(self) -> plugin_grpc.DevicePluginStub:
        """The stub of the plugin that registered last."""
        return plugin_grpc.DevicePluginStub(self._channel)

    async def allocate(self, *devices: str) -> plugin.ContainerAllocateResponse:
        """Allocate devices for one container."""
        request = plugin.AllocateRequest(container_requests=[plugin.ContainerAllocateRequest(devices_ids=devices)])
        return (await self.plugin.Allocate(request)).container_responses[0]

    async def _serve(self, path: Path, *, plugin: bool) -> grpc.aio.Server:
        server = grpc.aio.server()
        if plugin:
            plugin_grpc.add_RegistrationServicer_to_server(self, server)
        else:
            resources_grpc.add_PodResourcesListerServicer_to_server(self, server)
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        return server

    async def _watch(self, endpoint: str) -> None:
        options = (("grpc.default_authority", "localhost"),)
        self._channel = grpc.aio.insecure_channel(f"unix:{self.folder / endpoint}", options=options)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for answer in self.plugin.ListAndWatch(plugin.Empty(), wait_for_ready=True):
                self.devices.append({device.ID: device.health for device in answer.devices})
