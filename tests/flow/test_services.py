"""Lives of services: first version, rollout, rollback, scaling, waiting for a job; also with faults at every call."""

import json
from dataclasses import replace

import pytest
from ascend_jobs.cluster.verbs import CHILDREN
from ascend_jobs.decide.plan import Kind
from flow.harness import replay_in_turn
from flow.services import AISVC, MODEL, ServiceLife

SERVICES, CONFIG_MAPS = CHILDREN[Kind.SERVICE], CHILDREN[Kind.CONFIG_MAP]
STATEFUL_SETS = CHILDREN[Kind.STATEFUL_SET]


@pytest.fixture
def life():
    return ServiceLife()


async def test_first_version_is_ready_only_when_it_answered(life):
    await life.serve()
    assert life.state()["phase"] == "Starting"
    assert life.replicas() == {}, "no NPU before the model was looked at"
    await life.inspect()
    assert life.replicas() == {"faq-aisvc-1": 1}
    await life.roll()
    assert life.is_true("Ready") == ("False", "Starting")
    await life.answer("revision-1")
    assert life.is_true("Ready")[0] == "False", "not through the Service yet"
    await life.answer()
    assert life.is_true("Ready") == ("True", "Answered")
    assert life.state()["probe"]["firstTokenMilliseconds"] == 42.0
    assert life.state()["url"] == "http://faq-aisvc.team-a.svc:8000"
    await life.answer(ok=False, message="HTTP 500: boom")
    assert life.is_true("Ready") == ("False", "NotAnswered")
    assert "boom" in life.state()["message"]


async def test_a_wrong_model_costs_no_npu(life):
    await life.serve()
    wrong = {"reason": "ModelInvalid", "field": "spec.model.uri", "message": "config.json is missing"}
    await life.inspect(65, wrong)
    assert life.is_true("Stalled") == ("True", "ModelInvalid")
    assert "config.json is missing" in life.state()["message"]
    assert life.replicas() == {}
    await life.change(model={"uri": "pvc://models/other"})
    await life.up()
    assert life.is_true("Ready") == ("True", "Answered")


async def rollout(life):
    await life.serve(scaling={"minReplicas": 2})
    await life.up()
    await life.roll()
    await life.change(serving={"maxLength": 2048})
    await life.inspect()
    for _ in range(8):
        await life.roll()
        state = life.state()
        ready = sum(1 for i in state["instances"] if i["ready"])
        assert ready >= 2, "fewer than wanted take requests"
        if "candidate" in state:
            name = f"revision-{state['candidate']['number']}"
            if "answeredTime" not in state["candidate"]:
                selector = life.api.find(SERVICES, "team-a", "faq-aisvc")["spec"]["selector"]
                assert selector["ascendjobs.io/revision"] == "1", "requests before it has answered"
                assert name
        await life.answer_all()
        await life.inspect()
    state = life.state()
    assert state["revision"]["number"] == state["lastRevision"]
    assert state["revision"]["number"] > 1
    assert "candidate" not in state
    assert life.replicas() == {f"faq-aisvc-{state['revision']['number']}": 2}
    assert life.is_true("Ready")[0] == "True"


async def test_rollout_keeps_the_wanted_replicas(life):
    await rollout(life)


async def test_a_version_that_fails_is_rolled_back(life):
    await life.serve()
    await life.up()
    await life.change(serving={"maxLength": 2048})
    await life.inspect()
    await life.roll(ready=False)
    assert life.replicas() == {"faq-aisvc-1": 1, "faq-aisvc-2": 1}
    life.end("faq-aisvc-2-0", 65, {"reason": "OutOfMemory", "message": "KV cache does not fit"})
    life._status("faq-aisvc-2-0", phase="Running")
    await life.settle()
    state = life.state()
    assert state["failedRevision"]["reason"] == "OutOfMemory"
    assert life.replicas() == {"faq-aisvc-1": 1}
    await life.answer()
    assert life.is_true("Ready")[0] == "True"
    assert life.is_true("Progressing") == ("False", "RolloutFailed")
    await life.advance(3600)
    assert life.replicas() == {"faq-aisvc-1": 1}, "the same input is not tried again"


async def test_a_version_that_never_answers_is_given_up(life):
    await life.serve(probe={"startDeadlineSeconds": 600})
    await life.inspect()
    await life.roll()
    await life.advance(601)
    assert life.is_true("Stalled") == ("True", "StartDeadlineExceeded")
    assert life.replicas() == {}


async def test_without_surplus_the_old_one_makes_room(life):
    await life.serve(rollout={"maxSurge": 0, "maxUnavailable": 1})
    await life.up()
    await life.change(serving={"maxLength": 2048})
    await life.inspect()
    assert life.replicas()["faq-aisvc-1"] == 0
    await life.roll()
    await life.roll()
    assert life.replicas() == {"faq-aisvc-1": 0, "faq-aisvc-2": 1}
    await life.answer("revision-2")
    await life.roll()
    await life.answer()
    assert life.state()["revision"]["number"] == 2


async def test_the_load_scales_up_and_down(life):
    await life.serve(scaling={"minReplicas": 1, "maxReplicas": 3, "target": 4})
    await life.up()
    await life.load(waiting=20)
    assert life.replicas() == {"faq-aisvc-1": 1}, "not at once"
    for _ in range(5):
        await life.advance(10)
        await life.load(waiting=20)
    assert life.replicas() == {"faq-aisvc-1": 3}
    await life.roll()
    for _ in range(40):
        await life.advance(10)
        await life.load(waiting=0, running=0)
    assert life.replicas() == {"faq-aisvc-1": 1}


async def test_a_schedule_takes_all_replicas_away_and_brings_them_back(life):
    at_night = [{"cron": "0 20 * * *", "minReplicas": 0}, {"cron": "0 6 * * *", "minReplicas": 1}]
    await life.serve(scaling={"schedules": at_night})
    await life.up()
    await life.advance(9 * 3600)
    assert life.replicas() == {"faq-aisvc-1": 0}
    assert life.state()["phase"] == "ScaledToZero"
    await life.advance(10 * 3600)
    assert life.replicas() == {"faq-aisvc-1": 1}


async def test_it_waits_for_a_job_and_follows_its_result(life):
    await life.serve(model={"fromJob": "tuned"})
    assert life.state()["phase"] == "Pending"
    assert life.is_true("ModelReady") == ("False", "WaitingForJob")
    await life.apply("tuned", output={"uri": "pvc://models/tuned"})
    await life.prepare()
    await life.train()
    made = {"type": "adapter", "uri": "pvc://models/tuned", "sha256": "b" * 64, "sizeBytes": 9}
    life.end("tuned-ftj-0-worker-0", 0, {"steps": 2, "loss": 1.0, "artifacts": [made]})
    await life.settle()
    await life.up()
    pod = life.pods("server")[0]["spec"]["containers"][0]
    assert "faq=/volumes/models/tuned" in pod["args"]
    assert pod["args"][pod["args"].index("--served-model-name") + 1] == "faq-base"
    assert life.is_true("Ready")[0] == "True"


async def test_suspend_takes_the_pods_away_and_brings_them_back(life):
    await life.serve()
    await life.up()
    await life.change(suspend=True)
    assert life.replicas() == {"faq-aisvc-1": 0}
    assert life.state()["phase"] == "Suspended"
    await life.change(suspend=False)
    await life.roll()
    await life.answer()
    assert life.is_true("Ready")[0] == "True"


async def test_an_upgrade_with_another_default_image_changes_nothing(life):
    await life.serve()
    await life.up()
    life.cluster = replace(
        life.cluster, defaults=replace(life.cluster.defaults, image="registry.example.com/runtime:2")
    )
    await life.answer()
    await life.settle()
    assert life.state()["lastRevision"] == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"scaling": {"schedules": [{"cron": "61 * * * *", "minReplicas": 0}]}}, "spec.scaling.schedules[0].cron"),
        ({"scaling": {"schedules": [{"cron": "0 * * * *", "timeZone": "Mars/Base", "minReplicas": 0}]}}, "Mars/Base"),
        ({"scaling": {"schedules": [{"cron": "0 * * * *", "timeZone": "Asia", "minReplicas": 0}]}}, "timeZone"),
        ({"serving": {"engineArgs": {"max-model-length": 3}}}, "spec.serving.engineArgs.max-model-length"),
        (
            {"serving": {"engine": "vllm-ascend"}, "model": {"uri": "pvc://m/x", "quantization": {"method": "q8_0"}}},
            "w8a8",
        ),
        ({"npusPerNode": 10}, "spec.npusPerNode"),
        ({"runtime": {"podTemplate": {"metadata": []}}}, "spec.runtime.podTemplate.metadata"),
        ({"runtime": {"podTemplate": {"metadata": {"labels": "x"}}}}, "spec.runtime.podTemplate.metadata.labels"),
        ({"runtime": {"podTemplate": {"spec": {"volumes": [{}]}}}}, "spec.runtime.podTemplate.spec.volumes"),
        ({"runtime": {"podTemplate": {"containers": []}}}, "only metadata and spec"),
    ],
)
async def test_bad_input_is_told_before_any_pod(life, spec, words):
    await life.serve(**spec)
    assert life.is_true("Stalled")[0] == "True"
    assert words in life.state()["message"]
    assert life.pods() == []


async def test_a_model_too_large_for_the_chips_costs_no_npu(life):
    await life.serve(serving={"engine": "vllm-ascend"})
    large = {**MODEL, "parameters": 72_000_000_000, "layers": 80, "hiddenSize": 8192, "intermediateSize": 29568}
    await life.inspect(words={"model": large})
    assert life.is_true("Stalled") == ("True", "DoesNotFit")
    assert "spec.npusPerNode" in life.state()["message"]
    assert life.replicas() == {}


async def test_faults_at_every_call():
    async def story(life):
        await rollout(life)

    assert await replay_in_turn(story, life=ServiceLife) > 20


async def test_deleting_leaves_nothing(life):
    await life.serve()
    await life.up()
    life.api.remove(AISVC, "team-a", "faq")
    await life.roll()
    assert life.children() == []


async def test_an_evaluation_waits_runs_and_tells(life):
    await life.evaluate(acceptance=[{"metric": "ceval.accuracy", "min": 0.5}])
    assert life.evaluation()["phase"] == "Pending"
    await life.serve()
    await life.up()
    assert life.evaluation()["phase"] == "Running"
    words = {
        "run": 1,
        "accepted": False,
        "criteria": [
            {
                "metric": "ceval.accuracy",
                "value": 0.25,
                "accepted": False,
                "message": "ceval.accuracy is 0.25, at least 0.5 is wanted",
            }
        ],
        "metrics": {"ceval.accuracy": 0.25},
        "requests": {"total": 8, "failed": 0},
        "report": {"uri": "file:///x", "sha256": "c" * 64},
    }
    life.finish_evaluation(words)
    await life.settle()
    status = life.evaluation()
    assert status["phase"] == "Complete"
    assert life.is_true("Accepted", of=status) == ("False", "NotAccepted")
    assert status["result"]["metrics"] == [{"name": "ceval.accuracy", "value": 0.25}]
    await life.assert_at_rest()


async def test_an_evaluation_follows_its_target(life):
    await life.serve()
    await life.up()
    await life.evaluate(triggers={"onChange": ["target"]})
    life.finish_evaluation({"metrics": {"ceval.accuracy": 0.3}})
    await life.settle()
    assert life.evaluation()["phase"] == "Waiting"
    await life.change(serving={"maxLength": 2048})
    await life.inspect()
    for _ in range(4):
        await life.roll()
        if "candidate" in life.state() and "answeredTime" not in life.state()["candidate"]:
            await life.answer(f"revision-{life.state()['candidate']['number']}")
        await life.answer()
    status = life.evaluation()
    assert (status["run"]["number"], status["run"]["trigger"]) == (2, "TargetChanged")


async def test_an_evaluation_is_tried_again_and_given_up(life):
    await life.evaluate(target={"url": "http://10.0.0.1:8000", "model": "m"}, backoffLimit=1)
    life.finish_evaluation({"reason": "TargetUnreachable", "message": "nobody answers"}, code=1)
    await life.advance(400)
    life.finish_evaluation({"reason": "TargetUnreachable", "message": "nobody answers"}, code=1)
    await life.advance(400)
    status = life.evaluation()
    assert status["phase"] == "Failed"
    assert "nobody answers" in status["message"]


@pytest.mark.parametrize(("accepted", "serving"), [(True, 2), (False, 1)])
async def test_the_gate_decides_before_requests_come(life, accepted, serving):
    await life.serve()
    await life.up()
    criteria = [{"metric": "ceval.accuracy", "min": 0.2}]
    await life.evaluate("check", suspend=True, acceptance=criteria, output={"uri": "pvc://models/reports"})
    await life.change(rollout={"gate": {"evaluation": "check"}}, serving={"maxLength": 2048})
    await life.inspect()
    await life.roll()
    await life.answer("revision-2")
    assert life.is_true("Progressing") == ("True", "GateRunning")
    selector = life.api.find(SERVICES, "team-a", "faq-aisvc")["spec"]["selector"]
    assert selector["ascendjobs.io/revision"] == "1"
    pod = life.pods("evaluate")[0]
    assert "http://faq-aisvc-2.team-a.svc:8000" in pod["spec"]["containers"][0]["env"][0]["value"]
    life.finish_evaluation({"accepted": accepted, "criteria": [], "metrics": {"ceval.accuracy": 0.3}})
    for _ in range(4):
        await life.roll()
        await life.answer_all()
    assert life.state()["revision"]["number"] == serving
    if not accepted:
        assert life.state()["failedRevision"]["reason"] == "GateFailed"


async def test_a_replica_of_two_pods_gets_a_rank_table_and_a_new_one_after_a_loss(life):
    await life.serve(nodes=2, npusPerNode=8, serving={"engine": "mindie"})
    await life.inspect()
    sets = life.api.all(STATEFUL_SETS)
    assert [s["metadata"]["name"] for s in sets] == ["faq-aisvc-1-0"]
    await life.roll_sets()
    tables = [c for c in life.api.all(CONFIG_MAPS) if c["metadata"]["name"] == "rings-config-faq-aisvc-1-0"]
    assert json.loads(tables[0]["data"]["hccl.json"])["status"] == "completed"
    assert json.loads(tables[0]["data"]["hccl.json"])["server_count"] == "2"
    for pod in life.pods("server"):
        life.run(pod["metadata"]["name"])
    await life.settle()
    await life.answer("revision-1")
    await life.answer()
    assert life.is_true("Ready")[0] == "True"
    assert life.is_true("RankTableReady") == ("True", "RankTableReady")
    service = life.api.find(SERVICES, "team-a", "faq-aisvc")
    assert service["spec"]["selector"]["apps.kubernetes.io/pod-index"] == "0"
    assert life.api.find(SERVICES, "team-a", "faq-aisvc-1-pods")["spec"]["clusterIP"] == "None"
    before = {p["metadata"]["uid"] for p in life.pods("server")}
    life.lose("faq-aisvc-1-0-1")
    await life.settle()
    life.reap()
    await life.roll_sets()
    assert before.isdisjoint({p["metadata"]["uid"] for p in life.pods("server")}), "the whole replica starts anew"
    table = life.api.find(CONFIG_MAPS, "team-a", "rings-config-faq-aisvc-1-0")["data"]
    assert json.loads(table["hccl.json"])["status"] == "completed"
    assert int(table["version"]) >= 2


async def test_a_version_whose_later_pods_fail_is_rolled_back_while_it_shifts(life):
    await life.serve(scaling={"minReplicas": 2})
    await life.up()
    await life.change(serving={"maxLength": 2048})
    await life.inspect()
    await life.roll()
    await life.answer("revision-2")
    await life.roll(ready=False)
    await life.roll(ready=False)
    assert life.replicas()["faq-aisvc-2"] == 2
    late = next(p["metadata"]["name"] for p in life.pods("server") if p["status"].get("phase") == "Pending")
    life.schedule(late)
    life.end(late, 65, {"reason": "OutOfMemory", "message": "KV cache does not fit"})
    life._status(late, phase="Running")
    for _ in range(3):
        await life.settle()
        await life.roll()
        await life.answer_all()
    assert life.state()["failedRevision"]["reason"] == "OutOfMemory"
    assert life.replicas() == {"faq-aisvc-1": 2}
    assert life.is_true("Ready")[0] == "True"


async def test_versions_of_other_shapes_live_side_by_side(life):
    await life.serve()
    await life.up()
    await life.change(nodes=2, npusPerNode=8, serving={"engine": "cpu"})
    await life.inspect()
    await life.roll()
    await life.roll_sets()
    for pod in ("faq-aisvc-2-0-0", "faq-aisvc-2-0-1"):
        life.run(pod)
    await life.settle()
    await life.answer()
    assert life.is_true("Ready")[0] == "True", "the old version, of one pod, goes on"
    await life.answer("revision-2")
    for _ in range(3):
        await life.roll()
        await life.answer_all()
    state = life.state()
    assert (state["revision"]["number"], state["revision"]["nodes"]) == (2, 2)
    assert life.replicas() == {}
    assert life.is_true("Ready")[0] == "True"


async def test_records_of_old_versions_do_not_pile_up(life):
    await life.serve()
    await life.up()
    for length in range(9):
        await life.change(serving={"maxLength": 1024 + length})
        await life.up()
    kept = [r["metadata"]["name"] for r in life.api.all(CHILDREN[Kind.REVISION])]
    assert "faq-aisvc-10" in kept
    assert len(kept) <= 6
