"""Lives of evaluations: waiting, runs, suspension, failures, last words that say nothing; with faults at every call."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from ascend_jobs.cluster.verbs import PODS
from flow.harness import NAMESPACE, replay_in_turn
from flow.services import EVJ, ServiceLife

ELSEWHERE = {"url": "http://10.0.0.1:8000", "model": "m"}
CRITERIA = [{"metric": "ceval.accuracy", "min": 0.5}]
GOOD = {
    "accepted": True,
    "criteria": [{"metric": "ceval.accuracy", "value": 0.6, "accepted": True}],
    "metrics": {"ceval.accuracy": 0.6},
}


@pytest.fixture
def life():
    return ServiceLife()


def start(life: ServiceLife) -> str:
    """Let the one pod that is under way run; return its name."""
    [pod] = [p["metadata"]["name"] for p in life.pods("evaluate") if p["status"].get("phase", "Pending") == "Pending"]
    life.schedule(pod)
    life.start(pod)
    return pod


async def change(life: ServiceLife, **spec) -> None:
    life.api.change(EVJ, NAMESPACE, "faq", {"spec": spec})
    await life.settle()


@pytest.mark.parametrize("words", ["", "done", "[]", '{"metrics": {"ceval.accuracy": 0.9}}', '{"accepted": "yes"}'])
async def test_what_says_nothing_is_not_accepted(life, words):
    await life.evaluate(target=ELSEWHERE, acceptance=CRITERIA)
    life.end(start(life), 0, words)
    await life.settle()
    assert life.is_true("Accepted", of=life.evaluation()) == ("False", "NotAccepted")
    assert "ceval.accuracy" in life.evaluation()["message"] or "say nothing" in life.evaluation()["message"]


async def test_a_criterion_that_does_not_hold_is_not_accepted_whatever_the_sum_says(life):
    await life.evaluate(target=ELSEWHERE, acceptance=CRITERIA)
    wrong = [{"metric": "ceval.accuracy", "value": 0.1, "accepted": False, "message": "too low"}]
    life.end(start(life), 0, {**GOOD, "criteria": wrong})
    await life.settle()
    assert life.is_true("Accepted", of=life.evaluation()) == ("False", "NotAccepted")


async def test_last_words_of_any_size_fit_the_schema(life):
    await life.evaluate(target=ELSEWHERE, acceptance=CRITERIA)
    hostile = {
        **GOOD,
        "metrics": {f"{n}" + "\u4e2d" * 500: 0.123456789 for n in range(200)},
        "criteria": [{"metric": "x" * 999, "value": 10**400, "accepted": True, "message": "y" * 9999}] * 99,
        "report": {"uri": "z" * 9999, "sha256": 3},
        "requests": {"total": -1, "failed": 1e300},
        "verdict": "Splendid",
    }
    life.end(start(life), 0, json.dumps(hostile))
    await life.settle()
    assert len(life.evaluation()["result"]["metrics"]) == 64
    assert life.evaluation()["headline"].endswith(" 0.1235")
    await life.assert_at_rest()


@pytest.mark.parametrize("template", [{"metadata": []}, {"spec": "x"}, {"spec": {"containers": [{}]}}, {"x": 1}])
async def test_a_template_that_is_none_is_told(life, template):
    await life.evaluate(target=ELSEWHERE, runtime={"podTemplate": template})
    assert life.is_true("Stalled", of=life.evaluation()) == ("True", "SpecInvalid")
    assert "spec.runtime.podTemplate" in life.evaluation()["message"]


async def test_suspending_costs_no_try(life):
    await life.evaluate(target=ELSEWHERE, backoffLimit=1)
    for _ in range(3):
        start(life)
        await life.settle()
        await change(life, suspend=True)
        assert life.evaluation()["phase"] == "Suspended"
        await change(life, suspend=False)  # before the kubelet has ended the pod
        life.reap()
        await life.settle()
    life.finish_evaluation({"message": "nobody answers"}, code=1)
    await life.advance(15)
    life.finish_evaluation(GOOD)
    await life.settle()
    assert life.evaluation()["phase"] == "Complete"
    assert (life.evaluation()["run"]["number"], life.evaluation()["run"]["failures"]) == (1, 1)


async def test_pods_that_failed_do_not_pile_up(life):
    await life.evaluate(target=ELSEWHERE, backoffLimit=20)
    for _ in range(12):
        life.finish_evaluation({"message": "nobody answers"}, code=1)
        await life.advance(400)
    assert life.evaluation()["run"]["failures"] == 12
    assert len(life.pods("evaluate")) <= 2


async def test_why_it_failed_is_told_also_after_a_suspension(life):
    await life.evaluate(target=ELSEWHERE, backoffLimit=0)
    life.end(start(life), 65, {"reason": "SuiteInvalid", "message": "column answer is missing"})
    await life.settle()
    before = life.evaluation()
    assert life.is_true("Failed", of=before) == ("True", "SuiteInvalid")
    await change(life, suspend=True)
    await change(life, suspend=False)
    after = life.evaluation()
    assert life.is_true("Failed", of=after) == ("True", "SuiteInvalid")
    assert "column answer is missing" in after["message"]


async def test_a_spec_changed_in_the_middle_is_never_complete_with_the_old_result(life):
    await life.evaluate(target=ELSEWHERE, acceptance=CRITERIA)
    pod = start(life)
    await change(life, acceptance=[{"metric": "ceval.accuracy", "min": 0.9}])
    seen = []
    life.api.listeners.append(
        lambda type_, resource, thing: (
            seen.append((thing.get("status") or {}).get("phase")) if resource == EVJ else None
        )
    )
    life.end(pod, 0, GOOD)
    await life.settle()
    assert life.evaluation()["run"]["number"] == 2
    assert "Complete" not in seen


async def test_a_target_that_goes_in_the_middle_is_waited_for(life):
    await life.serve()
    await life.up()
    await life.evaluate()
    start(life)
    await life.change(suspend=True)
    life.finish_evaluation({"reason": "TargetUnreachable", "message": "nobody answers"}, code=1)
    await life.advance(60)
    assert life.is_true("Reconciling", of=life.evaluation()) == ("True", "WaitingForService")
    await life.change(suspend=False)
    await life.up()
    await life.advance(60)
    life.finish_evaluation(GOOD)
    await life.settle()
    assert life.evaluation()["phase"] == "Complete"


async def test_the_hour_that_comes_twice_starts_no_run_after_the_other(life):
    life.now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 in Berlin, for the second time
    await life.evaluate(target=ELSEWHERE, triggers={"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"})
    for _ in range(5):
        life.finish_evaluation(GOOD)
        await life.advance(60)
    assert life.evaluation()["run"]["number"] == 1
    before = life.passes
    await life.advance(1800)
    assert life.passes - before <= 3


async def story(life: ServiceLife) -> None:
    """A run that fails, is suspended, comes back, ends well, and runs again on its schedule."""
    await life.evaluate(target=ELSEWHERE, acceptance=CRITERIA, triggers={"schedule": "0 0 * * *"})
    life.finish_evaluation({"message": "nobody answers"}, code=1)
    await life.advance(30)
    start(life)
    await change(life, suspend=True)
    life.reap()
    await life.settle()
    assert life.pods("evaluate") == [] or all(p["status"]["phase"] == "Failed" for p in life.pods("evaluate"))
    await change(life, suspend=False)
    await life.advance(60)
    life.finish_evaluation(GOOD)
    await life.settle()
    status = life.evaluation()
    assert (status["phase"], status["accepted"], status["run"]["number"]) == ("Waiting", "True", 1)
    await life.advance(24 * 3600)
    assert life.evaluation()["run"]["number"] == 2
    life.finish_evaluation(GOOD)
    await life.settle()
    assert [entry["run"] for entry in life.evaluation()["history"]] == [2, 1]
    assert len([p for p in life.api.all(PODS) if p["status"].get("phase") != "Failed"]) == 1
    await life.assert_at_rest()


async def test_faults_at_every_call():
    assert await replay_in_turn(story, life=ServiceLife) > 15
