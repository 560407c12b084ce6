"""Which pod of a replica this one is: several pods serve one model, the head alone takes requests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ascend_jobs import names

from ascend_runtime.ranktable import RankTable, is_same_address, parse_rank_table
from ascend_runtime.serve.failures import CannotServe, ServeReason


def is_head(environ: Mapping[str, str], node_rank: int = 0) -> bool:
    """Return whether this pod serves: node rank 0, and rank 0 of the rank table where there is one.

    Raises CannotServe (RankTableInvalid) when the variable names a table that cannot be relied upon.
    """
    if node_rank > 0:
        return False
    path = environ.get(names.ENV_RANK_TABLE_FILE)
    if not path:
        return True
    table = read_table(Path(path))
    address = environ.get("MIES_CONTAINER_IP") or environ.get(names.ENV_POD_IP)
    own = _own_address(table, address)
    first = table.first_server()
    if first is None:
        raise _invalid("no server of the rank table has rank 0")
    return is_same_address(first.container_ip, own)


def read_table(path: Path) -> RankTable:
    """Return a completed rank table whose counts are right; raises CannotServe (RankTableInvalid)."""
    try:
        table = parse_rank_table(path.read_bytes())
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error.strerror}; unset RANK_TABLE_FILE for one pod") from error
    except ValueError as error:
        raise _invalid(f"{path}: {error}") from error
    if not table.is_completed:
        raise _invalid(f"{path}: its status is {table.status}, not completed")
    if table.server_count != len(table.servers):
        raise _invalid(f"{path}: server_count is {table.server_count}, listed are {len(table.servers)}")
    ranks = sorted(rank for server in table.servers for rank in server.ranks)
    if ranks != list(range(len(ranks))):
        raise _invalid(f"{path}: the rank_ids are not 0 to {len(ranks) - 1}, each once")
    return table


def _own_address(table: RankTable, address: str | None) -> str:
    if address is None and len(table.servers) == 1:
        return table.servers[0].container_ip
    if address is None:
        raise _invalid("POD_IP (or MIES_CONTAINER_IP) is not set: which server of the rank table is this pod?")
    if table.server_at(address) is None:
        raise _invalid(f"the rank table has no server with container_ip {address}, this pod's own")
    return address


def _invalid(sentence: str) -> CannotServe:
    return CannotServe(ServeReason.RANK_TABLE_INVALID, names.ENV_RANK_TABLE_FILE, sentence)
