"""What a step does, computed from its number alone: samples, learning rate, random seed.

Nothing of this is kept in a checkpoint but the number of samples seen, which is why a resumed run gives the same
losses bit for bit, and why one with another world size can go on where the old one stopped.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ascend_runtime.config import Hyperparameters
from ascend_runtime.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray


WINDOW = 16
"""Steps whose samples are dealt out by length: documents side by side are then about as long, so little is padding
(measured on dictionary entries: 1 % of a batch instead of 20 %), and no rank waits for one with longer ones."""


@dataclass(frozen=True)
class Plan:
    """A run's course."""

    lengths: NDArray[np.int64]
    """Of the documents of the training split, in tokens."""
    world_size: int
    batch: int
    """Samples a rank computes at once (batchSizePerNpu)."""
    accumulation: int
    """Batches a rank computes for one step."""
    total_steps: int
    learning_rate: float
    warmup_steps: int
    scheduler: str
    seed: int

    @property
    def samples_per_step(self) -> int:
        """Return the global batch size."""
        return self.world_size * self.batch * self.accumulation

    def samples(self, step: int) -> NDArray[np.int64]:
        """Return the documents of a step (from 0) for all ranks.

        The epochs' shuffled orders follow each other without a gap, so each step is full and the last one of an epoch
        takes the beginning of the next. WINDOW steps at a time share their samples out by length, in random order.
        """
        window, place = divmod(step, WINDOW)
        steps = min(WINDOW, self.total_steps - window * WINDOW)
        found = self._stream(window * WINDOW * self.samples_per_step, steps * self.samples_per_step)
        by_length = found[np.argsort(self.lengths[found], kind="stable")].reshape(steps, self.samples_per_step)
        return by_length[np.random.RandomState([self.seed, window, 1]).permutation(steps)[place]]

    def rank_batches(self, step: int, rank: int) -> NDArray[np.int64]:
        """Return the documents of one rank in a step, one row a batch."""
        shape = (self.accumulation, self.world_size, self.batch)
        return self.samples(step).reshape(shape)[:, rank]

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (from 0): linear warm-up, then linear, cosine to 0, or constant."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        factor = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        return self.learning_rate * factor[self.scheduler]

    def _stream(self, first: int, count: int) -> NDArray[np.int64]:
        """Return a piece of the epochs' shuffled orders, one after the other."""
        documents, last, parts = len(self.lengths), first + count, []
        for epoch in range(first // documents, (last - 1) // documents + 1):
            order = _epoch_order(self.seed, epoch, documents)
            start = epoch * documents
            parts.append(order[max(0, first - start) : max(0, last - start)])
        return np.concatenate(parts).astype(np.int64)

    def random_seed(self, step: int, rank: int) -> int:
        """Return the seed of a rank's random numbers (dropout) in a step; unlike for each pair, below 2^63."""
        words = np.random.SeedSequence([self.seed, step, rank]).generate_state(2, np.uint32)
        return (int(words[0]) << 31) ^ int(words[1])


def make_plan(hyper: Hyperparameters, lengths: NDArray[np.int64], world_size: int) -> Plan:
    """Compute a run's course; raises InvalidInput when globalBatchSize does not divide."""
    at_once = hyper.batch_size_per_npu * world_size
    wanted = hyper.global_batch_size or at_once
    if wanted % at_once:
        where = "spec.training.hyperparameters.globalBatchSize"
        sentence = f"{where} is {wanted}, no multiple of batchSizePerNpu x NPUs, which is {at_once}"
        raise InvalidInput(Reason.CONFIG_INVALID, where, sentence)
    total = max(1, math.ceil(hyper.epochs * len(lengths) / wanted))
    total = total if hyper.max_steps is None else min(total, hyper.max_steps)
    return Plan(
        lengths=lengths,
        world_size=world_size,
        batch=hyper.batch_size_per_npu,
        accumulation=wanted // at_once,
        total_steps=total,
        learning_rate=hyper.learning_rate,
        warmup_steps=math.ceil(hyper.warmup_ratio * total),
        scheduler=hyper.scheduler,
        seed=hyper.seed,
    )


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, documents: int) -> NDArray[np.int64]:
    """Shuffle an epoch. numpy.random.RandomState is frozen (NEP 19), so a seed means the same order for ever."""
    return np.random.RandomState([seed, epoch, 0]).permutation(documents)
