"""The global ranks of this pod's processes: from the environment, checked against the rank table if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ascend_jobs import names

from ascend_runtime.ranktable import RankTable, parse_rank_table


class PlacementError(Exception):
    """Environment and rank table contradict each other, or a variable is missing; the message names the field."""


@dataclass(frozen=True)
class Placement:
    """The processes of this pod within the job."""

    ranks: tuple[int, ...]
    """Global rank of each local one; as many as the pod has NPUs."""
    world_size: int


def placement(environ: Mapping[str, str], table: RankTable | None) -> Placement:
    """Return this pod's ranks; raises PlacementError.

    With a table the pod finds its own entry by POD_IP; server_count must be NNODES and the entry's ranks those that
    NODE_RANK and NPROC_PER_NODE imply.
    """
    nodes, per_node = _number(environ, "NNODES", 1), _number(environ, "NPROC_PER_NODE", 1)
    node_rank = _number(environ, "NODE_RANK", 0)
    if node_rank >= nodes or per_node < 1:
        raise PlacementError(f"NODE_RANK is {node_rank}, NNODES {nodes}, NPROC_PER_NODE {per_node}")
    world_size = nodes * per_node
    if _number(environ, "WORLD_SIZE", world_size) != world_size:
        raise PlacementError(f"WORLD_SIZE is {environ['WORLD_SIZE']}, NNODES x NPROC_PER_NODE is {world_size}")
    ranks = tuple(range(node_rank * per_node, (node_rank + 1) * per_node))
    if table is not None:
        _check_table(table, environ.get(names.ENV_POD_IP, ""), nodes, ranks)
    return Placement(ranks, world_size)


def read_table(environ: Mapping[str, str]) -> RankTable | None:
    """Return the table that RANK_TABLE_FILE names, None when there is no such file; raises PlacementError."""
    path = environ.get(names.ENV_RANK_TABLE_FILE)
    if not path or not Path(path).is_file():
        return None
    try:
        return parse_rank_table(Path(path).read_bytes())
    except ValueError as error:
        raise PlacementError(f"rank table {path}: {error}") from error


def _check_table(table: RankTable, address: str, nodes: int, ranks: tuple[int, ...]) -> None:
    if not table.is_completed:
        raise PlacementError(f"rank table: status is {table.status}, not completed")
    if table.server_count != nodes or len(table.servers) != nodes:
        found = f"server_count is {table.server_count} with {len(table.servers)} entries in server_list"
        raise PlacementError(f"rank table: {found}, NNODES is {nodes}")
    server = table.server_at(address)
    if server is None:
        raise PlacementError(f"rank table: no entry of server_list has container_ip {address or '(POD_IP is not set)'}")
    if server.ranks != ranks:
        found = f"rank_id of container_ip {address} is {_listed(server.ranks)}"
        raise PlacementError(f"rank table: {found}; NODE_RANK and NPROC_PER_NODE say {_listed(ranks)}")


def _number(environ: Mapping[str, str], key: str, default: int) -> int:
    text = environ.get(key) or str(default)
    if not text.isascii() or not text.isdecimal():
        raise PlacementError(f"{key} is {text!r}, not a number")
    return int(text)


def _listed(ranks: tuple[int, ...]) -> str:
    return ", ".join(str(rank) for rank in ranks) or "nothing"
