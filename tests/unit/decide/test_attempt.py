"""Restarts, lost pods, suspend and the ends of a job."""

import json
from dataclasses import replace

import pytest
from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionType, is_true
from ascend_jobs.decide.finetune import plan
from ascend_jobs.decide.observed import PodPhase, ProgressView
from ascend_jobs.decide.plan import Create, Delete, DeleteJob, Kind, Update
from ascend_jobs.desired.revision import attempt_revision
from builders import FINE_TUNE_CONDITIONS, NOW, at, ended, make_child, make_job, make_observed, make_pod, read_status

PREPARED = {"documents": 10, "tokens": 100}
STARTED = {"number": 0, "revision": "faq-ftj-0", "startTime": "2026-01-01T12:00:00Z", "allPodsSeen": True}
TEMPLATE = {"metadata": {"labels": {}, "annotations": {}}, "spec": {"containers": [{"name": "trainer", "image": "i"}]}}


def observe(*pods, attempt=None, now=NOW, changes=None, status=None, **spec):
    attempt = {**STARTED, **(attempt or {})}
    job = make_job(nodes=2, status={"prepare": PREPARED, "attempt": attempt, **(status or {})}, **spec)
    record = make_child(attempt_revision(job, attempt["number"], TEMPLATE))
    return make_observed(job, *pods, now=now, revisions=(record,), **(changes or {}))


def actions(decided, type_, kind):
    return [a for a in decided.actions if isinstance(a, type_) and a.kind is kind]


@pytest.mark.parametrize(
    ("pods", "attempt", "number", "counters"),
    [
        pytest.param([make_pod(0), make_pod(1)], {}, 0, (0, 0), id="nothing-failed"),
        pytest.param([make_pod(0), ended(make_pod(1), 1)], {}, 1, (1, 0), id="program-failed"),
        pytest.param([make_pod(0)], {}, 1, (0, 1), id="pod-gone-after-it-was-seen"),
        pytest.param([make_pod(0)], {"allPodsSeen": False}, 0, (0, 0), id="pod-not-made-yet"),
        pytest.param([make_pod(0), make_pod(1, deleting=True)], {}, 1, (0, 1), id="pod-being-deleted"),
        pytest.param(
            [make_pod(0, attempt=1), make_pod(1, attempt=1), ended(make_pod(1), 1)],
            {"number": 1, "revision": "faq-ftj-1"}, 1, (0, 0), id="old-failure-is-not-charged-twice",
        ),
    ],
)  # fmt: skip
def test_restart(pods, attempt, number, counters):
    status = read_status(plan(observe(*pods, attempt=attempt)).status)
    assert status.attempt.number == number
    assert (status.restarts.program, status.restarts.platform) == counters


def test_a_restart_is_recorded_before_anything_is_done():
    was = [
        {"type": t, "status": "True", "reason": "X", "lastTransitionTime": NOW.isoformat()}
        for t in ("Running", "RankTableReady")
    ]
    decided = plan(observe(make_pod(0), ended(make_pod(1), 1, "boom"), status={"conditions": was}))
    assert decided.actions == ()
    conditions = read_status(decided.status).conditions
    assert not is_true(conditions, ConditionType.RUNNING), "nothing of the new attempt runs yet"
    assert not is_true(conditions, ConditionType.RANK_TABLE_READY)
    assert read_status(decided.status).last_failure.message == "faq-ftj-0-worker-1: trainer exited with code 1: boom"


@pytest.mark.parametrize(
    ("seconds", "number", "wait"),
    [pytest.param(4, 0, 6.0, id="cause-may-still-show"), pytest.param(10, 1, 0.0, id="no-pod-says-why")],
)
def test_ranks_that_ended_for_want_of_another_wait_for_the_cause(seconds, number, wait):
    symptom = ended(make_pod(0), 76, "rank 1 went away")
    symptom = replace(symptom, containers=tuple(replace(c, ended=NOW) for c in symptom.containers))
    decided = plan(observe(symptom, make_pod(1), now=at(seconds)))
    status = read_status(decided.status)
    assert (status.attempt.number, decided.requeue_after) == (number, wait)
    assert status.restarts.program == 0


def test_a_rank_that_ended_well_stays_so_when_its_pod_is_collected():
    decided = plan(observe(make_pod(0), status={"succeededRanks": [1]}))
    assert read_status(decided.status).attempt.number == 0
    assert actions(decided, Create, Kind.POD) == []


def test_the_next_attempt_takes_old_pods_away_and_keeps_logs_of_those_that_ended():
    old = [ended(make_pod(0), 1), make_pod(1)]
    decided = plan(observe(*old, attempt={"number": 1, "startTime": None, "revision": None}))
    assert [a.name for a in actions(decided, Delete, Kind.POD)] == [old[1].name]
    assert actions(decided, Delete, Kind.POD)[0].uid == old[1].uid


def test_pods_come_from_the_record_of_their_attempt():
    decided = plan(observe(attempt={"allPodsSeen": False}, runtime={"image": "changed-since"}))
    created = actions(decided, Create, Kind.POD)
    assert [c.manifest["metadata"]["name"] for c in created] == ["faq-ftj-0-worker-0", "faq-ftj-0-worker-1"]
    assert created[0].manifest["spec"]["containers"][0]["image"] == "i"


def test_the_service_follows_the_attempt():
    service = {"metadata": {"name": "faq-ftj"}, "spec": {"selector": {names.ATTEMPT: "0"}}}
    observed = observe(
        make_pod(0, attempt=1), make_pod(1, attempt=1), attempt={"number": 1, "revision": "faq-ftj-1"},
        changes={"services": (make_child(service),)},
    )  # fmt: skip
    (update,) = actions(plan(observed), Update, Kind.SERVICE)
    assert update.patch["spec"]["selector"][names.ATTEMPT] == "1"


def test_budget_spent_is_the_end():
    decided = plan(observe(make_pod(0), ended(make_pod(1), 1), status={"restarts": {"program": 6}}))
    status = read_status(decided.status)
    assert is_true(status.conditions, ConditionType.FAILED)
    assert is_true(status.conditions, ConditionType.STALLED), "kstatus: nothing goes on by itself"
    assert status.completion_time == NOW


def test_complete_with_what_rank_0_says():
    words = {"steps": 9, "loss": 0.5, "validationLoss": 0.7, "artifacts": [
        {"type": "adapter", "uri": "pvc://models/faq", "sha256": "ab", "sizeBytes": 3},
        {"type": "adapter", "uri": "pvc://elsewhere/x"}]}  # fmt: skip
    pods = [ended(make_pod(0), 0, json.dumps(words)), ended(make_pod(1), 0)]
    status = read_status(plan(observe(*pods)).status)
    assert is_true(status.conditions, ConditionType.COMPLETE)
    assert is_true(status.conditions, ConditionType.READY)
    assert [a.uri for a in status.artifacts] == ["pvc://models/faq"], "only what lies in the job's folders"
    assert (status.progress.step, status.progress.loss, status.progress.validation_loss) == (9, 0.5, 0.7)


def line(step, **more):
    return {"step": step, "totalSteps": 10, "loss": 1.5, "tokensPerSecond": 100.0, "estimatedSecondsLeft": 60, **more}


@pytest.mark.parametrize(
    ("seconds", "step", "wait"),
    [pytest.param(4, 3, 6.0, id="too-soon"), pytest.param(10, 5, None, id="due")],
)
def test_progress_is_written_at_most_every_ten_seconds(seconds, step, wait):
    status = {"progress": {"step": 3, "updatedTime": NOW.isoformat()}}
    observed = observe(make_pod(0), make_pod(1), now=at(seconds), status=status,
                       changes={"progress": ProgressView(progress=line(5))})  # fmt: skip
    decided = plan(observed)
    assert read_status(decided.status).progress.step == step
    assert decided.requeue_after == wait
    assert decided.follow == ("faq-ftj-0-worker-0", "trainer")


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        pytest.param("pvc://models/.ascendjobs/11111111-2222-4333-8444-555555555555/checkpoints/0/s", True, id="own"),
        pytest.param("pvc://models/elsewhere", False, id="foreign"),
    ],
)
def test_a_checkpoint_counts_only_in_the_jobs_own_workspace(uri, kept):
    checkpoint = {"step": 4, "uri": uri, "sha256": "ab", "time": "2026-01-01T12:00:00Z"}
    observed = observe(make_pod(0), make_pod(1), changes={"progress": ProgressView(line(5), None, checkpoint)})
    assert (read_status(plan(observed).status).last_checkpoint is not None) is kept


def test_a_trainer_that_has_just_ended_does_not_look_like_one_that_starts():
    """Its container has exited, the pod's phase follows a moment later."""
    ending = replace(ended(make_pod(1), 0), phase=PodPhase.RUNNING)
    status = read_status(plan(observe(make_pod(0), ending)).status)
    assert status.phase == "Running"
    assert (status.pods.running, status.pods.pending) == (1, 0)


def test_suspend_records_the_end_of_the_attempt_then_takes_the_pods_away():
    first = plan(observe(make_pod(0), make_pod(1), suspend=True))
    assert (first.actions, read_status(first.status).attempt.number) == ((), 1)
    second = plan(observe(make_pod(0), make_pod(1), suspend=True, attempt={"number": 1, "startTime": None}))
    assert len(actions(second, Delete, Kind.POD)) == 2
    status = read_status(second.status)
    assert is_true(status.conditions, ConditionType.SUSPENDED)
    assert status.restarts.program == status.restarts.platform == 0


DONE = [{"type": "Complete", "status": "True", "reason": "Complete", "lastTransitionTime": "2026-01-01T12:00:00Z"}]


@pytest.mark.parametrize(
    ("seconds", "labels", "goes", "wait"),
    [
        pytest.param(50, {}, False, 50.0, id="not-yet"),
        pytest.param(100, {}, True, None, id="over"),
        pytest.param(100, {"kustomize.toolkit.fluxcd.io/name": "x"}, False, None, id="kept-for-gitops"),
    ],
)
def test_ttl(seconds, labels, goes, wait):
    status = {"conditions": DONE, "completionTime": NOW.isoformat()}
    observed = observe(ended(make_pod(0), 0), now=at(seconds), status=status, ttlSecondsAfterFinished=100)
    meta = observed.job.metadata.evolve(labels=labels)
    observed = observed.__class__(**{**observed.__dict__, "job": observed.job.evolve(metadata=meta)})
    decided = plan(observed)
    assert (DeleteJob() in decided.actions) is goes
    assert decided.requeue_after == wait


def test_a_job_that_is_being_deleted_gets_nothing():
    observed = observe()
    meta = observed.job.metadata.evolve(deletion_timestamp=NOW)
    observed = observed.__class__(**{**observed.__dict__, "job": observed.job.evolve(metadata=meta)})
    decided = plan(observed)
    assert (decided.actions, decided.status) == ((), None)


def test_every_condition_is_there_in_the_first_write():
    status = read_status(plan(make_observed()).status)
    assert [c.type for c in status.conditions] == FINE_TUNE_CONDITIONS
    assert all(c.observed_generation == 1 for c in status.conditions)


def test_an_output_that_already_holds_the_result_is_the_end_without_an_npu():
    words = {
        "documents": 3,
        "tokens": 5,
        "alreadyComplete": True,
        "artifacts": [{"type": "adapter", "uri": "pvc://models/faq"}],
    }
    decided = plan(make_observed(make_job(), ended(make_pod(role="prepare"), 0, json.dumps(words))))
    status = read_status(decided.status)
    complete = next(c for c in status.conditions if c.type == "Complete")
    assert (complete.status, complete.reason) == ("True", "AlreadyComplete")
