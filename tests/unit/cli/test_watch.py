"""`ascendctl watch` against a small API server: every way in which a watch can go on or end."""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from ascend_jobs.cli import watch as watch_module
from ascend_jobs.cli.main import main
from unit.cli.answers import Api

Event = tuple[str, dict[str, Any]]


def job(version: int, phase: str, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ascendjobs.io/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {
            "name": "faq",
            "namespace": "team-a",
            "uid": "u1",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T12:00:00Z",
        },
        "spec": {
            "model": {"uri": "file:///m"},
            "dataset": {"uri": "pvc://data/d.jsonl"},
            "output": {"uri": "pvc://models/o"},
        },
        "status": {"phase": phase, "message": f"{phase} it is", **status},
    }


def refusal(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


@dataclass
class Script:
    """What the server answers: reads and watches, each in turn, the last one again and again; what it was asked."""

    reads: list[dict[str, Any]]
    watches: list[list[Event] | dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def read(self) -> dict[str, Any]:
        return self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]

    def watch(self, version: str) -> list[Event] | dict[str, Any]:
        self.asked.append(version)
        return self.watches.pop(0) if self.watches else []


class Handler(http.server.BaseHTTPRequestHandler):
    script: Script

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        found = self.script.watch(query["resourceVersion"][0]) if "watch" in query else self.script.read()
        if isinstance(found, dict):
            self._send(found.get("code", 200), json.dumps(found))
        else:
            self._send(200, "".join(json.dumps({"type": t, "object": o}) + "\n" for t, o in found))

    def _send(self, code: int, body: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a function that starts a server for a script and returns the command's arguments."""
    servers: list[http.server.ThreadingHTTPServer] = []
    monkeypatch.setattr(watch_module, "_RECONNECT_SECONDS", 0.01)

    def start(script: Script) -> list[str]:
        handler = type("Scripted", (Handler,), {"script": script})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return arguments(tmp_path, server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def arguments(folder: Path, port: int) -> list[str]:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return ["watch", "ftj/faq", "--kubeconfig", str(path)]


def test_follows_to_the_end(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    artifacts = [{"type": "adapter", "uri": "pvc://models/o", "sha256": "a" * 64, "sizeBytes": 1000}]
    running = {"progress": {"step": 3, "totalSteps": 9, "loss": 1.5}}
    script = Script(
        [job(1, "Pending")],
        [[("MODIFIED", job(2, "Running", **running)), ("MODIFIED", job(3, "Complete", artifacts=artifacts))]],
    )
    assert main(serve(script)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[10:] for line in lines[:3]] == [
        "Pending  Pending it is",
        "Running  step 3/9  loss 1.5  Running it is",
        "Complete  Complete it is",
    ]
    assert lines[-1].split() == ["adapter", "pvc://models/o", "1", "kB", "sha256", "a" * 12]
    assert script.asked[0] == "1"
    assert set(script.asked[1:]) <= {"3"}, "a reader that is not told of the end yet goes on from the last version"


def test_failed_job_gives_1_and_its_last_words(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failure = {
        "reason": "PodFailed",
        "pod": "faq-ftj-0-worker-0",
        "message": "exit code 1: boom",
        "time": "2026-01-01T12:00:00Z",
    }
    assert main(serve(Script([job(1, "Failed", lastFailure=failure)]))) == 1
    assert "PodFailed faq-ftj-0-worker-0: exit code 1: boom" in capsys.readouterr().out


def test_a_watch_that_ends_is_taken_up_where_it_was(serve: Any) -> None:
    bookmark = {"kind": "FineTuneJob", "metadata": {"resourceVersion": "7"}}
    script = Script(
        [job(1, "Pending")],
        [[("MODIFIED", job(5, "Running"))], [("BOOKMARK", bookmark)], [], [("MODIFIED", job(9, "Complete"))]],
    )
    assert main(serve(script)) == 0
    assert script.asked == ["1", "5", "7", "7"]


def test_a_bookmark_tells_nothing_old_again(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bookmark = {"kind": "FineTuneJob", "metadata": {"resourceVersion": "7"}}
    events = [("MODIFIED", job(5, "Running")), ("BOOKMARK", bookmark), ("MODIFIED", job(9, "Complete"))]
    assert main(serve(Script([job(1, "Pending")], [events]))) == 0
    assert capsys.readouterr().out.count("Pending it is") == 1


def test_a_version_that_is_too_old_is_read_anew(serve: Any) -> None:
    script = Script([job(1, "Pending"), job(8, "Complete")], [[("ERROR", refusal(410, "too old"))]])
    assert main(serve(script)) == 0


def test_an_outage_is_waited_for(serve: Any) -> None:
    script = Script(
        [job(1, "Pending")],
        [refusal(500, "etcd is away"), refusal(503, "still"), [("MODIFIED", job(2, "Complete"))]],
    )
    assert main(serve(script)) == 0


def test_a_long_outage_ends_it(serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(watch_module, "_PATIENCE", 0.05)
    script = Script([job(1, "Pending")], [refusal(500, "etcd is away")] * 50)
    assert main(serve(script)) == 4
    assert "etcd is away" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "code", "words"),
    [
        pytest.param(
            refusal(404, 'finetunejobs "faq" not found'), 3, "finetunejobs/faq not found in namespace team-a", id="none"
        ),
        pytest.param(
            refusal(404, "the server could not find the requested resource"), 3, "install the chart", id="no-crd"
        ),
        pytest.param(refusal(403, "finetunejobs is forbidden: User u cannot get"), 4, "cannot get", id="forbidden"),
    ],
)
def test_what_ends_it_at_once(
    serve: Any, capsys: pytest.CaptureFixture[str], first: dict[str, Any], code: int, words: str
) -> None:
    assert main(serve(Script([first]))) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Script([job(1, "Running")], [[("DELETED", job(2, "Running"))]]), id="event"),
        pytest.param(
            Script([job(1, "Running"), refusal(404, "not found")], [[("ERROR", refusal(410, "too old"))]]), id="unseen"
        ),
    ],
)
def test_a_deleted_job_gives_3(serve: Any, capsys: pytest.CaptureFixture[str], script: Script) -> None:
    assert main(serve(script)) == 3
    assert "was deleted" in capsys.readouterr().err


def test_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, 1)) == 4
    assert "cannot reach the cluster at http://127.0.0.1:1: " in capsys.readouterr().err


def test_no_kubeconfig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "faq", "--kubeconfig", str(tmp_path / "none")]) == 4
    assert "no usable kubeconfig" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["watch"],
        ["watch", "pod/x"],
        ["watch", "ftj/"],
        ["watch", "faq", "-f", "x"],
        ["report", "ftj/x"],
        ["nothing"],
        [],
    ],
)
def test_wrong_usage_gives_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def ended(kind: str, phase: str, name: str = "faq", **status: Any) -> dict[str, Any]:
    """Return an object of a kind whose story is over."""
    spec = {
        "FineTuneJob": job(1, phase)["spec"],
        "InferenceService": {"model": {"fromJob": "faq"}},
        "EvaluationJob": {"target": {"service": "faq"}, "suites": [{"name": "ceval", "uri": "pvc://e/c"}]},
    }[kind]
    metadata = {**job(1, phase)["metadata"], "name": name, "generation": 1}
    return {**job(1, phase, observedGeneration=1, **status), "kind": kind, "metadata": metadata, "spec": spec}


RESULT = {"run": 1, "time": "2026-01-01T12:00:00Z", "metrics": [{"name": "ceval.accuracy", "value": 0.5}]}
CEASED = {"type": "Stalled", "status": "True", "reason": "JobFailed", "lastTransitionTime": "2026-01-01T12:00:00Z"}
ALL = (
    ended("EvaluationJob", "Complete", run={"number": 1}, result=RESULT),
    ended("InferenceService", "Ready", url="http://faq-aisvc.team-a.svc:8000"),
    ended("FineTuneJob", "Complete"),
)


def file_of(folder: Path, *objects: dict[str, Any]) -> str:
    """Return a file with the objects as somebody wrote them; one without a namespace goes to the context's."""
    path = folder / "all.yaml"
    bare = [{**o, "metadata": {"name": o["metadata"]["name"]}} for o in objects]
    path.write_text(yaml.safe_dump_all([{"kind": "ConfigMap"}, *bare]))
    return str(path)


@pytest.mark.parametrize("kind", ["aisvc", "evj", "inferenceservice", "evaluationjobs"])
def test_other_kinds(api: Api, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    api.objects(*ALL)
    assert main(["watch", f"{kind}/faq", *api.arguments]) == 0
    out = capsys.readouterr().out
    assert ("ceval.accuracy  0.5" in out) is kind.startswith("ev")
    assert ("http://faq-aisvc.team-a.svc:8000/v1" in out) is not kind.startswith("ev")


def test_all_of_a_file_in_turn(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(*ALL)
    assert main(["watch", "-f", file_of(tmp_path, *ALL), *api.arguments]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("==>")]
    assert titles == ["==> ftj/faq", "==> aisvc/faq", "==> evj/faq"]


def test_what_waits_for_a_failed_one_is_not_followed(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = (ended("FineTuneJob", "Failed"), ended("FineTuneJob", "Complete", "other"), *ALL[:2])
    api.objects(*objects)
    assert main(["watch", "-f", file_of(tmp_path, *objects), *api.arguments]) == 1
    out = capsys.readouterr().out
    assert "==> ftj/other" in out
    assert "aisvc/faq is not followed: it waits for ftj/faq" in out
    assert "evj/faq is not followed: it waits for aisvc/faq" in out


def test_a_service_that_will_not_come_gives_1(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(ended("InferenceService", "Stalled", conditions=[CEASED]))
    assert main(["watch", "aisvc/faq", *api.arguments]) == 1
    assert "Stalled: Stalled it is" in capsys.readouterr().out


def test_an_object_of_a_file_that_is_not_there(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "-f", file_of(tmp_path, ALL[1]), *api.arguments]) == 3
    assert "aisvc/faq not found in namespace team-a" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [1\n", "no YAML", id="broken"),
        pytest.param("kind: ConfigMap\n", "nothing to follow", id="nothing"),
        pytest.param(
            "apiVersion: ascendjobs.io/v1alpha1\nkind: FineTuneJob\nmetadata: {generateName: faq-}\n",
            "no metadata.name",
            id="no-name",
        ),
    ],
)
def test_files_that_cannot_be_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    assert main(["watch", "-f", str(path)]) == 2
    assert words in capsys.readouterr().err
    assert main(["watch", "-f", str(tmp_path / "none.yaml")]) == 2
    assert main(["watch", "-f", str(path), "--forever"]) == 2
