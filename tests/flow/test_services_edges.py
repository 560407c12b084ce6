"""Services where something comes in between: suspension, zero replicas, wrong specs, lost children, old failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ascend_jobs import names
from ascend_jobs.api.base import format_time
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import CHILDREN, JOBS
from ascend_jobs.decide.inference import rules
from ascend_jobs.decide.plan import Kind
from flow.harness import NAMESPACE, replay_in_turn
from flow.services import AISVC, DEPLOYMENTS, EVJ, MODEL, STATEFUL_SETS, ServiceLife

SERVICES, CONFIG_MAPS, REVISIONS = CHILDREN[Kind.SERVICE], CHILDREN[Kind.CONFIG_MAP], CHILDREN[Kind.REVISION]
CRITERIA = [{"metric": "ceval.accuracy", "min": 0.2}]
ACCEPTED = {
    "accepted": True,
    "criteria": [{"metric": "ceval.accuracy", "value": 0.3, "accepted": True}],
    "metrics": {"ceval.accuracy": 0.3},
}
REJECTED = {**ACCEPTED, "accepted": False}


@pytest.fixture
def life():
    return ServiceLife()


def selector(life: ServiceLife) -> dict[str, str]:
    found = life.api.find(SERVICES, NAMESPACE, "faq-aisvc")
    assert found is not None
    return dict(found["spec"]["selector"])


async def wake(life: ServiceLife) -> None:
    life._wake(Key(names.INFERENCE_SHORT, NAMESPACE, "faq"))
    await life.settle()


async def test_what_was_given_up_can_be_tried_again_once_it_was_mended(life):
    await life.serve()
    await life.inspect(65, {"reason": "ModelInvalid", "message": "config.json is missing"})
    assert life.state()["failedRevision"]["number"] == 1
    await life.change(model={"uri": "pvc://models/other"})
    await life.change(model={"uri": "pvc://models/base"})
    await life.up()
    assert life.is_true("Ready")[0] == "True"
    assert life.state()["revision"]["number"] == 3


async def test_numbers_of_versions_never_go_back(life):
    await life.serve()
    await life.up()
    await life.change(serving={"maxLength": 2048})
    await life.up()
    await life.change(serving={"maxLength": None})
    await life.up()
    assert life.state()["revision"]["number"] == life.state()["lastRevision"] == 3


async def test_a_gate_that_refused_is_asked_again_when_its_version_comes_back(life):
    await life.serve()
    await life.up()
    await life.evaluate("check", suspend=True, acceptance=CRITERIA)
    await life.change(rollout={"gate": {"evaluation": "check"}}, serving={"maxLength": 2048})
    for words in (REJECTED, ACCEPTED):
        await life.change(serving={"maxLength": 2048})
        await life.inspect()
        await life.roll()
        await life.answer_all()
        life.finish_evaluation(words)
        await life.settle()
        if words is REJECTED:
            assert life.state()["failedRevision"]["reason"] == "GateFailed"
            await life.change(serving={"maxLength": None})
    for _ in range(3):
        await life.roll()
        await life.answer_all()
    assert life.state()["revision"]["number"] == 3


async def test_nothing_unproven_is_taken_while_no_replicas_are_wanted(life):
    await life.serve()
    await life.up()
    await life.evaluate("check", suspend=True, acceptance=CRITERIA)
    await life.change(scaling={"replicas": 0}, rollout={"gate": {"evaluation": "check"}})
    await life.change(serving={"maxLength": 2048})
    await life.inspect()
    await life.advance(2 * 3600)
    state = life.state()
    assert (state["phase"], state["revision"]["number"], state["candidate"]["number"]) == ("ScaledToZero", 1, 2)
    assert set(life.replicas().values()) <= {0}
    await life.change(scaling={"replicas": 1})
    await life.roll()
    assert "failedRevision" not in life.state(), "its deadline did not run while nothing was wanted"
    await life.answer_all()
    assert life.state()["phase"] == "Updating"
    life.finish_evaluation(ACCEPTED)
    for _ in range(3):
        await life.roll()
        await life.answer_all()
    assert life.state()["revision"]["number"] == 2


async def test_the_first_version_is_reached_only_through_its_gate(life):
    await life.evaluate("check", suspend=True, acceptance=CRITERIA)
    await life.serve(rollout={"gate": {"evaluation": "check"}})
    await life.inspect()
    await life.roll()
    await life.answer("revision-1")
    assert selector(life)[names.REVISION] == "0", "nobody is selected"
    life.finish_evaluation(ACCEPTED)
    await life.settle()
    assert selector(life)[names.REVISION] == "1"


async def test_somebody_elses_evaluation_is_no_gate(life):
    await life.serve()
    await life.up()
    uid = life.service()["metadata"]["uid"]
    await life.evaluate(names.gate_name("faq", uid, 2), target={"url": "http://10.0.0.1:8000", "model": "m"})
    life.finish_evaluation({})
    await life.settle()
    await life.evaluate("check", suspend=True, acceptance=CRITERIA)
    await life.change(rollout={"gate": {"evaluation": "check"}}, serving={"maxLength": 2048})
    await life.inspect()
    await life.roll()
    await life.answer_all()
    assert life.state()["revision"]["number"] == 1
    assert life.is_true("Stalled") == ("True", "NameConflict")
    assert life.is_true("Ready")[0] == "True", "what serves is not touched by that"


async def test_a_gate_that_waits_for_a_claim_is_not_refused(life):
    await life.serve()
    await life.up()
    await life.evaluate("check", suspend=True, acceptance=CRITERIA, output={"uri": "pvc://reports/x"})
    await life.change(rollout={"gate": {"evaluation": "check"}}, serving={"maxLength": 2048})
    await life.inspect()
    await life.roll()
    await life.answer_all()
    assert "failedRevision" not in life.state()
    assert life.is_true("Progressing") == ("True", "GateRunning")


async def test_copies_of_the_gate_and_looks_at_models_do_not_pile_up(life):
    await life.serve()
    await life.up()
    await life.evaluate("check", suspend=True, acceptance=CRITERIA)
    await life.change(rollout={"gate": {"evaluation": "check"}})
    for length in range(8):
        await life.change(serving={"maxLength": 1024 + length})
        for _ in range(4):
            await life.inspect()
            await life.roll()
            await life.answer_all()
            life.finish_evaluation(ACCEPTED)
            await life.settle()
    assert life.state()["revision"]["number"] == 9
    assert len(life.pods(names.ROLE_INSPECT)) <= 6
    assert len(life.api.all(EVJ)) <= 7


async def test_a_gate_ends_with_its_candidate(life):
    await life.serve()
    await life.up()
    await life.evaluate("check", suspend=True, acceptance=CRITERIA)
    await life.change(rollout={"gate": {"evaluation": "check"}}, serving={"maxLength": 2048})
    await life.inspect()
    await life.roll()
    await life.answer_all()
    assert len(life.api.all(EVJ)) == 2
    await life.change(suspend=True)
    life.reap()
    await life.settle()
    assert [e["metadata"]["name"] for e in life.api.all(EVJ)] == ["check"]
    assert life.pods("evaluate") == []


async def test_requests_reach_the_new_version_before_the_old_one_shrinks(life):
    await life.serve()
    await life.up()
    await life.change(serving={"maxLength": 2048})
    await life.inspect()
    await life.roll()
    order = []

    def note(type_, resource, thing):
        if resource == DEPLOYMENTS and thing["metadata"]["name"] == "faq-aisvc-1" and thing["spec"]["replicas"] == 0:
            order.append("shrinks")
        if resource == SERVICES and thing["metadata"]["name"] == "faq-aisvc":
            order.append("both" if names.REVISION not in thing["spec"]["selector"] else "one")

    life.api.listeners.append(note)
    await life.answer("revision-2")
    assert order[:2] == ["both", "shrinks"]


@pytest.mark.parametrize(
    "wrong", [{"scaling": {"schedules": [{"cron": "x y z q w", "minReplicas": 1}]}}, {"npusPerNode": 10}]
)
async def test_a_wrong_spec_is_told_and_what_serves_is_asked_on(life, wrong):
    await life.serve()
    await life.up()
    await life.change(**wrong)
    assert life.is_true("Stalled")[0] == "True"
    assert life.is_true("Ready") == ("True", "Answered")
    await life.answer(ok=False, message="HTTP 500")
    assert life.is_true("Ready") == ("False", "NotAnswered")
    assert life.is_true("Stalled")[0] == "True"


async def test_an_upgrade_that_knows_more_of_engines_leaves_what_serves_alone(life, monkeypatch):
    await life.serve()
    await life.up()
    monkeypatch.setattr(rules, "engine_problems", lambda given: (("spec.serving.maxLength", "is too long"),))
    await life.answer()
    assert life.is_true("Stalled")[0] == "False"
    await life.change(serving={"maxLength": 2048})
    assert life.is_true("Stalled")[0] == "True"


async def test_a_model_is_not_given_up_in_one_moment(life):
    await life.serve()
    for number in range(5):
        name = f"faq-aisvc-1-inspect-{number}"
        life.schedule(name)
        ended = {"exitCode": 1, "reason": "Error", "finishedAt": format_time(life.now)}
        statuses = [{"name": names.CONTAINER_INSPECT, "state": {"terminated": ended}}]
        life._status(name, phase="Failed", containerStatuses=statuses)
        await life.settle()
        assert "failedRevision" not in life.state()
        assert len(life.pods(names.ROLE_INSPECT)) == number + 1, "not at once"
        await life.advance(10 * 2**number)
        assert len(life.pods(names.ROLE_INSPECT)) == number + 2


async def test_without_rights_to_nodes():
    life = ServiceLife(nodes=0)
    await life.serve()
    life.schedule("faq-aisvc-1-inspect-0", "unseen")
    life.end("faq-aisvc-1-inspect-0", 0, {"model": MODEL})
    await life.roll(ready=False)
    for pod in life.pods(names.ROLE_SERVER):
        life.schedule(pod["metadata"]["name"], "unseen")
        life.run(pod["metadata"]["name"])
    await life.settle()
    await life.answer("revision-1")
    await life.answer()
    assert is_ready(life)


async def test_a_record_that_was_deleted_is_made_again(life):
    await life.serve()
    await life.up()
    life.api.remove(REVISIONS, NAMESPACE, "faq-aisvc-1")
    await life.up()
    await life.up()
    assert life.is_true("Ready")[0] == "True"
    number = life.state()["revision"]["number"]
    assert number == 2
    life.api.remove(DEPLOYMENTS, NAMESPACE, f"faq-aisvc-{number}")
    await life.settle()
    assert life.replicas() == {f"faq-aisvc-{number}": 1}


async def test_a_lost_job_takes_an_unproven_version_with_it(life):
    await life.apply("tuned", output={"uri": "pvc://models/tuned"})
    await life.prepare()
    await life.train()
    made = {"type": "model", "uri": "pvc://models/tuned", "sha256": "b" * 64, "sizeBytes": 9}
    life.end("tuned-ftj-0-worker-0", 0, {"steps": 2, "loss": 1.0, "artifacts": [made]})
    await life.serve(model={"fromJob": "tuned"})
    await life.inspect()
    await life.roll()
    assert life.replicas() == {"faq-aisvc-1": 1}
    await life.delete("tuned")
    assert life.replicas() == {}
    assert life.state()["phase"] == "Pending"


async def test_waiting_for_npus_beyond_the_deadline_is_no_busy_loop(life):
    await life.serve(probe={"startDeadlineSeconds": 30})
    await life.inspect()
    await life.roll(ready=False)
    life.refuse_node("faq-aisvc-1-0")
    await life.advance(60)
    before = life.passes
    await life.advance(600)
    assert life.passes - before <= 15
    assert life.is_true("Ready")[0] == "False"


async def test_answers_and_loads_that_only_move_are_seldom_written(life):
    await life.serve(scaling={"minReplicas": 1, "maxReplicas": 2}, probe={"everySeconds": 10})
    await life.up()
    await life.load(waiting=1)
    before = life.api.writes
    for number in range(60):
        await life.advance(10)
        life.scraper.views[life.service()["metadata"]["uid"]].clear()
        await life.load(waiting=1 + number % 3)
        await life.answer()
    assert life.api.writes - before <= 600 / 30 + 600 / 35 + 2
    before = life.api.writes
    for number in range(100):
        await life.answer(ok=False, message=f"request {number} failed")
        await life.advance(3)
    assert life.api.writes - before <= 300 / 30 + 300 / 30 + 3


async def test_a_restarted_operator_believes_the_last_answer(life):
    await life.serve(probe={"everySeconds": 60})
    await life.up()
    for _ in range(5):
        await life.advance(60)
        await life.answer()
    await life.advance(59)
    await life.restart()
    await wake(life)
    assert life.is_true("Ready") == ("True", "Answered")


async def test_suspending_at_every_stage_takes_all_pods_away(life):
    await life.serve()
    stages = [life.settle, life.inspect, life.roll, life.answer_all, life.answer_all]
    for stage in stages:
        await stage()
        await life.change(suspend=True)
        life.reap()
        await life.roll()
        assert life.pods(names.ROLE_SERVER) == []
        assert all(p["status"].get("phase") == "Succeeded" for p in life.pods(names.ROLE_INSPECT))
        await life.change(suspend=False)
        for done in stages[: stages.index(stage) + 1]:
            await done()
    await life.up()
    assert life.is_true("Ready")[0] == "True"


async def test_a_table_torn_by_a_killed_operator_is_mended(life):
    await spanning(life)
    life.lose("faq-aisvc-1-0-1")
    patch = {"data": {"hccl.json": '{"status":"initializing"}'}}
    life.api.change(CONFIG_MAPS, NAMESPACE, "rings-config-faq-aisvc-1-0", patch)  # and killed before it deleted pods
    await life.restart()
    await wake(life)
    assert all("deletionTimestamp" in p["metadata"] for p in life.pods(names.ROLE_SERVER))


async def test_a_replica_keeps_its_number_of_pods(life):
    await spanning(life)
    life.api.change(STATEFUL_SETS, NAMESPACE, "faq-aisvc-1-0", {"spec": {"replicas": 1}})
    await life.settle()
    assert life.api.find(STATEFUL_SETS, NAMESPACE, "faq-aisvc-1-0")["spec"]["replicas"] == 2


async def bring(life: ServiceLife, done: Callable[[], bool], words: dict[str, Any] | None = None) -> None:
    """Let pods run, answer and end (with these last words) until something is so; an operator may die on the way."""
    for _ in range(10):
        if done():
            return
        await life.inspect()
        if life.api.all(STATEFUL_SETS):
            await life.roll_sets()
            for pod in life.pods(names.ROLE_SERVER):
                life.run(pod["metadata"]["name"])
        await life.roll()
        await life.answer_all()
        if words is not None:
            life.finish_evaluation(words)
        await wake(life)
    raise AssertionError(life.state())


def is_ready(life: ServiceLife) -> bool:
    return life.state()["phase"] == "Ready" and life.is_true("Ready")[0] == "True"


async def spanning(life: ServiceLife) -> None:
    """Bring a replica of two pods to Ready."""
    await life.serve(nodes=2, npusPerNode=8, serving={"engine": "mindie"})
    await bring(life, lambda: is_ready(life))


def test_names_stay_within_what_labels_and_hosts_take():
    base = names.base_name("x" * names.MAX_JOB_NAME, names.INFERENCE_SHORT)
    seen = set()
    for revision in (1, 99, 1000, 99_999):
        for replica in (0, 9, 10, 999):
            name = names.replica_name(base, revision, replica)
            assert len(f"{name}-0123456789") <= 63, "label controller-revision-hash of a StatefulSet's pods"
            assert len(f"{name}-63") <= 63, "their host names"
            seen.add(name)
    assert len(seen) == 16
    assert names.replica_name("faq-aisvc", 1, 0) == "faq-aisvc-1-0"
    for run in (1, 99_999):
        assert len(names.group_name(base, run)) <= 63
        assert len(names.revision_name(base, run)) <= 63
    assert len(names.gate_name("x" * 40, "0123abcd-ef", 9999)) <= names.MAX_JOB_NAME
    assert JOBS[names.INFERENCE_SHORT] == AISVC
    assert json.dumps(MODEL)


async def lost_and_suspended(life: ServiceLife) -> None:
    """Two pods a replica: a rank is lost, all is suspended, comes back, goes to zero, comes back."""
    await spanning(life)
    life.lose("faq-aisvc-1-0-1")
    await life.settle()
    life.reap()
    await again(life)
    await life.change(suspend=True)
    gone(life)
    assert life.state()["phase"] == "Suspended"
    await life.change(suspend=False, scaling={"replicas": 0})
    gone(life)
    assert life.state()["phase"] == "ScaledToZero"
    await life.change(scaling={"replicas": None})
    await again(life)


def gone(life: ServiceLife) -> None:
    """Let the StatefulSet controller take the pods of sets that are no more."""
    sets = {s["metadata"]["name"] for s in life.api.all(STATEFUL_SETS)}
    for pod in life.pods(names.ROLE_SERVER):
        name = pod["metadata"]["name"]
        if name.rsplit("-", 1)[0] not in sets:
            life.lose(name)
    assert sets == set()


async def again(life: ServiceLife) -> None:
    """Start the pods that are missing, and answer."""
    await bring(life, lambda: is_ready(life) and life.is_true("RankTableReady")[0] == "True")


async def gated(life: ServiceLife) -> None:
    """A version that is refused by its gate, and the next one that is let through."""
    await life.serve()
    await bring(life, lambda: is_ready(life))
    before = life.state()["revision"]["number"]
    await life.evaluate("check", suspend=True, acceptance=CRITERIA)
    await life.change(rollout={"gate": {"evaluation": "check"}}, serving={"maxLength": 2048})
    await bring(life, lambda: "failedRevision" in life.state(), REJECTED)
    assert life.state()["failedRevision"]["reason"] == "GateFailed"
    assert life.state()["revision"]["number"] == before
    await bring(life, lambda: is_ready(life))
    await life.change(serving={"maxLength": 1024})
    await bring(life, lambda: life.state()["revision"]["number"] > before and is_ready(life), ACCEPTED)
    assert life.replicas() == {f"faq-aisvc-{life.state()['revision']['number']}": 1}


async def followed(life: ServiceLife) -> None:
    """A service of a job's result that is there before the job."""
    await life.serve(model={"fromJob": "tuned"})
    assert life.state()["phase"] == "Pending"
    await life.apply("tuned", output={"uri": "pvc://models/tuned"})
    await life.prepare()
    await life.train()
    made = {"type": "adapter", "uri": "pvc://models/tuned", "sha256": "b" * 64, "sizeBytes": 9}
    life.end("tuned-ftj-0-worker-0", 0, {"steps": 2, "loss": 1.0, "artifacts": [made]})
    await life.settle()
    await bring(life, lambda: is_ready(life))
    await life.delete("tuned")
    await wake(life)
    assert is_ready(life), "what serves goes on without the job"


@pytest.mark.parametrize(("story", "every"), [(lost_and_suspended, 2), (gated, 2), (followed, 2)])
async def test_faults_at_calls(story, every):
    assert await replay_in_turn(story, every, life=ServiceLife) > 10
