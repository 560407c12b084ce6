"""One optimisation step: forward, backward, sum over ranks, clip, update."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ascend_runtime.config import Config
from ascend_runtime.data.encode import IGNORED
from ascend_runtime.train.batches import Batch, Documents
from ascend_runtime.train.group import Group, peers
from ascend_runtime.train.model import Model
from ascend_runtime.train.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

CLIP = 1.0
"""Largest norm of the gradient, as MindSpeed-LLM and transformers clip by default."""
BETAS = (0.9, 0.999)
"""AdamW's decay rates: torch's defaults. Weight decay is 0, as transformers' is."""


class Diverged(Exception):
    """The loss is no number any more; the sentence says what helps."""


@dataclass(frozen=True)
class Learner:
    """All that a step needs, set up once."""

    group: Group
    plan: Plan
    model: Model
    parallel: Any
    """The network inside DistributedDataParallel."""
    optimizer: Any
    scaler: Any
    """torch.amp.GradScaler, which passes everything through but for fp16."""
    documents: Documents


@dataclass(frozen=True)
class StepResult:
    """What a step did, the same on every rank."""

    loss: float
    """Mean over all learned tokens of all ranks, in nats."""
    grad_norm: float | None
    """Before clipping; None when not finite (fp16 skips such a step)."""
    learning_rate: float
    tokens: int
    """Tokens of all ranks, without padding."""


def make_learner(config: Config, group: Group, plan: Plan, model: Model, documents: Documents) -> Learner:
    """Wrap the network for data parallelism and set up AdamW."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    index = [group.device.index] if group.device.type == "npu" else None
    with peers():
        parallel = DistributedDataParallel(model.network, device_ids=index, gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(list(model.learned.values()), lr=plan.learning_rate, betas=BETAS, weight_decay=0.0)
    scaler = torch.amp.GradScaler(group.device.type, enabled=model.compute == torch.float16)
    return Learner(group, plan, model, parallel, optimizer, scaler, documents)


def take_step(learner: Learner, step: int) -> StepResult:
    """Do one step (from 0) and return what it did; raises Diverged and PeerLost.

    Gradients are those of the mean over all learned tokens of the step: each rank's sum is divided by the count over
    all ranks, and multiplied by the world size, since DistributedDataParallel averages.
    """
    import torch

    plan, group = learner.plan, learner.group
    torch.manual_seed(plan.random_seed(step, group.rank))
    samples = plan.samples(step)
    learned = int(learner.documents.learned[samples].sum())
    rate = plan.rate(step)
    for parameters in learner.optimizer.param_groups:
        parameters["lr"] = rate
    learner.optimizer.zero_grad(set_to_none=True)
    with peers():
        loss = _accumulate(learner, step, group.world_size / learned)
        norm = _update(learner)
    mean = group.sum([loss])[0] / learned
    check_finite(mean, f"loss of step {step + 1}")
    tokens = int(learner.documents.lengths[samples].sum())
    return StepResult(mean, norm if math.isfinite(norm) else None, rate, tokens)


def check_finite(loss: float, name: str) -> None:
    """Raise Diverged when a loss is no number: going on would only cost time."""
    if not math.isfinite(loss):
        raise Diverged(f"the {name} is {loss}; lower learningRate, use bf16 or fp32, or check the model's weights")


def summed_loss(network: Module, model: Model, batch: Batch) -> Tensor:
    """Return the sum of the losses of a batch's learned tokens, in 32 bits."""
    import torch
    from torch.nn.functional import cross_entropy

    with torch.autocast(batch.ids.device.type, dtype=model.compute, enabled=model.compute != torch.float32):
        logits = network(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).logits
    wanted = batch.labels[:, 1:]
    is_learned = wanted != IGNORED
    return cross_entropy(logits[:, :-1][is_learned].float(), wanted[is_learned], reduction="sum")


def _accumulate(learner: Learner, step: int, factor: float) -> Tensor:
    """Run all batches of this rank; gradients are exchanged once, with the last one. Return the summed loss."""
    total: Any = 0.0
    batches = learner.plan.rank_batches(step, learner.group.rank)
    for index, documents in enumerate(batches):
        is_last = index == len(batches) - 1
        with contextlib.nullcontext() if is_last else learner.parallel.no_sync():
            batch = learner.documents.batch(documents, learner.group.device)
            loss = summed_loss(learner.parallel, learner.model, batch)
            learner.scaler.scale(loss * factor).backward()
        total = total + loss.detach()
    return total


def _update(learner: Learner) -> float:
    """Clip and apply the gradients; return their norm before."""
    import torch

    learner.scaler.unscale_(learner.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(list(learner.model.learned.values()), CLIP)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    return float(norm)
