"""The tasks of one node's emulator, and their end."""

from __future__ import annotations

import asyncio
import signal

from ascend_emulator.chips import make_chips
from ascend_emulator.devices import publish_device_info
from ascend_emulator.kube import Kube
from ascend_emulator.logs import get_log
from ascend_emulator.metrics import Endpoints
from ascend_emulator.nodes import NodeKeeper
from ascend_emulator.plugin import DevicePlugin
from ascend_emulator.pods import PodKeeper
from ascend_emulator.processes import follow_processes
from ascend_emulator.registrar import Registrar
from ascend_emulator.settings import Profile, Settings
from ascend_emulator.smi import publish_table
from ascend_emulator.state import NodeState

log = get_log("run")


async def run(settings: Settings, kube: Kube) -> None:
    """Emulate the node's chips until SIGTERM or SIGINT; an exception of any task ends all and is raised."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("started", resource=settings.resource_name, chips=settings.npu_count, profile=settings.profile.value)
    async with kube:
        await emulate(settings, kube, NodeState(make_chips(settings)), stop)
    log.info("stopped")


async def emulate(settings: Settings, kube: Kube, state: NodeState, stop: asyncio.Event) -> None:
    """Run all tasks until stop is set; the sockets are closed and gone when it returns."""
    pods = PodKeeper(kube, settings, state)
    coroutines = [
        publish_table(settings, state),
        Registrar(DevicePlugin(settings, state)).run(),
        NodeKeeper(kube, settings, state).run(),
        pods.follow(),
        pods.run(),
        follow_processes(settings, state),
        Endpoints(settings, state).run(),
    ]
    if settings.profile is Profile.MINDCLUSTER:
        coroutines.append(publish_device_info(kube, settings, state))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        await stop.wait()
        for task in tasks:
            task.cancel()
