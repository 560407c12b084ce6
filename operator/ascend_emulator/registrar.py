"""Serving the device plugin and registering it, for as long as kubelets come and go.

A kubelet that starts wipes the device plugin folder and makes kubelet.sock anew; a plugin then has to make its own
socket anew and register again. Sockets are looked at once a second (two stat calls), which also notices a wipe that no
file event reported. The old server is stopped before the new one binds: stopping removes the file at its path.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import grpc

from ascend_emulator._proto import deviceplugin_pb2 as pb
from ascend_emulator._proto import deviceplugin_pb2_grpc
from ascend_emulator.logs import get_log
from ascend_emulator.plugin import DevicePlugin

API_VERSION = "v1beta1"
LOOK_SECONDS = 1.0
"""Seconds between two looks at the sockets."""
CALL_BACK_SECONDS = 10.0
"""Seconds within which a kubelet calls ListAndWatch after Register; without it we register again."""
NODE_SECONDS = 10.0
"""Longest wait for the first read of the Node, whose faults the first list should show; the API server may be down."""
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries of Register; the last one stays."""

log = get_log("registrar")

_Identity = tuple[int, int] | None


class Registrar:
    """Keeps one socket served and registered."""

    def __init__(self, plugin: DevicePlugin) -> None:
        self.plugin = plugin
        self.folder = plugin.settings.device_plugin_dir
        self.endpoint = f"{plugin.settings.kind}.sock"
        self.registrations = 0

    async def run(self) -> None:
        """Serve and register until cancelled; the socket is gone afterwards."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.plugin.state.node_read.wait(), NODE_SECONDS)
        while True:
            kubelet = await self._wait_for_kubelet()
            server = await self._serve()
            try:
                if await self._register(kubelet):
                    await self._watch(kubelet)
            finally:
                self.plugin.state.registered = False
                await server.stop(grace=0)
                (self.folder / self.endpoint).unlink(missing_ok=True)

    async def _wait_for_kubelet(self) -> _Identity:
        waited = False
        while (kubelet := _identity(self.folder / "kubelet.sock")) is None:
            if not waited:
                log.info("no kubelet socket yet", folder=str(self.folder))
            waited = True
            await asyncio.sleep(LOOK_SECONDS)
        return kubelet

    async def _serve(self) -> grpc.aio.Server:
        path = self.folder / self.endpoint
        path.unlink(missing_ok=True)
        server = grpc.aio.server()
        deviceplugin_pb2_grpc.add_DevicePluginServicer_to_server(self.plugin, server)  # type: ignore[no-untyped-call]
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        return server

    async def _register(self, kubelet: _Identity) -> bool:
        """Register with backoff; False when the sockets changed meanwhile."""
        for attempt in range(1_000_000_000):
            if self._is_gone(kubelet):
                return False
            try:
                await self._call_register()
            except grpc.aio.AioRpcError as error:
                delay = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]
                log.warning("registration failed", error=error.details(), code=error.code().name, retry_after=delay)
                await asyncio.sleep(delay)
            else:
                break
        self.registrations += 1
        self.plugin.state.registered = True
        log.info("registered", resource=self.plugin.settings.resource_name, endpoint=self.endpoint)
        return True

    async def _call_register(self) -> None:
        request = pb.RegisterRequest(
            version=API_VERSION,
            endpoint=self.endpoint,
            resource_name=self.plugin.settings.resource_name,
            options=self.plugin.options(),
        )
        options = (("grpc.default_authority", "localhost"),)
        async with grpc.aio.insecure_channel(f"unix:{self.folder / 'kubelet.sock'}", options=options) as channel:
            registration = deviceplugin_pb2_grpc.RegistrationStub(channel)  # type: ignore[no-untyped-call]
            await registration.Register(request, timeout=5)

    async def _watch(self, kubelet: _Identity) -> None:
        """Return when the kubelet was restarted, our socket is gone, or nobody calls ListAndWatch any more."""
        alone = 0.0
        while not self._is_gone(kubelet):
            await asyncio.sleep(LOOK_SECONDS)
            alone = 0.0 if self.plugin.streams else alone + LOOK_SECONDS
            if alone >= CALL_BACK_SECONDS:
                log.warning("kubelet does not call, registering again", seconds=alone)
                return
        log.info("sockets changed, registering again")

    def _is_gone(self, kubelet: _Identity) -> bool:
        return _identity(self.folder / self.endpoint) is None or _identity(self.folder / "kubelet.sock") != kubelet


def _identity(path: Path) -> _Identity:
    """Tell one file of a name from the next: inode numbers are reused at once on tmpfs, hence the time of creation."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns
