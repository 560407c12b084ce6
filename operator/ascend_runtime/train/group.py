"""The process group of a run: which device and backend, sums over ranks, and waiting for rank 0.

Everything but sums goes through the group's key-value store, so it works alike with HCCL and gloo, and a rank may wait
for hours (while rank 0 writes a large model) without a collective running into its timeout.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ascend_runtime.errors import PeerLost

if TYPE_CHECKING:
    from torch import device

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""Longest a collective waits for a rank that is silent. One that died is noticed at once: its connection closes."""
START_TIMEOUT = timedelta(minutes=30)
"""Longest a rank waits for the others to start: images of several GB may be pulled on some nodes only."""
WRITE_TIMEOUT = timedelta(hours=24)
"""Longest a rank waits while rank 0 writes a checkpoint or the result."""


@dataclass(frozen=True)
class Group:
    """One process among all ranks."""

    rank: int
    world_size: int
    device: device
    """Where the model lives."""
    store: Any
    """The group's torch.distributed store, under a prefix of its own."""

    @property
    def is_first(self) -> bool:
        """Return whether this is rank 0, the one that reports and writes."""
        return self.rank == 0

    def sum(self, values: list[Any]) -> list[float]:
        """Add up numbers over all ranks, in double precision; the order is fixed, so is the result."""
        import torch
        import torch.distributed as dist

        kind = torch.float32 if self.device.type == "npu" else torch.float64  # the NPU has no double in HCCL sums
        total = torch.stack([torch.as_tensor(value, device=self.device).to(kind) for value in values])
        with peers():
            dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def tell(self, key: str, text: str) -> None:
        """Publish a text under a key that is used once; rank 0 does."""
        with peers():
            self.store.set(key, text)

    def hear(self, key: str) -> str:
        """Return the text under a key, waiting for it; raises PeerLost when rank 0 goes away."""
        with peers():
            self.store.wait([key], WRITE_TIMEOUT)
            return str(self.store.get(key).decode())


def join(rank: int, local_rank: int) -> Group:
    """Join the process group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe; raises PeerLost.

    On NPUs operators and sums over ranks are asked to be deterministic; on the CPU, with one thread, they are.
    """
    import torch
    import torch.distributed as dist

    if hasattr(torch, "npu") and torch.npu.is_available():
        os.environ.setdefault("HCCL_DETERMINISTIC", "true")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.npu.set_device(local_rank)
        device, backend = torch.device("npu", local_rank), "hccl"
    else:
        device, backend = torch.device("cpu"), "gloo"
    with peers():
        store, _, world_size = next(dist.rendezvous("env://", timeout=START_TIMEOUT))
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=COLLECTIVE_TIMEOUT)
    return Group(rank, world_size, device, dist.PrefixStore("ascendjobs", store))


def leave(group: Group) -> None:
    """Wait until every rank is done, then take the group down."""
    import torch.distributed as dist

    if group.is_first:
        group.tell("done", "")
    group.hear("done")
    group.sum([0.0])
    dist.destroy_process_group()


@contextlib.contextmanager
def peers() -> Iterator[None]:
    """Turn the backends' many ways to say that another rank is gone into PeerLost."""
    import torch.distributed as dist

    try:
        yield
    except dist.DistError as error:
        raise PeerLost(f"another rank went away: {_first_line(error)}") from error
    except RuntimeError as error:
        if not _names_a_peer(str(error)):
            raise
        raise PeerLost(f"another rank went away: {_first_line(error)}") from error


def default_environment() -> None:
    """Set what torch's rendezvous needs for one process on its own; what is set already stays."""
    for key, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(key, value)


def _names_a_peer(text: str) -> bool:
    words = ("closed by peer", "reset by peer", "broken pipe", "timed out waiting", "socket closed")
    return any(word in text.lower() for word in words)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
