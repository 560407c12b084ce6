"""Whole runs against a server that answers in the OpenAI protocol."""

from __future__ import annotations

import csv
import json
import math
import re
import stat

import pytest
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.reach import TargetUnreachable
from ascend_runtime.evaluate.run import evaluate
from ascend_runtime.folders import read_manifest
from runtime.evaluate.builders import EXAMPLES, make_config, make_suite, write_jsonl
from runtime.evaluate.server import Server, serving

HOSTILE = '<script>alert("x")</script>&<img src=http://evil.example/x.png>'


def gold_of_ceval() -> dict[str, str]:
    """Return question -> right letter of the examples."""
    found = {}
    for file in sorted((EXAMPLES / "ceval" / "val").glob("*.csv")):
        with file.open(encoding="utf-8") as stream:
            found |= {row["question"]: row["answer"] for row in csv.DictReader(stream)}
    return found


GOLD = gold_of_ceval()


def right(prompt):
    return next((letter for question, letter in GOLD.items() if question in prompt), "Hello!")


def wrong(prompt):
    return {"A": "B", "B": "C", "C": "D", "D": "A"}.get(right(prompt), "Hello!")


def half(prompt):
    """Right for the half of the subjects that come first, wrong in words for the others."""
    return right(prompt) if "网络" in prompt or "组成" in prompt else f"Sure! {HOSTILE}"


def target(server, **changes):
    return {"name": "faq", "url": server.url, "model": "faq", "engine": "cpu", "revision": "sha256:a", **changes}


def run(folder, server, **changes):
    return evaluate(make_config(folder, target=target(server), **changes), patience=0)


def metrics(folder, number=3):
    return json.loads((folder / "reports" / "runs" / f"{number:08d}" / "metrics.json").read_text())


@pytest.fixture
def knowing():
    with serving(Server(right)) as server:
        yield server


def test_a_run_says_what_it_found(tmp_path, knowing, capsys):
    acceptance = [{"metric": "ceval.accuracy", "min": 0.9}, {"metric": "ceval.failed", "max": 0}]
    message = run(tmp_path, knowing, acceptance=acceptance)
    assert message["accepted"] is True
    assert message["run"] == 3
    assert message["verdict"] is None
    assert message["requests"] == {"total": 24, "failed": 0}
    assert message["metrics"]["ceval.accuracy"] == 1.0
    folder = tmp_path / "reports" / "runs" / "00000003"
    manifest = read_manifest(folder)
    assert message["report"] == {"uri": "pvc://reports/faq/runs/00000003", "sha256": manifest.sha256}
    assert {"report.html", "report.zh.html", "metrics.json", "answers/ceval.jsonl"} <= set(manifest.files)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert lines[-1] | {"time": ""} == {
        "event": "progress",
        "suite": "ceval",
        "target": "faq",
        "done": 24,
        "total": 24,
        "time": "",
    }


def test_metrics_by_subject_and_category(tmp_path):
    with serving(Server(half)) as server:
        run(tmp_path, server)
    found = metrics(tmp_path)["metrics"]
    assert found["ceval.accuracy"] == pytest.approx(16 / 24)
    assert found["ceval.category.stem.accuracy"] == pytest.approx(16 / 24)
    assert found["ceval.subject.computer_network.accuracy"] == 1.0
    assert found["ceval.subject.operating_system.accuracy"] == 0.0
    assert found["ceval.subjectAverage"] == pytest.approx(2 / 3)
    assert found["ceval.unread"] == 8.0


def test_failed_requests_are_counted_apart(tmp_path):
    with serving(Server(lambda prompt: None if "操作系统" in prompt else right(prompt))) as server:
        message = run(tmp_path, server, suites=[make_suite("ceval", EXAMPLES / "ceval", concurrency=1)])
    assert message["requests"] == {"total": 24, "failed": 8}
    assert message["metrics"]["ceval.accuracy"] == pytest.approx(16 / 24, abs=1e-5)
    found = metrics(tmp_path)["metrics"]
    assert (found["ceval.answeredAccuracy"], found["ceval.failed"]) == (1.0, 8.0)
    page = (tmp_path / "reports" / "runs" / "00000003" / "report.html").read_text()
    assert "8 of 24 requests failed" in page
    assert "Failed requests: 8 of 8" in page


def test_a_suite_that_nobody_answers_has_no_accuracy(tmp_path):
    suites = [make_suite("ceval", EXAMPLES / "ceval", limit=5)]
    with serving(Server(lambda prompt: None if "答案" in prompt else "Hello")) as server:
        message = run(tmp_path, server, suites=suites, acceptance=[{"metric": "ceval.accuracy", "min": 0}])
    assert message["accepted"] is False
    assert message["criteria"][0]["value"] is None
    assert "not measured" in message["criteria"][0]["message"]


def test_a_target_that_is_lost_on_the_way(tmp_path):
    with (
        serving(Server(lambda prompt: None if "答案" in prompt else "Hello")) as server,
        pytest.raises(TargetUnreachable, match="failed 20 times in a row after 20 of 24 questions") as caught,
    ):
        run(tmp_path, server)
    assert (caught.value.code, caught.value.message["reason"]) == (1, "TargetUnreachable")
    assert not list((tmp_path / "reports" / "runs").iterdir())


def test_nobody_there(tmp_path):
    with pytest.raises(TargetUnreachable, match="faq at http://localhost:1 gave no answer: cannot connect"):
        evaluate(make_config(tmp_path), patience=0)


def test_an_unknown_model_and_a_wrong_key(tmp_path, knowing):
    with pytest.raises(TargetUnreachable, match="no model other"):
        evaluate(make_config(tmp_path, target=target(knowing, model="other")), patience=0)
    knowing.key = "s3cret"
    with pytest.raises(TargetUnreachable, match="wrong key"):
        run(tmp_path, knowing)
    (tmp_path / "key").write_text("s3cret\n")
    assert run(tmp_path, knowing, apiKeyFile=str(tmp_path / "key"))["requests"]["failed"] == 0


def test_keys_of_a_mounted_secret_are_shown_to_their_own_server_alone(tmp_path, knowing):
    secret = tmp_path / "keys"
    (secret / "..data").mkdir(parents=True)
    (secret / "..data" / "team-a").write_text("s3cret\n")
    (secret / "team-a").symlink_to(secret / "..data" / "team-a")
    knowing.key = "s3cret"
    with serving(Server(right)) as other:
        words = run(tmp_path, knowing, apiKeyFile=str(secret), baseline=target(other, name="base"))
    assert words["requests"]["failed"] == 0
    assert other.prompts
    assert not any(other.authorizations)


def test_input_is_checked_before_the_first_request(tmp_path, knowing):
    suites = [make_suite("ceval", EXAMPLES / "ceval"), make_suite("jsonl", tmp_path / "nothing.jsonl")]
    with pytest.raises(InvalidInput) as caught:
        run(tmp_path, knowing, suites=suites)
    assert caught.value.field == "spec.suites[1].uri"
    assert not knowing.prompts


def test_a_model_without_chat_template_continues_text(tmp_path, knowing):
    knowing.chat = False
    assert run(tmp_path, knowing)["metrics"]["ceval.accuracy"] == 1.0
    assert metrics(tmp_path)["suites"]["ceval"]["notes"] == ["noChat"]
    assert all("只回答" not in prompt for prompt in knowing.prompts)


def letters(prompt):
    return {" A": -2.5, "B": -3.0, right(prompt): -0.2}


def test_log_likelihood(tmp_path):
    suites = [make_suite("ceval", EXAMPLES / "ceval", scoring="LogLikelihood")]
    with serving(Server(wrong, logprobs=letters)) as server:
        assert run(tmp_path, server, suites=suites)["metrics"]["ceval.accuracy"] == 1.0
        assert all(prompt.endswith(("答案：", "Hello")) for prompt in server.prompts)


def test_log_likelihood_of_a_server_that_gives_none(tmp_path, knowing):
    suites = [make_suite("ceval", EXAMPLES / "ceval", scoring="LogLikelihood")]
    with pytest.raises(InvalidInput, match="faq gives none; use FirstLetter") as caught:
        run(tmp_path, knowing, suites=suites)
    assert (caught.value.field, caught.value.reason) == ("spec.suites[0].scoring", Reason.CONFIG_INVALID)


def tickets(prompt):
    """Call everything billing but what is about the network."""
    return "B" if any(word in prompt for word in ("Packets", "节点", "DNS", "443")) else "A. billing"


def ticket_letters(prompt):
    """Network tickets are told well; the disk that is slower is taken for network with little doubt."""
    if any(word in prompt for word in ("Packets", "节点", "DNS", "443")):
        return {"B": math.log(0.9), "A": math.log(0.1)}
    return {"A": math.log(0.5), "C": math.log(0.3), "B": math.log(0.2)}


def test_classification(tmp_path):
    suites = [make_suite("classification", EXAMPLES / "tickets.jsonl")]
    with serving(Server(tickets, logprobs=ticket_letters)) as server:
        run(tmp_path, server, suites=suites)
    document = metrics(tmp_path)
    found = document["metrics"]
    assert document["suites"]["classification"]["confusion"] == {
        "labels": ["billing", "network", "storage", None],
        "counts": [[4, 0, 0, 0], [0, 4, 0, 0], [4, 0, 0, 0]],
    }
    assert found["classification.accuracy"] == pytest.approx(8 / 12)
    assert found["classification.class.billing.precision"] == 0.5
    assert found["classification.class.billing.recall"] == 1.0
    assert found["classification.class.storage.f1"] == 0.0
    assert found["classification.f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["classification.micro.f1"] == pytest.approx(8 / 12)
    assert found["classification.class.network.auc"] == 1.0
    assert found["classification.class.storage.auc"] == pytest.approx(0.75)
    assert found["classification.auc"] == pytest.approx((0.75 + 1 + 0.75) / 3)


def test_classification_without_probabilities_has_no_curves(tmp_path):
    suites = [make_suite("classification", EXAMPLES / "tickets.jsonl")]
    with serving(Server(tickets)) as server:
        run(tmp_path, server, suites=suites)
    document = metrics(tmp_path)
    assert document["suites"]["classification"]["notes"] == ["noLogprobs"]
    assert "classification.auc" not in document["metrics"]


def test_other_suites(tmp_path):
    own = write_jsonl(tmp_path / "own.jsonl", {"question": "Capital of France?", "answer": "Paris"})
    sums = write_jsonl(tmp_path / "sums.jsonl", {"question": "40+2?", "answer": "#### 42"})
    (tmp_path / "kpi.json").write_text('{"resolved": 0.83}')
    suites = [make_suite("jsonl", own), make_suite("gsm8k", sums), make_suite("command", tmp_path / "kpi.json")]
    with serving(Server(lambda prompt: "paris" if "France" in prompt else "So it is 42.")) as server:
        message = run(tmp_path, server, suites=suites)
    found = message["metrics"]
    assert [found[name] for name in ("jsonl.accuracy", "gsm8k.accuracy", "command.resolved")] == [1.0, 1.0, 0.83]


def test_a_command_alone_needs_no_target(tmp_path):
    (tmp_path / "kpi.json").write_text('{"resolved": 0.83}')
    config = make_config(tmp_path, suites=[make_suite("command", tmp_path / "kpi.json")])
    assert evaluate(config, patience=0)["metrics"] == {"command.resolved": 0.83}


def test_a_baseline_answers_the_same_questions(tmp_path, knowing):
    with serving(Server(wrong)) as other:
        baseline = target(other, name="faq-base")
        acceptance = [{"metric": "ceval.accuracy", "maxDrop": 0}]
        message = run(tmp_path, knowing, baseline=baseline, acceptance=acceptance)
        assert sorted(other.prompts) == sorted(knowing.prompts)
    assert (message["verdict"], message["accepted"]) == ("Better", True)
    assert message["requests"]["total"] == 48
    document = metrics(tmp_path)
    assert document["metrics"]["compare.ceval.pValue"] == pytest.approx(2 / 2**24)
    assert document["metrics"]["compare.ceval.difference"] == 1.0
    assert document["baselineMetrics"]["ceval.accuracy"] == 0.0
    rows = (tmp_path / "reports/runs/00000003/answers/ceval.jsonl").read_text().splitlines()
    assert len(rows) == 24
    assert json.loads(rows[0])["baseline"]["correct"] is False


@pytest.mark.parametrize("name", ["report.html", "report.zh.html"])
def test_the_report_holds_nothing_foreign(tmp_path, name):
    suites = [make_suite("ceval", EXAMPLES / "ceval"), make_suite("classification", EXAMPLES / "tickets.jsonl")]
    with serving(Server(half, logprobs=ticket_letters)) as server, serving(Server(wrong)) as other:
        run(tmp_path, server, suites=suites, baseline=target(other, name="<b>base</b>"))
    page = (tmp_path / "reports" / "runs" / "00000003" / name).read_text(encoding="utf-8")
    assert "&lt;script&gt;alert" in page
    assert "<script" not in page
    assert "<b>base" not in page
    assert "<img" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    assert "url(#" in page or "url(" not in page
    assert page.count("<svg") == 3
    assert {"report.html": "24 questions", "report.zh.html": "24 题"}[name] in page


def test_the_log_shows_minds_tables(tmp_path, knowing, capsys):
    run(tmp_path, knowing)
    log = capsys.readouterr().out
    assert "The Benchmark test performance metric result is:" in log
    assert "100.0% (24/24)" in log
    tables = sorted((tmp_path / "reports" / "runs" / "00000003").glob("ceval_*.csv"))
    assert [re.sub(r"\d+", "TS", table.name) for table in tables] == ["ceval_common_TS.csv", "ceval_perf_TS.csv"]
    assert "accuracy,100.0% (24/24)" in tables[0].read_text()
    assert tables[1].read_text().startswith("Metric,average,max,min,P75,P90,P99,N\nFirstTokenTime,")


def test_numbers_and_answers_are_not_for_everybody(tmp_path, knowing):
    run(tmp_path, knowing)
    folder = tmp_path / "reports" / "runs" / "00000003"
    modes = {str(p.relative_to(folder)): stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()}
    assert modes["metrics.json"] == modes["answers/ceval.jsonl"] == 0o640
    assert {mode for name, mode in modes.items() if name.endswith(".csv")} == {0o640}
    assert modes["report.html"] == modes["manifest.json"] == 0o644


def test_history_grows_and_old_runs_go(tmp_path, knowing):
    for number in (1, 2, 3, 4):
        run(tmp_path, knowing, run=number)
    reports = tmp_path / "reports"
    assert sorted(path.name for path in (reports / "runs").iterdir()) == ["00000002", "00000003", "00000004"]
    history = json.loads((reports / "history.json").read_text())
    assert [entry["run"] for entry in history["runs"]] == [2, 3, 4]
    latest = json.loads((reports / "latest.json").read_text())
    assert (latest["path"], latest["run"]) == ("runs/00000004", 4)
    assert "历次运行" in (reports / "runs" / "00000004" / "report.zh.html").read_text()


def test_a_repeated_run_writes_only_its_own_folder(tmp_path, knowing):
    for number in (1, 2, 1):
        run(tmp_path, knowing, run=number)
    reports = tmp_path / "reports"
    assert json.loads((reports / "latest.json").read_text())["run"] == 2
    assert [entry["run"] for entry in json.loads((reports / "history.json").read_text())["runs"]] == [1, 2]
    assert sorted(path.name for path in reports.iterdir()) == ["history.json", "latest.json", "runs"]
    assert sorted(path.name for path in (reports / "runs").iterdir()) == ["00000001", "00000002"]


def test_the_folder_of_another_evaluation_is_left_alone(tmp_path, knowing):
    run(tmp_path, knowing)
    knowing.prompts.clear()
    with pytest.raises(InvalidInput, match="holds the reports of team-a/faq") as caught:
        run(tmp_path, knowing, job={"namespace": "team-b", "name": "faq", "uid": "uid-2"})
    assert (caught.value.reason, caught.value.field) == (Reason.OUTPUT_EXISTS, "spec.output.uri")
    assert not knowing.prompts
    run(tmp_path, knowing, job={"namespace": "team-a", "name": "faq", "uid": "uid-made-anew"}, run=1)


def test_an_edited_history_is_no_harm(tmp_path, knowing):
    (tmp_path / "reports").mkdir()
    entries = [{"run": "x"}, 5, {"run": 1, "metrics": {"ceval.accuracy": "high"}, "accepted": "yes"}, {"run": True}]
    (tmp_path / "reports" / "history.json").write_text(json.dumps({"runs": entries}))
    run(tmp_path, knowing)
    history = json.loads((tmp_path / "reports" / "history.json").read_text())
    assert [entry["run"] for entry in history["runs"]] == [1, 3]


LOAD = {
    "uri": "pvc://eval/prompts.jsonl",
    "path": str(EXAMPLES / "prompts.jsonl"),
    "concurrency": [1, 4],
    "requestsPerSecond": [100],
    "warmupRequests": 2,
    "requests": 10,
    "maxTokens": 16,
}


def test_performance_of_both_sides(tmp_path, knowing):
    acceptance = [{"metric": "performance.c4.FirstTokenTime.P99", "max": 60_000}]
    with serving(Server(wrong)) as other:
        baseline = target(other, name="faq-base")
        message = run(tmp_path, knowing, suites=[], performance=LOAD, baseline=baseline, acceptance=acceptance)
    assert message["accepted"] is True
    assert message["requests"] == {"total": 60, "failed": 0}
    assert message["verdict"] in ("Better", "Worse", "NoDifference")
    assert next(iter(message["metrics"])) == "performance.c4.FirstTokenTime.P99"
    document = metrics(tmp_path)
    assert {"performance.c1.Throughput", "performance.r100.GenerateTime.P99"} <= set(document["metrics"])
    assert "compare.performance.c4.FirstTokenTime.delta" in document["metrics"]
    assert "performance.c1.Throughput" in document["baselineMetrics"]
    folder = tmp_path / "reports" / "runs" / "00000003"
    assert len(list(folder.glob("performance_c4_perf_*.csv"))) == 1
    assert "Performance of faq-base" in (folder / "report.html").read_text()


def test_prompts_are_checked_before_the_first_request(tmp_path, knowing):
    prompts = write_jsonl(tmp_path / "prompts.jsonl", {"prompt": "x"}, {"q": "y"})
    with pytest.raises(InvalidInput, match=r"prompts\.jsonl row 2") as caught:
        run(tmp_path, knowing, performance={**LOAD, "path": str(prompts)})
    assert caught.value.field == "spec.performance.uri"
    assert not knowing.prompts


def test_empty_answers_are_answers(tmp_path):
    with serving(Server(lambda _: "")) as server:
        message = run(tmp_path, server)
    assert message["requests"] == {"total": 24, "failed": 0}
    assert (message["metrics"]["ceval.accuracy"], metrics(tmp_path)["metrics"]["ceval.unread"]) == (0.0, 24.0)


def test_worked_examples_and_a_limit_reach_the_target(tmp_path, knowing):
    suites = [make_suite("ceval", EXAMPLES / "ceval", shots=1, limit=6)]
    assert run(tmp_path, knowing, suites=suites)["metrics"]["ceval.total"] == 6
    asked = [prompt for prompt in knowing.prompts if "答案" in prompt]
    assert all(prompt.count("答案：") == 2 for prompt in asked)
