"""`ascendctl emulator`: set, clear and list faults of emulated NPUs.

Faults stand in an annotation of the Node (names.EMULATED_FAULTS), which the emulator of that node follows. They survive
restarts of everything, and nothing but the emulator reads them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from typing import Any

from ascend_jobs import names
from ascend_jobs.cli import exits
from ascend_jobs.cli.kube import Kube, KubeError
from ascend_jobs.cli.screen import clean

LEVELS = (
    "NotHandleFault",
    "SubHealthFault",
    "RestartRequest",
    "RestartBusiness",
    "FreeRestartNPU",
    "RestartNPU",
    "PreSeparateNPU",
    "SeparateNPU",
    "ManuallySeparateNPU",
)
"""Fault levels of a chip, mildest first (MindCluster, faultCode.json). The first two leave the chip healthy."""

DEFAULT_CODE = "80E01801"
DEFAULT_LEVEL = "RestartNPU"
_NODES = "/api/v1/nodes"
_TRIES = 5
"""How often a write is tried when somebody else changes the Node at the same time."""

_Faults = dict[str, Any]


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Add `emulator fault` and `emulator faults`."""
    parser = subparsers.add_parser("emulator", help="faults of emulated NPUs")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_fault(commands)
    _add_faults(commands)


def _add_fault(commands: Any) -> None:  # noqa: ANN401
    fault = commands.add_parser("fault", help="set or clear a fault of one chip")
    fault.add_argument("node", metavar="NODE", help="name of a node with emulated NPUs")
    fault.add_argument("chip", metavar="CHIP", type=_chip, help="number of the chip, from 0, or its device id")
    fault.add_argument("--code", default=DEFAULT_CODE, type=_code, help="fault code, hexadecimal (%(default)s)")
    fault.add_argument("--level", default=DEFAULT_LEVEL, choices=LEVELS, metavar="LEVEL", help=_level_help())
    fault.add_argument("--clear", action="store_true", help="end the chip's fault")
    _add_cluster_options(fault)
    fault.set_defaults(func=set_fault)


def _add_faults(commands: Any) -> None:  # noqa: ANN401
    faults = commands.add_parser("faults", help="list the faults")
    faults.add_argument("node", metavar="NODE", nargs="?", help="only of this node")
    _add_cluster_options(faults)
    faults.set_defaults(func=list_faults)


def _add_cluster_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--context", help="context of the kubeconfig; the current one when absent")
    parser.add_argument("--kubeconfig", help="path of the kubeconfig; $KUBECONFIG or ~/.kube/config when absent")
    parser.set_defaults(namespace=None)


def _level_help() -> str:
    return f"one of {', '.join(LEVELS)}; the first two leave the chip healthy (%(default)s)"


def _chip(text: str) -> int:
    found = re.fullmatch(r"(?:[A-Za-z].*-)?([0-9]{1,3})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no chip number")
    return int(found[1])


def _code(text: str) -> str:
    code = text.removeprefix("0x").upper()
    if not re.fullmatch(r"[0-9A-F]{8,9}", code):
        raise argparse.ArgumentTypeError(f"{text!r} is not 8 or 9 hexadecimal digits")
    return code


def set_fault(args: argparse.Namespace) -> int:
    """Set or clear the fault of one chip; FAILED for a node that is not emulated, NOT_FOUND for a chip it lacks."""
    kube = Kube.connect(args)
    for _ in range(_TRIES):
        node = kube.get(f"{_NODES}/{args.node}")
        if refusal := _refusal(node, args.chip):
            return refusal
        faults = read_faults(node)
        if args.clear and str(args.chip) not in faults:
            print(f"chip {args.chip} of node {args.node} has no fault")
            return exits.OK
        if _write(kube, node, _changed(faults, args)):
            print(_done(args))
            return exits.OK
    raise KubeError(f"node {args.node} was changed by others {_TRIES} times in a row; try again", 409)


def list_faults(args: argparse.Namespace) -> int:
    """Print a table of faults, by node and chip; FAILED for a named node that is not emulated."""
    kube = Kube.connect(args)
    if args.node:
        nodes = [kube.get(f"{_NODES}/{args.node}")]
        if refusal := _refusal(nodes[0], None):
            return refusal
    else:
        nodes = [node for node in kube.get(_NODES).get("items", []) if _is_emulated(node)]
    rows = [row for node in nodes for row in _rows(node)]
    if not rows:
        print("no faults" if nodes else "no node has emulated NPUs")
        return exits.OK
    header = ("NODE", "CHIP", "CODE", "LEVEL", "SINCE")
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return exits.OK


def read_faults(node: dict[str, Any]) -> _Faults:
    """Return the faults that stand on a Node, by chip number as text; what is no JSON object counts as none."""
    text = (node["metadata"].get("annotations") or {}).get(names.EMULATED_FAULTS, "{}")
    try:
        faults = json.loads(text)
    except ValueError:
        return {}
    return faults if isinstance(faults, dict) else {}


def count_chips(node: dict[str, Any]) -> int:
    """Return how many emulated chips a Node has: those it lists, else its capacity of a vendor resource."""
    listed = (node["metadata"].get("annotations") or {}).get(names.BASE_DEVICE_INFOS)
    if listed:
        return len(json.loads(listed))
    capacity = (node.get("status") or {}).get("capacity") or {}
    return max((int(value) for name, value in capacity.items() if name.startswith("huawei.com/")), default=0)


def _refusal(node: dict[str, Any], chip: int | None) -> int | None:
    """Print why the node or chip cannot be used, and return the exit code; None when it can."""
    name = node["metadata"]["name"]
    if not _is_emulated(node):
        print(f"ascendctl: node {name} has no emulated NPUs (no label {names.EMULATED_LABEL})", file=sys.stderr)
        return exits.FAILED
    count = count_chips(node)
    if chip is not None and chip >= count:
        which = f"chips 0 to {count - 1}" if count else "no chips yet: is the emulator running there?"
        print(f"ascendctl: node {name} has no chip {chip}: it has {which}", file=sys.stderr)
        return exits.NOT_FOUND
    return None


def _is_emulated(node: dict[str, Any]) -> bool:
    return names.EMULATED_LABEL in (node["metadata"].get("labels") or {})


def _changed(faults: _Faults, args: argparse.Namespace) -> _Faults:
    others = {chip: fault for chip, fault in faults.items() if chip != str(args.chip)}
    if args.clear:
        return others
    return others | {str(args.chip): {"code": args.code, "level": args.level, "time": int(time.time())}}


def _write(kube: Kube, node: dict[str, Any], faults: _Faults) -> bool:
    """Write all faults of a Node; False when the Node has changed since it was read."""
    text = json.dumps(dict(sorted(faults.items())), separators=(",", ":")) if faults else None
    metadata = {
        "resourceVersion": node["metadata"]["resourceVersion"],
        "annotations": {names.EMULATED_FAULTS: text},
    }
    name = node["metadata"]["name"]
    status, answer = _merge(kube, f"{_NODES}/{name}", {"metadata": metadata})
    if status >= 400 and status != 409:
        raise KubeError(f"node {name} cannot be written: {clean(answer)[:500]}", status)
    return status != 409


def _merge(kube: Kube, path: str, patch: dict[str, Any]) -> tuple[int, str]:
    """Send a merge patch; return the HTTP status and the answer. CoreV1Api would do it, and takes 2 s to import."""
    from urllib3.exceptions import HTTPError

    headers = {"Accept": "application/json", "Content-Type": "application/merge-patch+json"}
    request = kube.client.param_serialize(
        "PATCH", path, header_params=headers, body=patch, auth_settings=["BearerToken"]
    )
    try:
        response = kube.client.call_api(*request, _request_timeout=(10, 60)).response
        return int(response.status), str(response.read(), "utf-8", "replace")
    except (HTTPError, OSError) as err:
        raise KubeError(f"cannot talk to the cluster at {kube.client.configuration.host}: {err}") from err


def _done(args: argparse.Namespace) -> str:
    if args.clear:
        return f"chip {args.chip} of node {args.node}: fault cleared"
    return f"chip {args.chip} of node {args.node}: fault {args.code} ({args.level})"


def _rows(node: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    name = node["metadata"]["name"]
    faults = sorted(read_faults(node).items(), key=lambda item: (len(item[0]), item[0]))
    return [
        (name, clean(chip), clean(str(fault.get("code"))), clean(str(fault.get("level"))), _since(fault.get("time")))
        for chip, fault in faults
        if isinstance(fault, dict)
    ]


def _since(seconds: Any) -> str:  # noqa: ANN401 - a JSON value
    if not isinstance(seconds, int):
        return "-"
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "-"
