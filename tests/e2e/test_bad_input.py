"""Bad input: a condition with field path or row and what to do, and no NPU taken."""

from __future__ import annotations

import pytest
from e2e.cluster import Namespace, condition, kubectl, make_toy_job

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"npusPerNode": 9}, "spec.npusPerNode: Unsupported value: 9", id="npu-count"),
        pytest.param({"model": {"uri": "ftp://host/model"}}, "spec.model.uri", id="scheme"),
        pytest.param({"dataset": {}}, "give either uri or sources", id="no-dataset"),
    ],
)
def test_what_the_schema_refuses(toy: Namespace, spec, words):
    import yaml

    said = kubectl(
        "apply", "-n", toy.name, "-f", "-", stdin=yaml.safe_dump(make_toy_job("refused", **spec)), check=False
    )
    assert words in said


def test_a_missing_claim_stalls_the_job_until_it_is_there(toy: Namespace):
    toy.apply(make_toy_job("early", output={"uri": "pvc://results/early"}, nodes=1, steps=2))
    status = toy.job("early", phase="Stalled")
    assert condition(status, "Stalled") == ("True", "MissingPersistentVolumeClaim")
    assert "spec.output.uri" in status["message"]
    assert toy.items("pods", "ascendjobs.io/job-name=early") == []
    toy.claim("results")
    toy.job("early", phase="Complete")


def test_a_model_folder_that_is_no_model(toy: Namespace):
    toy.apply(make_toy_job("nomodel", model={"uri": "pvc://models/toy/data"}))
    status = toy.job("nomodel", phase="Failed")
    assert condition(status, "Failed") == ("True", "ModelInvalid")
    assert "spec.model.uri" in status["message"]
    assert toy.workers("nomodel", 0) == []


def test_a_row_without_an_answer_is_named(toy: Namespace):
    rows = r'{"instruction": "a", "output": "b"}\n{"instruction": "c", "output": ""}\n'
    write = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "rows"},
        "spec": {
            "restartPolicy": "Never",
            "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": "models"}}],
            "containers": [
                {
                    "name": "main",
                    "image": toy.get("pod/toy")["spec"]["containers"][0]["image"],
                    "command": ["sh", "-c", f"printf '{rows}' > /volumes/models/rows.jsonl"],
                    "volumeMounts": [{"name": "claim", "mountPath": "/volumes/models"}],
                }
            ],
        },
    }
    toy.apply(write)
    toy.wait("pod/rows", lambda pod: pod["status"].get("phase") == "Succeeded")
    toy.apply(make_toy_job("norow", dataset={"uri": "pvc://models/rows.jsonl", "tokenize": {"maxLength": 64}}))
    status = toy.job("norow", phase="Failed")
    assert condition(status, "Failed") == ("True", "DatasetInvalid")
    assert "row 2" in status["message"]


def test_two_jobs_to_one_output_and_a_name_that_is_taken(toy: Namespace):
    output = {"uri": "pvc://models/out/shared"}
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rings-config-older-ftj"},
        "data": {"mine": "1"},
    }
    toy.apply(theirs)
    toy.apply(make_toy_job("older", output=output))
    status = toy.job("older", phase="Stalled")
    assert condition(status, "Stalled") == ("True", "NameConflict")
    assert "rings-config-older-ftj" in status["message"]
    toy.apply(make_toy_job("younger", output=output))
    status = toy.job("younger", phase="Stalled")
    assert condition(status, "Stalled") == ("True", "OutputInUse")
    assert toy.items("pods", "ascendjobs.io/job-name=younger") == []
    assert toy.get("configmap/rings-config-older-ftj")["data"] == {"mine": "1"}
    kubectl("delete", "configmap", "rings-config-older-ftj", "-n", toy.name)
    toy.job("older", phase="Complete")
    kubectl("delete", "ftj", "older", "younger", "-n", toy.name)
