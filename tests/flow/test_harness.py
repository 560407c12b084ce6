"""The harness itself: a whole life undisturbed, and with a fault at every call."""

from __future__ import annotations

import pytest
from ascend_jobs.api.conditions import ConditionType
from ascend_jobs.cluster.verbs import PODS
from flow.harness import NAMESPACE, Life, replay

LAST_WORDS = {"steps": 2, "loss": 0.5, "validationLoss": 0.6, "artifacts": [
    {"type": "adapter", "uri": "pvc://models/faq", "sha256": "a" * 64, "sizeBytes": 10}
]}  # fmt: skip


async def to_completion(life: Life) -> None:
    await life.apply(nodes=2)
    await life.prepare()
    await life.train()
    assert life.phase == "Running", life.status()
    await life.say("faq-ftj-0-worker-0", event="progress", step=1, totalSteps=2, loss=0.7)
    assert life.status()["progress"]["step"] == 1
    life.end("faq-ftj-0-worker-0", 0, LAST_WORDS)
    life.end("faq-ftj-0-worker-1", 0)
    await life.settle()
    assert life.phase == "Complete"
    assert life.condition(ConditionType.COMPLETE) == ("True", "Complete")
    await life.assert_at_rest()
    await life.delete()
    life.reap()
    await life.settle()
    assert life.children() == []


async def test_a_life():
    life = Life()
    await to_completion(life)
    assert life.deaths == 0


async def test_a_life_with_a_fault_at_every_call():
    assert await replay(to_completion) > 100


async def test_a_foreign_pod_that_is_touched_is_noticed():
    life = Life()
    life.foreign(PODS, {"metadata": {"name": "stranger"}, "spec": {"containers": []}})
    life.api.change(PODS, NAMESPACE, "stranger", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(AssertionError, match="foreign"):
        life.check()
