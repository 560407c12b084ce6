"""A checkpoint's content: learned parameters, AdamW's state, and how far the run was.

Random numbers and the order of the data follow from the step (plan.py), so nothing of them is kept. A checkpoint of
LoRA holds the adapter alone.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_runtime.chain import (
    Point,
    chain,
    check_fence,
    point_folder,
    read_points,
    read_records,
    surplus,
    write_record,
)
from ascend_runtime.config import Config
from ascend_runtime.folders import (
    make_aside,
    move_into_place,
    read_json,
    read_manifest,
    remove_folder,
    seal,
    sweep_aside,
    write_json,
)
from ascend_runtime.report import emit
from ascend_runtime.train.step import Learner

_WEIGHTS = "learned.safetensors"
_OPTIMIZER = "optimizer.pt"
_STATE = "state.json"


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int
    """Steps done."""
    loss: float | None
    """Of the last step done."""


def choose(config: Config, attempt: int) -> Point | None:
    """Find the checkpoint to continue from, record the attempt's start and return it; raises Fenced. Rank 0 does.

    A damaged checkpoint is passed over, with a warning, for the next older one.
    """
    workspace = config.workspace.path
    check_fence(workspace, attempt)
    records = read_records(workspace)
    origin = None
    for point in chain(attempt, records, read_points(workspace)):
        if read_manifest(point_folder(workspace, point)) is not None:
            origin = point
            break
        emit("warning", message=f"checkpoint of attempt {point.attempt}, step {point.step} is damaged; passed over")
    if attempt not in records:
        write_record(workspace, attempt, origin)
    for folder in (workspace / "attempts", workspace / "checkpoints" / str(attempt)):
        sweep_aside(folder)
    return origin


def save(config: Config, attempt: int, learner: Learner, progress: Progress) -> None:
    """Write a checkpoint, say so, and delete what is beyond `keep`; raises Fenced. Rank 0 does."""
    workspace = config.workspace.path
    target = point_folder(workspace, Point(attempt, progress.step))
    aside = make_aside(target, f"{socket.gethostname()}-{os.getpid()}")
    _write_content(aside, learner, progress)
    facts = {"attempt": attempt, "step": progress.step, "specDigest": config.spec_digest}
    manifest = seal(aside, facts)
    check_fence(workspace, attempt)
    remove_folder(target)
    move_into_place(aside, target)
    where = f"{config.workspace.uri}/{target.relative_to(workspace)}"
    emit("checkpoint", step=progress.step, uri=where, sha256=manifest.sha256)
    prune(workspace, attempt, config.keep)


def prune(workspace: Path, attempt: int, keep: int) -> None:
    """Delete what this and earlier attempts wrote but the best `keep`, and what the earlier ones left half done.

    Raises Fenced.
    """
    check_fence(workspace, attempt)
    for point in surplus(attempt, read_records(workspace), read_points(workspace), keep):
        remove_folder(point_folder(workspace, point))
    for folder in (workspace / "checkpoints").glob("*"):
        if folder.name.isdecimal() and int(folder.name) < attempt:
            sweep_aside(folder)


def load(config: Config, point: Point, learner: Learner) -> Progress:
    """Bring a checkpoint's state into the learner and return how far it was.

    From another world size the run continues at the same number of samples, which is not bit for bit the same course.
    """
    import torch
    from safetensors.torch import load_file

    folder = point_folder(config.workspace.path, point)
    weights = load_file(folder / _WEIGHTS)
    with torch.no_grad():
        for name, weight in learner.model.learned.items():
            weight.copy_(weights[name])
    device = learner.group.device
    learner.optimizer.load_state_dict(torch.load(folder / _OPTIMIZER, map_location=device, weights_only=True))
    state = read_json(folder / _STATE) or {}
    learner.scaler.load_state_dict(state["scaler"])
    return Progress(_continue_at(state, learner), state["loss"])


def _continue_at(state: dict[str, Any], learner: Learner) -> int:
    if state["worldSize"] == learner.group.world_size:
        return int(state["step"])
    if learner.group.is_first:
        sizes = f"the checkpoint was written by {state['worldSize']} ranks, now there are {learner.group.world_size}"
        emit("warning", message=f"{sizes}; the run continues at the same number of samples, not bit for bit")
    return int(state["samples"]) // learner.plan.samples_per_step


def _write_content(folder: Path, learner: Learner, progress: Progress) -> None:
    import torch
    from safetensors.torch import save_file

    weights = {name: weight.detach().cpu().contiguous() for name, weight in learner.model.learned.items()}
    save_file(weights, folder / _WEIGHTS)
    torch.save(learner.optimizer.state_dict(), folder / _OPTIMIZER)
    state = {
        "step": progress.step,
        "samples": progress.step * learner.plan.samples_per_step,
        "worldSize": learner.group.world_size,
        "loss": progress.loss,
        "scaler": learner.scaler.state_dict(),
    }
    write_json(folder / _STATE, state)
