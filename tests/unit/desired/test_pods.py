"""Pods: what ranks share, what the user's template may change, and what stays."""

import json

import pytest
from ascend_jobs import names
from ascend_jobs.decide.profile import pod_settings
from ascend_jobs.desired.config import phase_config, spec_digest
from ascend_jobs.desired.merge import merged
from ascend_jobs.desired.pods import prepare_pod, worker_pod, worker_template
from ascend_jobs.desired.volumes import claims, location, workspace_uri
from builders import UID, make_job, make_node, make_observed


def template_of(job, **changes):
    return worker_template(job, 0, pod_settings(make_observed(job, **changes)))


def trainer(template):
    return template["spec"]["containers"][0]


def env(container):
    return {e["name"]: e.get("value") for e in container["env"]}


def test_ranks_differ_by_name_and_rank_index_alone():
    job = make_job(nodes=2)
    template = template_of(job)
    first, second = (worker_pod(job, 3, i, template) for i in (0, 1))
    assert second["metadata"]["name"] == "faq-ftj-3-worker-1"
    assert second["metadata"]["annotations"][names.HCCL_RANK_INDEX] == "1"
    assert second["spec"].pop("hostname") == "faq-ftj-worker-1"
    first["spec"].pop("hostname")
    assert first["spec"] == second["spec"]
    assert template["metadata"]["labels"].get(names.RANK_INDEX) is None, "the shared template is not changed"


@pytest.mark.parametrize(
    ("spec", "address", "waits", "table"),
    [
        pytest.param({"nodes": 1}, None, False, False, id="alone"),
        pytest.param({"nodes": 2}, "faq-ftj.team-a.svc", True, True, id="two"),
        pytest.param({"nodes": 2, "runtime": {"rankTable": "Never"}}, "faq-ftj.team-a.svc", True, False, id="never"),
        pytest.param({"nodes": 1, "runtime": {"rankTable": "Always"}}, None, True, True, id="always"),
    ],
)
def test_rendezvous(spec, address, waits, table):
    template = template_of(make_job(**spec))
    assert env(trainer(template))["MASTER_ADDR"] == address
    own = [
        e["valueFrom"]["fieldRef"]["fieldPath"]
        for e in trainer(template)["env"]
        if e["name"] == "MASTER_ADDR" and "valueFrom" in e
    ]
    assert own == ([] if address else ["status.podIP"]), "what `wait` finds as rank 0 in a table of one"
    assert bool(template["spec"]["initContainers"]) is waits
    assert (names.ENV_RANK_TABLE_FILE in env(trainer(template))) is table


def test_template_of_the_user_is_laid_over_ours_but_not_over_what_the_operator_needs():
    pod_template = {
        "metadata": {"labels": {"team": "x", names.JOB_UID: "stolen"}, "annotations": {"a": "b"}},
        "spec": {
            "restartPolicy": "Never",
            "nodeSelector": {"disk": "nvme"},
            "tolerations": [{"key": "npu", "operator": "Exists"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "containers": [
                {
                    "name": "trainer",
                    "env": [{"name": "OMP_NUM_THREADS", "value": "4"}, {"name": "MINE", "value": "1"}],
                    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                }
            ],
        },
    }
    template = template_of(make_job(runtime={"podTemplate": pod_template}))
    labels = template["metadata"]["labels"]
    assert (labels["team"], labels[names.JOB_UID]) == ("x", UID)
    assert template["spec"]["nodeSelector"] == {"disk": "nvme"}
    assert env(trainer(template))["OMP_NUM_THREADS"] == "4"
    assert env(trainer(template))["MINE"] == "1"
    assert "MASTER_ADDR" in env(trainer(template))
    assert {"/scratch", "/dev/shm", "/volumes/models"} <= {m["mountPath"] for m in trainer(template)["volumeMounts"]}
    assert len(template["spec"]["containers"]) == 1


@pytest.mark.parametrize(
    ("base", "over", "want"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}, id="fields"),
        pytest.param({"a": 1}, {"a": None}, {}, id="null-removes"),
        pytest.param({"env": [{"name": "x", "value": "1"}]}, {"env": [{"name": "x", "value": "2"}]},
                     {"env": [{"name": "x", "value": "2"}]}, id="named-items"),
        pytest.param({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]},
                     {"tolerations": [{"key": "a"}, {"key": "b"}]}, id="appended"),
        pytest.param({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}, id="plain-lists-are-replaced"),
        pytest.param({}, {"affinity": {"x": 1}}, {"affinity": {"x": 1}}, id="new-field"),
    ],
)  # fmt: skip
def test_merged(base, over, want):
    assert merged(base, over) == want


@pytest.mark.parametrize(
    ("resources", "nodes", "want"),
    [
        pytest.param({}, (make_node(),), {"cpu": "19200m", "memory": "157286Mi"}, id="fair-share-of-an-npu"),
        pytest.param({}, (), {}, id="no-node-known"),
        pytest.param({"cpu": "2", "memory": "4Gi"}, (make_node(),), {"cpu": "2", "memory": "4Gi"}, id="given"),
    ],
)
def test_requests(resources, nodes, want):
    job = make_job(runtime={"resources": resources})
    found = trainer(template_of(job, nodes=nodes))["resources"]
    assert found["requests"] == {**want, names.ASCEND_910: "1"}
    limits = {"memory": "4Gi"} if "memory" in resources else {}
    assert found["limits"] == {**limits, names.ASCEND_910: "1"}


def test_prepare_takes_no_npu_and_mounts_what_it_only_reads_read_only():
    pod = prepare_pod(make_job(), 2, pod_settings(make_observed()))
    assert pod["metadata"]["name"] == "faq-ftj-prepare-2"
    (container,) = pod["spec"]["containers"]
    assert "resources" not in container
    mounts = {m["mountPath"]: m.get("readOnly", False) for m in container["volumeMounts"]}
    assert mounts == {"/volumes/models": False, "/volumes/data": True}


@pytest.mark.parametrize(
    ("uri", "path", "claim"),
    [
        pytest.param("pvc://models/a/b", "/volumes/models/a/b", "models", id="pvc"),
        pytest.param("pvc://models", "/volumes/models", "models", id="pvc-root"),
        pytest.param("pvc://models//a/", "/volumes/models/a", "models", id="slashes"),
        pytest.param("file:///opt/m", "/opt/m", None, id="file"),
    ],
)
def test_location(uri, path, claim):
    found = location(uri)
    assert (found.path, found.claim) == (path, claim)


def test_workspace_is_the_jobs_own():
    assert workspace_uri(make_job()) == f"pvc://models/.ascendjobs/{UID}"
    given = make_job(workspace={"uri": "pvc://fast/work/"})
    assert workspace_uri(given) == f"pvc://fast/work/{UID}"
    assert claims(given) == ("models", "data", "fast")


def test_configuration_document():
    document = json.loads(phase_config(make_job(training={"lora": {"targetModules": ["q_proj"]}})))
    assert document["model"] == {"uri": "pvc://models/base", "path": "/volumes/models/base"}
    assert document["training"]["lora"]["targetModules"] == ["q_proj"]
    assert document["training"]["hyperparameters"]["maxSteps"] is None
    assert document["output"]["ifExists"] == "Fail"


def test_digest_covers_what_decides_the_result_and_nothing_else():
    digest = spec_digest(make_job())
    assert digest == spec_digest(make_job(suspend=True, output={"uri": "pvc://models/other"}))
    assert digest == spec_digest(make_job(dataset={"sources": [{"uri": "pvc://data/faq.jsonl"}]})), (
        "both ways to write it"
    )
    assert digest != spec_digest(make_job(nodes=2))
    assert digest != spec_digest(make_job(training={"hyperparameters": {"seed": 1}}))
