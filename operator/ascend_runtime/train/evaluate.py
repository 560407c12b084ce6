"""The loss on the documents that were held back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ascend_runtime.train.batches import Documents
from ascend_runtime.train.group import Group
from ascend_runtime.train.model import Model
from ascend_runtime.train.step import summed_loss


def validation_loss(documents: Documents, model: Model, group: Group, batch: int) -> float | None:
    """Return the mean loss over all learned tokens of all documents, None when there are none.

    Each rank computes its share (documents by length, dealt out in turn, so shares are alike and padding is little).
    """
    import torch

    if not len(documents):
        return None
    order = np.argsort(-documents.lengths, kind="stable")
    mine = order[group.rank :: group.world_size]
    total: Any = torch.zeros((), dtype=torch.float64 if group.device.type == "cpu" else torch.float32)
    model.network.eval()
    with torch.no_grad():
        for first in range(0, len(mine), batch):
            share = documents.batch(mine[first : first + batch], group.device)
            total += summed_loss(model.network, model, share).cpu()
    model.network.train()
    return float(group.sum([total])[0] / int(documents.learned.sum()))
