"""make_settings(), make_state(), make_node(), make_pod(), eventually(): a valid default and keywords for the case."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ascend_emulator.chips import make_chips
from ascend_emulator.settings import Settings, read_settings
from ascend_emulator.state import NodeState

GOLDEN = Path(__file__).parent / "golden"
RESOURCE = "huawei.com/Ascend910"


def make_settings(folder: Path = Path("/nowhere"), **variables: str) -> Settings:
    environ = {
        "NODE_NAME": "worker-1",
        "NODE_IP": "172.18.0.3",
        "LIST_WATCH_SECONDS": "0.05",
        "METRICS_PORT": "0",
        "DEVICE_PLUGIN_DIR": str(folder / "plugins"),
        "POD_RESOURCES_SOCKET": str(folder / "pod-resources.sock"),
        "DATA_DIR": str(folder / "data"),
    }
    return read_settings(environ | variables)


def make_state(settings: Settings) -> NodeState:
    return NodeState(make_chips(settings))


def make_node(name: str = "worker-1", **annotations: str) -> dict[str, Any]:
    metadata = {"name": name, "uid": f"uid-{name}", "labels": {"kubernetes.io/hostname": name}}
    return {"metadata": metadata | {"annotations": annotations}, "status": {"capacity": {RESOURCE: "8"}}}


def make_pod(name: str = "faq-0", *, node: str = "worker-1", npus: int = 2, **more: Any) -> dict[str, Any]:
    """more: uid, phase, annotations, resource, created (Unix seconds), deleted (bool), container_id."""
    created = datetime.fromtimestamp(int(more.get("created", time.time())), UTC)
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "team-a",
        "uid": more.get("uid", f"uid-{name}"),
        "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "annotations": more.get("annotations", {}),
    }
    if more.get("deleted"):
        metadata["deletionTimestamp"] = metadata["creationTimestamp"]
    limits = {more.get("resource", RESOURCE): str(npus)} if npus else {"cpu": "1"}
    status: dict[str, Any] = {"phase": more.get("phase", "Pending")}
    if "container_id" in more:
        status["containerStatuses"] = [{"name": "trainer", "containerID": f"containerd://{more['container_id']}"}]
    container = {"name": "trainer", "resources": {"limits": limits, "requests": limits}}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [container]}, "status": status}


async def eventually(check: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until check() is true (exceptions count as not yet); return what it returned."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := check():
                return found
        except (KeyError, IndexError, OSError):
            pass
        assert time.monotonic() < end, f"not within {seconds} s"
        await asyncio.sleep(0.02)


def golden(name: str, text: str) -> None:
    """Compare with a golden file; UPDATE_GOLDEN=1 writes it."""
    import os

    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def vectors() -> dict[str, Any]:
    return json.loads((GOLDEN / "vectors.json").read_text())
