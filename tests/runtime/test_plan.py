from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ascend_runtime.errors import InvalidInput
from ascend_runtime.train.plan import make_plan
from runtime.builders import make_config


def plan(world=2, lengths=(5,) * 10, **changes):
    config = make_config(Path("/x"), {f"training.hyperparameters.{key}": value for key, value in changes.items()})
    return make_plan(config.hyperparameters, np.asarray(lengths), world)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        pytest.param({"maxSteps": None}, 2, id="an-epoch-rounded-up"),
        pytest.param({"maxSteps": None, "epochs": 3}, 4, id="epochs-follow-each-other"),
        pytest.param({"maxSteps": 1, "epochs": 3}, 1, id="capped"),
        pytest.param({"maxSteps": 100}, 2, id="the-cap-is-no-aim"),
        pytest.param({"maxSteps": None, "epochs": 0.1}, 1, id="at-least-one"),
    ],
)
def test_total_steps(changes, steps):
    assert plan(**changes).total_steps == steps


def test_default_batch_is_what_the_npus_take_at_once():
    assert plan(globalBatchSize=None, world=4).samples_per_step == 8


def test_global_batch_must_divide():
    with pytest.raises(InvalidInput, match=r"globalBatchSize is 6, no multiple of .* which is 4"):
        plan(globalBatchSize=6)


def test_every_document_once_an_epoch():
    course = plan(lengths=range(100), maxSteps=None, epochs=4)
    seen = np.concatenate([course.samples(step) for step in range(50)])
    assert sorted(seen) == sorted([*range(100)] * 4)


def test_each_epoch_has_its_own_order():
    course = plan(lengths=[5] * 128, maxSteps=None, epochs=2)
    orders = [np.concatenate([course.samples(epoch * 16 + step) for step in range(16)]) for epoch in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(128))
    assert orders[0].tolist() != orders[1].tolist()


def test_a_steps_documents_are_about_as_long():
    course = plan(lengths=range(1000), maxSteps=None)
    spreads = [np.ptp(course.samples(step)) for step in range(course.total_steps)]
    assert np.mean(spreads) < 100
    longest = [course.samples(step).max() for step in range(16)]
    assert longest != sorted(longest)


def test_ranks_share_a_step_without_overlap():
    course = plan()
    shares = [course.rank_batches(1, rank) for rank in range(2)]
    assert [share.shape for share in shares] == [(2, 2), (2, 2)]
    together = np.stack(shares, axis=1).reshape(-1)
    assert together.tolist() == course.samples(1).tolist()


def test_another_seed_gives_another_order():
    assert plan().samples(0).tolist() != plan(seed=8).samples(0).tolist()


@pytest.mark.parametrize(
    ("scheduler", "want"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, 0.8536, 0.5, 0.1464]),
    ],
)
def test_learning_rate(scheduler, want):
    course = plan(
        lengths=[5] * 1000, maxSteps=6, warmupRatio=1 / 3, learningRate=1.0, scheduler=scheduler, globalBatchSize=None
    )
    assert [course.rate(step) for step in range(6)] == pytest.approx(want, abs=1e-4)


def test_random_seeds_differ():
    course = plan()
    seeds = {course.random_seed(step, rank) for step in range(50) for rank in range(8)}
    assert len(seeds) == 400
    assert max(seeds) < 2**63
    assert json.dumps(sorted(seeds)[0])
