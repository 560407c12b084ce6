"""`ascendctl ask`: the pod it makes, what it says while waiting, and how answers are shown."""

import json
from typing import Any

import pytest
from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.cli.ask import answers_in, side_by_side
from ascend_jobs.cli.askpod import Question, ask_pod
from ascend_jobs.cli.shortpod import waiting_for
from ascend_jobs.desired.pods import PodSettings, worker_template
from spec_cases import made

SETTINGS = PodSettings(
    image="repo/runtime:1",
    prepare_image="",
    pull_policy="IfNotPresent",
    pull_secrets=("default-secret",),
    resource=names.ASCEND_910,
    share={"cpu": "4", "memory": "32Gi"},
)
QUESTION = Question(("What is an NPU?", "--model"), 60, None, 900)


def make_job(changes: dict[str, Any] | None = None) -> FineTuneJob:
    body = made(changes or {})
    body["metadata"] |= {"uid": "u1", "creationTimestamp": "2026-01-01T12:00:00Z"}
    return FineTuneJob.parse(body)


def make_pod(job: FineTuneJob, question: Question = QUESTION) -> dict[str, Any]:
    return ask_pod(job, worker_template(job, 0, SETTINGS), question)


def test_pod_of_an_adapter() -> None:
    pod = make_pod(make_job())
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "repo/runtime:1"
    assert container["command"][0] == "/bin/bash"
    assert container["args"][:4] == ["python", "-m", "ascend_runtime", "generate"]
    assert container["args"][container["args"].index("--model") + 1] == "/opt/model"
    assert container["args"][container["args"].index("--adapter") + 1] == "/volumes/models/faq"
    assert container["args"][-3:] == ["--", "What is an NPU?", "--model"]
    assert pod["spec"]["imagePullSecrets"] == [{"name": "default-secret"}]
    assert pod["spec"]["initContainers"] == []


def test_pod_of_a_whole_model_asks_both_in_turn() -> None:
    pod = make_pod(make_job({"spec.training.method": "full"}))
    (base,), (tuned,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    assert (base["name"], tuned["name"]) == ("base", "tuned")
    assert base["args"][base["args"].index("--model") + 1] == "/opt/model"
    assert tuned["args"][tuned["args"].index("--model") + 1] == "/volumes/models/faq"


def test_pod_is_no_child_and_takes_nothing() -> None:
    """The operator would count a pod with the job's uid label; the result must not be written to; no NPU is held."""
    pod = make_pod(make_job())
    assert names.JOB_UID not in pod["metadata"]["labels"]
    assert "controller" not in pod["metadata"]["ownerReferences"][0]
    assert "resources" not in pod["spec"]["containers"][0]
    assert all(mount["readOnly"] for mount in pod["spec"]["containers"][0]["volumeMounts"])
    assert "affinity" not in pod["spec"]


def test_place_comes_from_the_jobs_template() -> None:
    template = {"spec": {"tolerations": [{"key": "npu", "operator": "Exists"}], "nodeSelector": {"pool": "a"}}}
    spec = make_pod(make_job({"spec.runtime.podTemplate": template}))["spec"]
    assert spec["tolerations"] == template["spec"]["tolerations"]
    assert spec["nodeSelector"] == {"pool": "a"}


def test_without_a_template_the_image_has_to_be_known() -> None:
    with pytest.raises(KeyError, match="--image"):
        ask_pod(make_job(), {}, QUESTION)
    named = make_job({"spec.runtime.image": "repo/mine:2", "spec.runtime.imagePullSecrets": [{"name": "s"}]})
    pod = ask_pod(named, {}, QUESTION)
    assert pod["spec"]["containers"][0]["image"] == "repo/mine:2"
    assert pod["spec"]["containers"][0]["command"] == ["/usr/bin/env"]
    assert pod["spec"]["imagePullSecrets"] == [{"name": "s"}]
    assert ask_pod(named, {}, Question((), 1, "other:3", 9))["spec"]["containers"][0]["image"] == "other:3"


def test_answers_of_one_container() -> None:
    line = json.dumps({"prompt": "q", "base": "b", "tuned": "t"})
    assert answers_in({"tuned": f"Loading weights...\n{line}\n3\n"}) == [{"prompt": "q", "base": "b", "tuned": "t"}]


def test_answers_of_two_containers() -> None:
    logs = {name: json.dumps({"prompt": "q", "base": name}) for name in ("base", "tuned")}
    assert answers_in(logs) == [{"prompt": "q", "base": "base", "tuned": "tuned"}]


ANSWER = {"prompt": "What is ADA?", "base": "A person who " + "talks " * 20, "tuned": "<language> A language."}


def test_side_by_side() -> None:
    lines = side_by_side(ANSWER, 100).splitlines()
    assert lines[1] == "> What is ADA?"
    assert lines[2].split() == ["base", "|", "tuned"]
    assert all(line.index("|") == 49 for line in lines[2:])
    assert max(map(len, lines)) <= 100


def test_one_under_the_other_in_a_narrow_window() -> None:
    lines = side_by_side(ANSWER, 60).splitlines()
    assert lines[2].startswith("base: A person")
    assert lines[-1] == "tuned: <language> A language."


@pytest.mark.parametrize(
    ("status", "want"),
    [
        pytest.param({}, "waiting for a node", id="new"),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]},
            "waiting for a node: 0/3 nodes",
            id="unschedulable",
        ),
        pytest.param({"conditions": [{"type": "PodScheduled", "status": "True"}]}, "starting the pod", id="placed"),
        pytest.param(
            {
                "conditions": [{"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
                ],
            },
            "ImagePullBackOff: no such image",
            id="image",
        ),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "True"}], "phase": "Running"}, "at work", id="running"
        ),
    ],
)
def test_waiting_for(status: dict[str, Any], want: str) -> None:
    assert waiting_for({"status": status}) == want
