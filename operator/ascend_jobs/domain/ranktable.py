"""Pods with their device reports in, HCCL rank table out; no I/O, no cluster.

Document, types and order: MindCluster docs/zh/scheduling/06_api/14_hccl.json_file_description.md and what its
ascend-operator writes (version 1.0). Versions 1.2 and 2.0 join here as further renderers.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ascend_jobs import names

INITIALIZING = '{"status":"initializing"}'
"""The document before all ranks are known, and again after a loss."""

_UUID_LENGTH = 36
_NAME = 253
"""Longest name of a pod (RFC 1123 subdomain), in characters."""
_REPORTS = 8192
"""Reports whose reading is kept: each pass over a job reads those of all its pods again."""
_MAX_REPORT = 64 * 1024
"""Longest annotation that is parsed, in characters; 16 devices take about 1,500."""


@dataclass(frozen=True)
class Device:
    """One NPU as its plugin reported it: physical id and RoCE address, both strings as in the document."""

    device_id: str
    device_ip: str


@dataclass(frozen=True)
class Member:
    """One pod of the group; `annotations` holds its device report in one of the two dialects."""

    index: int
    name: str
    uid: str
    ip: str
    host_ip: str
    node: str
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A complete document, the number of its ranks, and devices without a valid address ("pod/device")."""

    document: str
    devices: int
    unaddressed: tuple[str, ...]


class ReportInvalid(ValueError):
    """A device report that cannot be used; the message says which field and why."""


def devices_of(member: Member) -> tuple[Device, ...]:
    """Return the devices of a pod in the order of its report; empty when there is no report yet.

    Raises ReportInvalid when the report is not JSON of the known form, or was written for another pod or host:
    an annotation is data from elsewhere, and one of an older pod must not count.
    """
    text = member.annotations.get(names.MINDCLUSTER_DEVICES) or member.annotations.get(names.CCE_DEVICES)
    if not text:
        return ()
    report = _parse(text)
    _check_fit(report, member)
    return report.devices


def missing(members: Sequence[Member], npus: int) -> tuple[str, ...]:
    """Return what keeps the table from being complete, as "pod: field" phrases; empty when nothing does."""
    found = []
    for member in members:
        try:
            count = len(devices_of(member))
        except ReportInvalid as err:
            found.append(f"{member.name}: {err}")
            continue
        if count == 0:
            found.append(f"{member.name}: no device report")
        elif count != npus:
            found.append(f"{member.name}: {count} devices reported, {npus} requested")
        elif not member.ip:
            found.append(f"{member.name}: no pod IP")
    return tuple(found)


def rank_table(members: Sequence[Member]) -> Table:
    """Render version 1.0 for members of which `missing` has nothing to say.

    rank_id is index x devices of that pod + position; servers stand in the order of their first rank; server_id is
    the host's IP when all pods are on different nodes, else the pod's UID.
    """
    apart = len({m.node for m in members}) == len(members)
    servers, unaddressed, count = [], [], 0
    for member in sorted(members, key=lambda m: m.index):
        devices = devices_of(member)
        first = member.index * len(devices)
        unaddressed += [f"{member.name}/{d.device_id}" for d in devices if not _is_address(d.device_ip)]
        servers.append(
            {
                "device": [
                    {"device_id": d.device_id, "device_ip": d.device_ip, "rank_id": str(first + place)}
                    for place, d in enumerate(devices)
                ],
                "server_id": member.host_ip if apart else member.uid,
                "host_ip": member.host_ip,
                "container_ip": member.ip,
            }
        )
        count += len(devices)
    table = {"status": "completed", "server_list": servers, "server_count": str(len(servers)), "version": "1.0"}
    return Table(json.dumps(table, separators=(",", ":")), count, tuple(unaddressed))


@dataclass(frozen=True)
class _Report:
    """A device report that was read: for whom it was written ("" where it does not say), and the devices."""

    pod_name: str
    server_id: str
    host_ip: str
    devices: tuple[Device, ...]


@lru_cache(maxsize=_REPORTS)
def _parse(text: str) -> _Report:
    if len(text) > _MAX_REPORT:
        raise ReportInvalid(f"device report is longer than {_MAX_REPORT} characters")
    try:
        report = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ReportInvalid("device report is not JSON") from err
    if not isinstance(report, dict) or not isinstance(report.get("devices"), list):
        raise ReportInvalid("device report has no list devices")
    devices = tuple(_device(item) for item in report["devices"])
    if len({d.device_id for d in devices}) != len(devices):
        raise ReportInvalid("devices: a device_id stands there twice")
    server = _text(report.get("server_id"))
    host = _text(report.get("host_ip")) or (server if _is_address(server) else "")
    return _Report(_text(report.get("pod_name")), server, host, devices)


def _text(value: object) -> str:
    """Return a text that may be shown, "" for everything else."""
    return value[:_NAME].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _check_fit(report: _Report, member: Member) -> None:
    if len(report.server_id) == _UUID_LENGTH and report.server_id != member.uid:
        raise ReportInvalid(f"server_id: {report.server_id} is not this pod's UID")
    if report.host_ip and member.host_ip and report.host_ip != member.host_ip:
        raise ReportInvalid(f"host_ip: {report.host_ip} is not this pod's host {member.host_ip}")
    if report.pod_name and report.pod_name != member.name:
        raise ReportInvalid(f"pod_name: {report.pod_name} is not this pod")


def _device(item: object) -> Device:
    if not isinstance(item, dict):
        raise ReportInvalid("devices: an entry is not an object")
    device_id, device_ip = item.get("device_id"), item.get("device_ip", "")
    if not (isinstance(device_id, str) and device_id.isdigit() and isinstance(device_ip, str)):
        raise ReportInvalid("devices: device_id and device_ip are to be strings, device_id a number")
    return Device(device_id, device_ip)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
