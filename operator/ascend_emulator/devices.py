"""Writing the ConfigMap mindx-dl-deviceinfo-<node>: on change, a second apart at least, and every five minutes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from ascend_emulator import vendor
from ascend_emulator.deviceinfo import config_map_name, desired_config_map, device_list
from ascend_emulator.kube import BACKOFF_SECONDS, ApiError, Kube
from ascend_emulator.logs import get_log
from ascend_emulator.settings import Settings
from ascend_emulator.state import NodeState

PERIOD_SECONDS = 300.0
"""Seconds after which an unchanged ConfigMap is written again (ascend-device-plugin, defaultUpdateTimeInterval)."""
SHORTEST_SECONDS = 1.0
"""Seconds between two writes at least (MinCMReportInterval)."""

_COLLECTION = f"/api/v1/namespaces/{vendor.DEVICE_INFO_NAMESPACE}/configmaps"

log = get_log("devices")


async def publish_device_info(kube: Kube, settings: Settings, state: NodeState) -> None:
    """Keep the ConfigMap true until cancelled; waits until faults and holders were read once."""
    await state.node_read.wait()
    await state.pods_read.wait()
    failures = 0
    while True:
        version, devices = state.version, device_list(settings, state)
        try:
            await write_device_info(kube, settings, devices)
        except ApiError as error:
            if failures == 0:
                log.warning("device information not written, tried again", error=str(error))
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1
            continue
        failures = 0
        await asyncio.sleep(SHORTEST_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PERIOD_SECONDS - SHORTEST_SECONDS):
                while device_list(settings, state) == devices:
                    version = await state.changed_since(version)


async def write_device_info(kube: Kube, settings: Settings, devices: dict[str, str]) -> None:
    """Write our key of the ConfigMap, created if need be, and leave the administrator's (ManuallySeparateNPU) alone."""
    desired = desired_config_map(settings, devices, int(time.time()))
    patch = {"metadata": {"labels": desired["metadata"]["labels"]}, "data": desired["data"]}
    try:
        await kube.merge(f"{_COLLECTION}/{config_map_name(settings)}", patch)
    except ApiError as error:
        if error.status != 404:
            raise
        await kube.create(_COLLECTION, _with_empty_keys(desired))
    log.info("device information written", devices=devices)


def _with_empty_keys(config_map: dict[str, Any]) -> dict[str, Any]:
    empty = {vendor.MANUALLY_SEPARATE_KEY: "", vendor.UPGRADE_REASON_KEY: "{}"}
    return config_map | {"data": empty | config_map["data"]}
