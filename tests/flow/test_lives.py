"""Lives of FineTuneJobs: each undisturbed, and with every kind of fault at every call to the API server.

The fault is a refusal, an answer that is lost after the call took effect, or the death of the operator; each story
asserts its own end, so every one of these runs comes to the same.
"""

from __future__ import annotations

import os

import pytest
from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionType
from ascend_jobs.cluster.verbs import CHILDREN, CLAIMS
from ascend_jobs.decide.plan import Kind
from flow.harness import FTJ, NAMESPACE, Life, Story, replay, replay_in_turn

WORDS = {"steps": 2, "loss": 0.5, "validationLoss": 0.6, "artifacts": [
    {"type": "adapter", "uri": "pvc://models/faq", "sha256": "a" * 64, "sizeBytes": 10}
]}  # fmt: skip


def workers(life: Life) -> list[str]:
    """Names of the pods of the present attempt."""
    attempt = str(life.status()["attempt"]["number"])
    pods = life.pods(names.ROLE_WORKER)
    return [p["metadata"]["name"] for p in pods if p["metadata"]["labels"][names.ATTEMPT] == attempt]


async def run_to_training(life: Life, **spec: object) -> None:
    await life.apply(**{"nodes": 2, **spec})
    await life.prepare()
    await life.train()
    assert life.phase == "Running", life.status()


async def finish(life: Life) -> None:
    for index, pod in enumerate(workers(life)):
        life.end(pod, 0, WORDS if index == 0 else "")
    await life.settle()
    assert life.phase == "Complete", life.status()
    assert life.status()["artifacts"][0]["uri"] == "pvc://models/faq"
    await life.assert_at_rest()


async def a_worker_is_lost(life: Life) -> None:
    """The gang starts again, the table is renewed with a higher version, the platform is charged."""
    await run_to_training(life)
    before = life.status()["rankTable"]
    lost = workers(life)[1]
    life.lose(lost)
    await life.settle()
    life.reap()
    await life.train()
    assert life.phase == "Running", life.status()
    assert life.status()["restarts"] == {"program": 0, "platform": 1}
    assert life.status()["rankTable"]["version"] > before["version"]
    assert lost not in workers(life)
    await finish(life)


async def the_program_fails(life: Life) -> None:
    """The next attempt waits its delay; the budget of the program is charged; then the limit ends the job."""
    await run_to_training(life, backoffLimit=1)
    life.end(workers(life)[0], 1, {"reason": "Error", "message": "boom"})
    await life.settle()
    life.reap()
    assert life.phase == "Restarting"
    await life.advance(11)
    await life.train()
    assert life.status()["restarts"] == {"program": 1, "platform": 0}
    life.end(workers(life)[1], 1, {"reason": "Error", "message": "again"})
    await life.settle()
    assert life.condition(ConditionType.FAILED) == ("True", "BackoffLimitExceeded")
    life.reap()
    await life.assert_at_rest()
    assert [p for p in life.pods() if p["status"]["phase"] not in ("Failed", "Succeeded")] == []


async def the_data_is_wrong(life: Life) -> None:
    """A row without an answer ends the job at once, with file and row, and costs no NPU."""
    await life.apply(nodes=2)
    life.schedule("faq-ftj-prepare-0")
    life.start("faq-ftj-prepare-0")
    await life.settle()
    words = {"reason": "DatasetInvalid", "field": "spec.dataset.uri", "message": "faq.jsonl row 17: no answer"}
    life.end("faq-ftj-prepare-0", names.EXIT_INVALID_INPUT, words)
    await life.settle()
    assert life.condition(ConditionType.FAILED) == ("True", "DatasetInvalid")
    assert "spec.dataset.uri: faq.jsonl row 17" in life.status()["message"]
    assert life.pods(names.ROLE_WORKER) == []
    await life.assert_at_rest()


async def suspended_and_resumed(life: Life) -> None:
    """Suspending takes the pods away and charges nothing; resuming goes on with the next attempt."""
    await run_to_training(life)
    await life.edit(suspend=True)
    life.reap()
    await life.settle()
    assert life.condition(ConditionType.SUSPENDED) == ("True", "Suspended")
    assert life.pods(names.ROLE_WORKER) == []
    await life.assert_at_rest()
    await life.edit(suspend=False)
    await life.train()
    assert life.phase == "Running", life.status()
    assert life.status()["restarts"] == {"program": 0, "platform": 0}
    await finish(life)


async def suspended_while_preparing(life: Life) -> None:
    await life.apply(nodes=2)
    await life.edit(suspend=True)
    life.reap()
    await life.settle()
    assert life.pods() == []
    await life.edit(suspend=False)
    await life.prepare()
    await life.train()
    await finish(life)


async def the_claim_comes_later(life: Life) -> None:
    """GitOps applies in any order: a missing claim stalls the job, and it goes on by itself."""
    await life.apply(dataset={"uri": "pvc://late/faq.jsonl"})
    assert life.condition(ConditionType.STALLED) == ("True", "MissingPersistentVolumeClaim")
    assert life.children() == []
    life.foreign(CLAIMS, {"metadata": {"name": "late"}})
    await life.advance(31)
    await life.prepare()
    await life.train()
    assert life.phase == "Running", life.status()
    await finish(life)


async def somebody_has_our_name(life: Life) -> None:
    """A ConfigMap of the user's under the name of ours stays as it is; the job says so and goes on when it is gone."""
    config_maps = CHILDREN[Kind.CONFIG_MAP]
    theirs = {"metadata": {"name": "rings-config-faq-ftj"}, "data": {"hccl.json": "{}"}}
    life.foreign(config_maps, theirs)
    await life.apply(nodes=2)
    await life.prepare()
    await life.advance(1)
    assert life.condition(ConditionType.STALLED) == ("True", "NameConflict")
    assert "rings-config-faq-ftj" in life.status()["message"]
    del life._foreign[(config_maps.plural, "rings-config-faq-ftj")]
    life.api.remove(config_maps, NAMESPACE, "rings-config-faq-ftj")
    await life.advance(31)
    await life.train()
    assert life.phase == "Running", life.status()
    await finish(life)


async def two_jobs_write_to_one_output(life: Life) -> None:
    """The older wins; the younger waits and goes on when the older has ended."""
    await life.apply()
    life.create("young")
    life.api.change(FTJ, NAMESPACE, "young", {"metadata": {"creationTimestamp": "2026-01-01T12:00:05Z"}})
    await life.settle()
    assert life.condition(ConditionType.STALLED, "young") == ("True", "OutputInUse")
    assert [p["metadata"]["name"] for p in life.pods()] == ["faq-ftj-prepare-0"]
    await life.delete()
    life.reap()
    await life.advance(31)
    assert [p["metadata"]["name"] for p in life.pods()] == ["young-ftj-prepare-0"]


async def already_complete(life: Life) -> None:
    """A job that GitOps makes again after its TTL does not train again."""
    await life.apply(ttlSecondsAfterFinished=60)
    await life.prepare(alreadyComplete=True)
    assert life.condition(ConditionType.COMPLETE) == ("True", "AlreadyComplete")
    assert life.pods(names.ROLE_WORKER) == []
    await life.advance(61)
    assert life.api.find(FTJ, NAMESPACE, "faq") is None
    life.reap()
    await life.settle()
    assert life.children() == []


async def a_node_stops_being_ready(life: Life) -> None:
    """Acted on at once, not after the toleration of 300 s; the old pod is not waited for."""
    await run_to_training(life)
    life.set_ready("node-1", False)
    await life.settle()
    assert life.status()["lastFailure"]["reason"] == "NodeNotReady"
    assert life.status()["restarts"] == {"program": 0, "platform": 1}
    life.set_ready("node-1", True)
    await life.train()
    assert life.phase == "Running", life.status()
    life.reap()
    await finish(life)


async def a_pod_finds_no_node(life: Life) -> None:
    """More NPUs than are free is no error: pods wait, and the reason says what the scheduler says."""
    await life.apply(nodes=2)
    await life.prepare()
    await life.advance(1)
    for pod in workers(life):
        life.refuse_node(pod)
    await life.settle()
    assert life.condition(ConditionType.RUNNING) == ("False", "Unschedulable")
    assert "Insufficient huawei.com/Ascend910" in life.status()["message"]
    await life.train()
    await finish(life)


STORIES = (
    a_worker_is_lost,
    the_program_fails,
    the_data_is_wrong,
    suspended_and_resumed,
    suspended_while_preparing,
    the_claim_comes_later,
    somebody_has_our_name,
    two_jobs_write_to_one_output,
    already_complete,
    a_node_stops_being_ready,
    a_pod_finds_no_node,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_undisturbed(story: Story):
    life = Life()
    await story(life)
    await life.cluster.followers.close()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_with_a_fault_at_every_call(story: Story):
    """Kinds of fault take turns; with EVERY_FAULT set each call meets each of them (some minutes)."""
    played = await (replay(story) if os.environ.get("EVERY_FAULT") else replay_in_turn(story))
    assert played > 10


@pytest.mark.parametrize("moment", ["prepare", "scheduling", "training", "done"])
async def test_deleting_a_job_at_any_moment_leaves_nothing_of_ours(moment: str):
    life = Life()
    await life.apply(nodes=2)
    if moment != "prepare":
        await life.prepare()
    if moment in ("training", "done"):
        await life.train()
    if moment == "done":
        await finish(life)
    await life.delete()
    life.reap()
    await life.settle()
    assert life.children() == []
    assert {c["metadata"]["name"] for c in life.api.all(CLAIMS)} == {"models", "data"}
    await life.cluster.followers.close()
