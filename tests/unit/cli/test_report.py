"""`ascendctl report`: the pod that it makes, the program that really runs in it, and what is written here."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ascend_jobs import names
from ascend_jobs.api.evaluationjob import EvaluationJob
from ascend_jobs.cli.main import main
from ascend_jobs.cli.reportpod import report_pod, unpacked
from ascend_jobs.cli.shortpod import NotNow
from unit.cli.answers import Api, Body, Reply

PODS = "/api/v1/namespaces/team-a/pods"
URI = "pvc://reports/faq/runs/00000002"
RESULT = {"run": 2, "time": "2026-01-01T12:00:00Z", "report": {"uri": URI, "sha256": ""}}
RAN = {
    "nodeSelector": {"pool": "a"},
    "securityContext": {"supplementalGroups": [1000]},
    "imagePullSecrets": [{"name": "s"}],
    "serviceAccountName": "other",
    "nodeName": "n1",
    "containers": [{"name": "evaluate", "image": "repo/cpu:1", "imagePullPolicy": "Never", "env": [{"name": "X"}]}],
}


def evaluation(status: Body | None = None, **spec: Any) -> Body:
    done = {"phase": "Complete", "run": {"number": 2, "tryNumber": 1}, "result": RESULT}
    return {
        "apiVersion": "ascendjobs.io/v1alpha1",
        "kind": "EvaluationJob",
        "metadata": {
            "name": "faq",
            "namespace": "team-a",
            "uid": "u",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T12:00:00Z",
        },
        "spec": {"target": {"service": "faq"}, "output": {"uri": "pvc://reports/faq"}, **spec},
        "status": done if status is None else status,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder as a run leaves it."""
    found = tmp_path / "claim"
    (found / "answers").mkdir(parents=True)
    files = {"report.html": b"<html>", "report.zh.html": "报告".encode(), "answers/ceval.jsonl": b"{}\n" * 999}
    for name, content in files.items():
        (found / name).write_bytes(content)
    listed = [{"path": n, "sizeBytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items()]
    (found / "manifest.json").write_text(json.dumps({"files": listed, "complete": True}))
    return found


def program_output(pod: Body, folder: Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a pod's command here, with the claim's folder in its place."""
    (container,) = pod["spec"]["containers"]
    python, *words = container["command"]
    assert python == "python"
    most = container["args"][1] if limit is None else str(limit)
    return subprocess.run([sys.executable, *words, str(folder), most], capture_output=True, text=True, check=False)


def let_pods_run(api: Api, folder: Path) -> None:
    """Answer as a cluster that runs each pod at once."""
    path = f"{PODS}/faq-evj-report-abcde"
    made: Body = {}

    def create(body: Body) -> Body:
        made.update({**body, "metadata": {**body["metadata"], "name": "faq-evj-report-abcde", "resourceVersion": "1"}})
        return made

    def read(_: Body) -> Body:
        done = program_output(made, folder)
        ended = {"terminated": {"exitCode": done.returncode, "message": done.stderr}}
        states = [{"name": "report", "state": ended}]
        return {**made, "status": {"phase": "Failed" if done.returncode else "Succeeded", "containerStatuses": states}}

    api.answers["POST", PODS] = create
    api.answers["GET", path] = read
    api.answers["GET", f"{path}/log"] = lambda _: Reply(200, [program_output(made, folder).stdout.encode()])


def fetch(api: Api, *words: str) -> int:
    return main(["report", "evj/faq", *api.arguments, *words])


def test_brings_the_folder(api: Api, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(evaluation())
    api.answers["GET", f"{PODS}/faq-evj-2-evaluate-1"] = {"spec": RAN}
    let_pods_run(api, folder)
    there = tmp_path / "new" / "here"
    assert fetch(api, "--output", str(there)) == 0
    assert capsys.readouterr().out.splitlines() == [str(there / "report.html"), str(there / "report.zh.html")]
    names_ = {str(p.relative_to(there)) for p in there.rglob("*") if p.is_file()}
    assert names_ == {"report.html", "report.zh.html", "answers/ceval.jsonl", "manifest.json"}
    assert all((there / name).read_bytes() == (folder / name).read_bytes() for name in names_)
    assert ("DELETE", f"{PODS}/faq-evj-report-abcde") in [(method, path) for method, path, _ in api.asked]


def test_its_own_folder_when_none_is_named(
    api: Api, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.objects(evaluation())
    api.answers["GET", f"{PODS}/faq-evj-2-evaluate-1"] = {"spec": RAN}
    let_pods_run(api, folder)
    monkeypatch.chdir(tmp_path)
    assert fetch(api) == 0
    assert (tmp_path / "faq-run-2" / "report.html").read_bytes() == b"<html>"


def test_a_run_that_was_removed(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(evaluation(runtime={"image": "repo/mine:1"}))
    let_pods_run(api, tmp_path / "none")
    assert fetch(api) == 1
    assert "is not there, or has no files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(evaluation({"phase": "Running", "message": "run 1"}), "no report yet: run 1", id="no-run"),
        pytest.param(
            evaluation(
                {
                    "phase": "Complete",
                    "run": {"number": 1},
                    "result": {**RESULT, "report": {"uri": "file:///ascendjobs/report/runs/00000001"}},
                }
            ),
            "was in file:///ascendjobs/report/runs/00000001 of pod faq-evj-1-evaluate-0",
            id="no-claim",
        ),
        pytest.param(evaluation(), "--image", id="no-image"),
    ],
)
def test_what_cannot_be_fetched(api: Api, capsys: pytest.CaptureFixture[str], body: Body, words: str) -> None:
    api.objects(body)
    assert fetch(api) == 1
    assert words in capsys.readouterr().err


def test_the_place_of_a_file(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(evaluation())
    (tmp_path / "file").write_text("")
    assert fetch(api, "--output", str(tmp_path / "file")) == 1
    assert "is no folder" in capsys.readouterr().err


def make_pod(**spec: Any) -> Body:
    return report_pod(EvaluationJob.parse(evaluation(**spec)), RAN, None, 300)


def test_the_pod_reads_and_is_no_child() -> None:
    pod = make_pod()
    assert names.JOB_UID not in pod["metadata"]["labels"]
    assert "controller" not in pod["metadata"]["ownerReferences"][0]
    (container,) = pod["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("repo/cpu:1", "Never")
    assert container["args"][0] == "/volumes/reports/faq/runs/00000002"
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "reports", "readOnly": True}
    assert pod["spec"]["securityContext"] == RAN["securityContext"]
    assert pod["spec"]["nodeSelector"] == {"pool": "a"}
    assert {"nodeName", "serviceAccountName"}.isdisjoint(pod["spec"])
    assert "$(" not in "".join(container["command"]), "the kubelet would take it for a variable"


def test_large_files_stay(folder: Path) -> None:
    (folder / "answers" / "large.jsonl").write_bytes(os.urandom(90_000))
    done = program_output(make_pod(), folder, limit=9_000)
    found = unpacked(done.stdout, "")
    assert found.left_out == ("answers/large.jsonl",)
    assert "answers/ceval.jsonl" in found.files
    assert max(map(len, done.stdout.splitlines())) <= 8000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda log: log.replace(log.splitlines()[1], log.splitlines()[1][8:]), "come whole", id="cut"),
        pytest.param(lambda log: "a library speaks\n" + log, "come whole", id="mixed"),
        pytest.param(lambda log: "", "come whole", id="empty"),
        pytest.param(lambda log: log.splitlines()[0], "come whole", id="one-line"),
    ],
)
def test_a_log_that_is_not_whole(folder: Path, change: Any, words: str) -> None:
    log = program_output(make_pod(), folder).stdout
    with pytest.raises(NotNow, match=words):
        unpacked(change(log), "")


def test_files_are_checked_against_the_manifest(folder: Path) -> None:
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert unpacked(program_output(make_pod(), folder).stdout, f"sha256:{digest}").left_out == ()
    with pytest.raises(NotNow, match="another run"):
        unpacked(program_output(make_pod(), folder).stdout, "0" * 64)
    (folder / "report.html").write_text("<html>changed")
    with pytest.raises(NotNow, match=r"report\.html of the report is missing or was changed"):
        unpacked(program_output(make_pod(), folder).stdout, digest)
    (folder / "manifest.json").unlink()
    with pytest.raises(NotNow, match=r"has no manifest\.json"):
        unpacked(program_output(make_pod(), folder).stdout, digest)
