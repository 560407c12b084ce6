"""Read the HCCL rank table, version 1.0, in the pod (MindCluster, 06_api/14_hccl.json_file_description.md)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COMPLETED = "completed"


@dataclass(frozen=True)
class Server:
    """One pod's entry in the table."""

    container_ip: str
    ranks: tuple[int, ...]
    """Global ranks in the order of the pod's devices: position is the local rank."""


@dataclass(frozen=True)
class RankTable:
    """A table; without `completed` its servers may be old ones and mean nothing."""

    status: str
    server_count: int
    servers: tuple[Server, ...]

    @property
    def is_completed(self) -> bool:
        """Return whether the servers may be relied upon."""
        return self.status == COMPLETED

    def server_at(self, address: str) -> Server | None:
        """Return the entry whose container_ip is the address."""
        return next((server for server in self.servers if is_same_address(server.container_ip, address)), None)

    def first_server(self) -> Server | None:
        """Return the entry that holds rank 0."""
        return next((server for server in self.servers if 0 in server.ranks), None)


def parse_rank_table(text: str | bytes) -> RankTable:
    """Read a table; raises ValueError that names the field which is missing or of another type."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"hccl.json is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        raise ValueError("hccl.json has no field status")
    if document["status"] != COMPLETED:
        return RankTable(document["status"], 0, ())
    entries = document.get("server_list")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("server_list is not a list of objects")
    servers = tuple(_parse_server(index, entry) for index, entry in enumerate(entries))
    return RankTable(document["status"], _parse_number(document, "server_count", "server_count"), servers)


def is_same_address(one: str, other: str) -> bool:
    """Compare two IP addresses by value, so that spellings of IPv6 do not matter; names are compared as text."""
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return one == other


def _parse_server(index: int, entry: Mapping[str, Any]) -> Server:
    field = f"server_list[{index}]"
    address = entry.get("container_ip")
    if not isinstance(address, str) or not address:
        raise ValueError(f"{field}.container_ip is missing")
    devices = entry.get("device")
    if not isinstance(devices, list) or not all(isinstance(device, dict) for device in devices):
        raise ValueError(f"{field}.device is not a list of objects")
    ranks = (_parse_number(device, "rank_id", f"{field}.device[{i}].rank_id") for i, device in enumerate(devices))
    return Server(address, tuple(ranks))


def _parse_number(entry: Mapping[str, Any], key: str, field: str) -> int:
    """Read a number that the table spells as a string (all of version 1.0 does)."""
    value = entry.get(key)
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal():
        raise ValueError(f"{field} is {value!r}, not a number in a string")
    return int(value)
