"""Tokenised documents → padded batches of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ascend_runtime.data.encode import IGNORED
from ascend_runtime.data.store import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, device

_SLICE = 1 << 16
"""Documents looked at together while counting labels: bounds memory."""


@dataclass(frozen=True)
class Batch:
    """Documents side by side, padded on the right to the longest."""

    ids: Tensor
    labels: Tensor
    attention: Tensor
    """1 for tokens, 0 for padding; made from lengths, never from the pad token, which often is the end token."""


class Documents:
    """One split's documents with the counts that training needs."""

    def __init__(self, split: Split) -> None:
        """Take an opened split; reads its labels once to count them."""
        self._split = split
        self.lengths: NDArray[np.int64] = split.ids.lengths.astype(np.int64)
        self.learned = _count_learned(split)
        """Labels of each document that some earlier token predicts (the first token's label does not count)."""

    def __len__(self) -> int:
        return len(self._split)

    def batch(self, documents: NDArray[np.int64], to: device) -> Batch:
        """Return documents as tensors on a device."""
        import torch

        shape = (len(documents), int(self.lengths[documents].max()))
        ids: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)
        labels: NDArray[np.int64] = np.full(shape, IGNORED, dtype=np.int64)
        attention: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)
        for row, index in enumerate(documents):
            length = self.lengths[index]
            ids[row, :length] = self._split.ids.document(int(index))
            labels[row, :length] = self._split.labels.document(int(index))
            attention[row, :length] = 1
        return Batch(*(torch.from_numpy(array).to(to) for array in (ids, labels, attention)))


def _count_learned(split: Split) -> NDArray[np.int64]:
    lengths = split.labels.lengths.astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    counts: NDArray[np.int64] = np.zeros(len(lengths), dtype=np.int64)
    for first in range(0, len(lengths), _SLICE):
        part = slice(first, min(first + _SLICE, len(lengths)))
        begin, end = starts[part][0], starts[part][-1] + lengths[part][-1]
        learned = (split.labels.tokens[begin:end] != IGNORED).astype(np.int64)
        learned[starts[part] - begin] = 0
        counts[part] = np.add.reduceat(learned, starts[part] - begin)
    return counts
