"""Volumes that all nodes share: folders of the host, offered as static volumes of class `shared`."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from cluster.health import in_control_plane, kubectl
from cluster.places import KIND_FILES
from cluster.stages import Shell


def make_folders(shared: Path) -> None:
    """Make the volumes' folders writable for all: fsGroup has no effect on hostPath, and our pods are not root."""
    for name in re.findall(r"path: /shared/(\S+)", (KIND_FILES / "volumes.yaml").read_text()):
        folder = shared / name
        folder.mkdir(parents=True)
        folder.chmod(0o777)


def offer(shell: Shell, name: str) -> None:
    """Offer the shared folder as volumes."""
    in_control_plane(shell, name, "apply", "-f", "-", stdin=(KIND_FILES / "volumes.yaml").read_text())


def recycle(name: str) -> list[str]:
    """Empty and offer again the shared volumes whose claim was deleted; return their names.

    Static volumes stay Released for ever otherwise. What the claim held is deleted.
    """
    listed = json.loads(kubectl(name, "get", "persistentvolumes", "-o", "json"))
    released = [
        item["metadata"]["name"]
        for item in listed["items"]
        if item["spec"].get("storageClassName") == "shared" and item["status"].get("phase") == "Released"
    ]
    for volume in released:
        empty = ["docker", "exec", f"{name}-control-plane", "find", f"/shared/{volume}", "-mindepth", "1", "-delete"]
        subprocess.run(empty, capture_output=True, check=False)
        kubectl(name, "patch", "persistentvolume", volume, "--type=merge", "-p", '{"spec":{"claimRef":null}}')
    return released
