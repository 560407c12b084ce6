"""What keeps a job from its first pod: each with field path and what to do."""

import pytest
from ascend_jobs.api.conditions import ConditionType, Reason, condition
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.decide.finetune import plan, unreadable
from ascend_jobs.decide.observed import Defaults, RivalView
from ascend_jobs.errors import SpecInvalid
from builders import NOW, at, make_body, make_job, make_node, make_observed, make_pod, read_status

OTHER = "99999999-2222-4333-8444-555555555555"


def stalled(observed):
    """The plan's Stalled condition; such a pass takes no action."""
    decided = plan(observed)
    assert decided.actions == ()
    found = condition(read_status(decided.status).conditions, ConditionType.STALLED)
    return found.reason, found.message, decided.requeue_after


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"output": {"uri": "pvc://m/../x"}}, "spec.output.uri: pvc://m/../x leads out", id="dots"),
        pytest.param({"output": {"uri": "pvc://models/base"}}, "holds spec.model.uri", id="output-is-the-model"),
        pytest.param({"output": {"uri": "pvc://data"}}, "holds spec.dataset.uri", id="output-holds-the-data"),
        pytest.param(
            {"nodes": 2, "training": {"hyperparameters": {"globalBatchSize": 5, "batchSizePerNpu": 2}}},
            "globalBatchSize: 5 is no multiple of batchSizePerNpu x nodes x npusPerNode = 4; take 4",
            id="batch",
        ),
        pytest.param(
            {"runtime": {"podTemplate": {"spec": {"restartPolicy": "Always"}}}}, "is always Never", id="restart-policy"
        ),
        pytest.param({"runtime": {"podTemplate": {"spec": []}}}, "podTemplate.spec: is to be an object", id="template"),
        pytest.param({"runtime": {"podTemplate": {"kind": "Pod"}}}, "only metadata and spec", id="template-extra"),
        pytest.param(
            {"runtime": {"podTemplate": {"spec": {"containers": [{"env": []}]}}}}, "that have a name", id="nameless"
        ),
        pytest.param(
            {"runtime": {"podTemplate": {"spec": {"containers": [{"name": "side"}]}}}},
            "may only hold trainer",
            id="sidecar",
        ),
        pytest.param(
            {"runtime": {"podTemplate": {"spec": {"containers": [{"name": "trainer", "image": None}]}}}},
            "an image is to be a text",
            id="no-image",
        ),
        pytest.param({"runtime": {"podTemplate": {"metadata": {"labels": {"a": 1}}}}}, "object of texts", id="labels"),
    ],
)
def test_spec_invalid(spec, words):
    reason, message, requeue_after = stalled(make_observed(make_job(**spec)))
    assert reason == Reason.SPEC_INVALID
    assert words in message
    assert requeue_after is None, "only a new spec helps"


def test_a_stalled_job_lets_go_of_what_an_ended_attempt_holds():
    job = make_job(output={"uri": "pvc://m/../x"}, status={"attempt": {"number": 1}})
    old = make_pod(0)
    (action,) = plan(make_observed(job, old)).actions
    assert action.name == old.name


def test_a_job_that_ended_stays_so_when_its_spec_cannot_be_read():
    done = {"type": "Complete", "status": "True", "reason": "Complete", "lastTransitionTime": "2026-01-01T12:00:00Z"}
    status = {"conditions": [done]}
    assert unreadable(make_body()["metadata"], status, SpecInvalid("SpecInvalid", "spec.x"), NOW) == status


def test_no_image_anywhere():
    reason, message, _ = stalled(make_observed(defaults=Defaults()))
    assert (reason, message.split(":")[0]) == (Reason.SPEC_INVALID, "spec.runtime.image")


def test_missing_claim_names_field_and_namespace():
    reason, message, requeue_after = stalled(make_observed(missing_claims=("data",)))
    assert reason == Reason.MISSING_CLAIM
    assert 'spec.dataset.uri: PersistentVolumeClaim "data" is not in namespace team-a' in message
    assert requeue_after == 30


def test_npu_count_of_the_nodes_that_are_there():
    observed = make_observed(make_job(npusPerNode=3), nodes=(make_node(kind="module"),))
    reason, message, _ = stalled(observed)
    assert reason == Reason.NPU_COUNT_NOT_ALLOWED
    assert "spec.npusPerNode: 3" in message
    assert "1, 2, 4, 8" in message


@pytest.mark.parametrize(
    ("created", "uid", "output", "waits"),
    [
        pytest.param(at(-5), OTHER, "pvc://models/faq", True, id="older-wins"),
        pytest.param(at(5), OTHER, "pvc://models/faq", False, id="younger-waits-for-us"),
        pytest.param(NOW, OTHER, "pvc://models/faq", False, id="same-second-uid-decides"),
        pytest.param(at(-5), OTHER, "pvc://models/faq/deeper", True, id="inside-ours"),
        pytest.param(at(-5), OTHER, "pvc://models", True, id="around-ours"),
        pytest.param(at(-5), OTHER, "pvc://models/faq2", False, id="only-alike"),
    ],
)
def test_two_jobs_to_one_output(created, uid, output, waits):
    decided = plan(make_observed(rivals=(RivalView("older", uid, created, output),)))
    found = condition(read_status(decided.status).conditions, ConditionType.STALLED)
    assert (found.reason == Reason.OUTPUT_IN_USE) is waits
    assert bool(decided.actions) is not waits


def test_a_spec_that_cannot_be_read_is_told_by_its_path():
    body = make_body(spec={"npusPerNode": "many"})
    with pytest.raises(SpecInvalid, match=r"spec\.npusPerNode: ") as caught:
        FineTuneJob.parse(body)
    status = read_status(unreadable(body["metadata"], {"attempt": {"number": 3}}, caught.value, NOW))
    assert condition(status.conditions, ConditionType.STALLED).reason == Reason.SPEC_INVALID
    assert status.attempt.number == 3, "what was recorded stays"


def test_a_status_of_another_version_is_read_as_far_as_it_goes():
    status = read_status({"attempt": {"number": 2}, "pods": "many", "restarts": {"program": 1}})
    assert (status.attempt.number, status.restarts.program, status.pods.desired) == (2, 1, 0)
