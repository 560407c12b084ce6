"""The steps of a run, with its progress lines, checkpoints and validation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ascend_runtime.config import Config
from ascend_runtime.report import emit
from ascend_runtime.train import checkpoint
from ascend_runtime.train.batches import Documents
from ascend_runtime.train.checkpoint import Progress
from ascend_runtime.train.evaluate import validation_loss
from ascend_runtime.train.step import Learner, StepResult, check_finite, take_step

WINDOW = 20
"""Steps over which speed and remaining time are averaged."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run says of itself."""

    steps: int
    loss: float | None
    validation_loss: float | None


def run_steps(config: Config, attempt: int, learner: Learner, held_back: Documents, progress: Progress) -> Outcome:
    """Do all steps that are left; raises Fenced, Diverged, PeerLost. The last step always ends in a checkpoint."""
    speed, validation, checked_at = _Speed(), None, -1
    if progress.step == 0:
        _validate(learner, held_back, 0)
    for step in range(progress.step, learner.plan.total_steps):
        with speed.timed():
            result = take_step(learner, step)
        progress = Progress(step + 1, result.loss)
        if learner.group.is_first:
            _report(progress.step, learner.plan.total_steps, result, speed)
        if progress.step % config.every_steps == 0 or progress.step == learner.plan.total_steps:
            validation, checked_at = _validate(learner, held_back, progress.step), progress.step
            _save(config, attempt, learner, progress)
    if checked_at != progress.step:
        validation = _validate(learner, held_back, progress.step)
    return Outcome(progress.step, progress.loss, validation)


def _validate(learner: Learner, held_back: Documents, step: int) -> float | None:
    loss = validation_loss(held_back, learner.model, learner.group, learner.plan.batch)
    if loss is not None:
        check_finite(loss, f"validation loss after step {step}")
        if learner.group.is_first:
            emit("validation", step=step, loss=loss)
    return loss


def _save(config: Config, attempt: int, learner: Learner, progress: Progress) -> None:
    """Have rank 0 write a checkpoint while the others wait, however long that takes."""
    key = f"saved-{progress.step}"
    if learner.group.is_first:
        checkpoint.save(config, attempt, learner, progress)
        learner.group.tell(key, "")
    learner.group.hear(key)


def _report(step: int, total: int, result: StepResult, speed: _Speed) -> None:
    speed.count(result.tokens)
    emit(
        "progress",
        step=step,
        totalSteps=total,
        loss=result.loss,
        gradNorm=result.grad_norm,
        learningRate=result.learning_rate,
        tokensPerSecond=round(speed.tokens_per_second, 1),
        estimatedSecondsLeft=round((total - step) * speed.seconds_per_step),
    )


@dataclass
class _Speed:
    """Seconds and tokens of the last steps; checkpoints and validation are not counted."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    tokens: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds.append(time.monotonic() - started)

    def count(self, tokens: int) -> None:
        self.tokens.append(tokens)

    @property
    def seconds_per_step(self) -> float:
        return sum(self.seconds) / len(self.seconds)

    @property
    def tokens_per_second(self) -> float:
        return sum(self.tokens) / max(sum(self.seconds), 1e-9)
