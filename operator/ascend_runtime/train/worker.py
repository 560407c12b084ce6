"""One rank of a run, from joining the others to the published result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ascend_runtime.chain import Point
from ascend_runtime.config import Config
from ascend_runtime.data.store import TRAIN, VALIDATION, find_current, open_split
from ascend_runtime.output import finished_output, remove_leftovers
from ascend_runtime.report import emit
from ascend_runtime.train import checkpoint
from ascend_runtime.train.batches import Documents
from ascend_runtime.train.checkpoint import Progress
from ascend_runtime.train.group import Group, join, leave
from ascend_runtime.train.loop import run_steps
from ascend_runtime.train.model import load_model
from ascend_runtime.train.plan import make_plan
from ascend_runtime.train.result import finished_message, publish_result, tidy
from ascend_runtime.train.step import Learner, make_learner


def run_rank(config: Config, attempt: int, rank: int, local_rank: int) -> dict[str, Any] | None:
    """Train as one rank; return the termination message on rank 0, None on the others.

    Raises Fenced, InvalidInput, PeerLost and what the libraries raise. Any rank that ends takes the others with it:
    they find its connection closed.
    """
    group = join(rank, local_rank)
    message = _train(config, attempt, group)
    leave(group)
    return message


def _train(config: Config, attempt: int, group: Group) -> dict[str, Any] | None:
    start = _agree_on_start(config, attempt, group)
    if start.message is not None:
        return start.message if group.is_first else None
    learner, held_back = _set_up(config, group)
    progress = Progress(0, None) if start.origin is None else checkpoint.load(config, start.origin, learner)
    outcome = run_steps(config, attempt, learner, held_back, progress)
    if not group.is_first:
        return None
    message = publish_result(config, attempt, learner.model, outcome)
    tidy(config, attempt)
    return message


@dataclass(frozen=True)
class _Start:
    """What rank 0 found before the first step."""

    origin: Point | None = None
    message: dict[str, Any] | None = None
    """The termination message when an earlier attempt had published already."""


def _agree_on_start(config: Config, attempt: int, group: Group) -> _Start:
    """Have rank 0 look at output and checkpoints and tell the others."""
    if group.is_first:
        group.tell("start", json.dumps(asdict(_find_start(config, attempt))))
    told = json.loads(group.hear("start"))
    return _Start(Point(**told["origin"]) if told["origin"] else None, told["message"])


def _find_start(config: Config, attempt: int) -> _Start:
    done = finished_output(config)
    origin = checkpoint.choose(config, attempt)
    if done is None:
        return _Start(origin)
    remove_leftovers(config)
    tidy(config, attempt)
    return _Start(origin, finished_message(config, done))


def _set_up(config: Config, group: Group) -> tuple[Learner, Documents]:
    """Load data and model; rank 0 checks every byte of the data, the others its sizes."""
    folder = find_current(config, hashes=group.is_first)
    documents, held_back = (Documents(open_split(folder, split)) for split in (TRAIN, VALIDATION))
    plan = make_plan(config.hyperparameters, documents.lengths, group.world_size)
    model = load_model(config, group.device)
    if group.is_first and model.compute != model.wanted:
        emit("warning", message=f"this CPU has no instructions for {config.hyperparameters.dtype}; computing in fp32")
    return make_learner(config, group, plan, model, documents), held_back
