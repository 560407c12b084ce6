"""`ascendctl validate`: findings with field and line, exit codes."""

from pathlib import Path

import pytest
import yaml
from ascend_jobs.cli.main import main
from ascend_jobs.cli.validate import check_text
from spec_cases import REFUSED, SMALLEST, Refused, made


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_what_the_server_refuses_is_found_offline(case: Refused) -> None:
    """The same table runs against a real API server in tests/apiserver."""
    problems = check_text(yaml.safe_dump(made(case.changes))).problems
    assert problems, case.id
    assert any(case.field in f"{p.field} {p.field}.{p.message}" and case.words in p.message for p in problems), problems


def test_smallest_job_is_valid() -> None:
    report = check_text(yaml.safe_dump(SMALLEST))
    assert report.problems == ()
    assert report.objects == ("FineTuneJob/faq",)


TEXT = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
nonsense: [1]
---
apiVersion: ascendjobs.io/v1alpha1
kind: FineTuneJob
metadata:
  name: faq
spec:
  model: {uri: "file:///opt/model"}
  dataset:
    sources:
    - uri: pvc://data/faq.jsonl
      format: alpaka
  output:
    uri: pvc://models/faq
  training:
    hyperparameters:
      learningRate: 1e-4
      epoch: 2
"""


def test_findings_have_the_line_of_their_value() -> None:
    found = {p.field: p for p in check_text(TEXT).problems}
    assert found["spec.dataset.sources[0].format"].line == 15
    assert found["spec.training.hyperparameters.epoch"].line == 21
    assert "did you mean epochs?" in found["spec.training.hyperparameters.epoch"].message
    assert set(found) == {"spec.dataset.sources[0].format", "spec.training.hyperparameters.epoch"}


def test_short_exponents_and_dates_are_read_as_kubernetes_reads_them() -> None:
    text = yaml.safe_dump(SMALLEST) + "  training: {hyperparameters: {learningRate: 1e-4}}\n"
    assert check_text(text).problems == ()
    dated = TEXT.replace("alpaka", "2024-01-01")
    assert any("'2024-01-01'" in p.message for p in check_text(dated).problems)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"spec.dataset.uri": "pvc://models/faq/data.jsonl"}, "spec.output.uri", id="output-over-input"),
        pytest.param({"spec.dataset.uri": "pvc://data/../other"}, "spec.dataset.uri", id="leads-out"),
        pytest.param(
            {"spec.nodes": 2, "spec.training.hyperparameters.globalBatchSize": 3},
            "spec.training.hyperparameters.globalBatchSize",
            id="batch-size",
        ),
    ],
)
def test_contradictions_are_found(changes: dict[str, object], field: str) -> None:
    """What the server takes and the operator would refuse."""
    assert [p.field for p in check_text(yaml.safe_dump(made(changes))).problems] == [field]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param("a: [1\nb: 2\n", 2, "no YAML", id="broken"),
        pytest.param("a: 1\na: 2\n", 2, "twice", id="key-twice"),
        pytest.param("a: &x [*x]\n", 1, "refers to itself", id="endless"),
        pytest.param("apiVersion: ascendjobs.io/v9\nkind: FineTuneJob\n", 1, "v1alpha1", id="version"),
        pytest.param("apiVersion: ascendjobs.io/v1alpha1\nkind: FineTuneJobs\n", 2, "FineTuneJob", id="kind"),
        pytest.param("apiVersion: ascendjobs.io/v1alpha1\nkind: FineTuneJob\n", 1, "name is missing", id="no-name"),
        pytest.param("\x00", 1, "no YAML", id="binary"),
    ],
)
def test_what_is_no_job(text: str, line: int, words: str) -> None:
    problems = check_text(text).problems
    assert [p.line for p in problems] == [line]
    assert words in problems[0].message


@pytest.mark.parametrize("text", ["", "---\n", "a: 1\n", "[1, 2]\n"])
def test_nothing_of_ours(text: str) -> None:
    assert check_text(text) == check_text("")


def test_generated_names_are_checked_with_their_suffix() -> None:
    job = made({"metadata.name": None, "metadata.generateName": "a" * 36})
    assert check_text(yaml.safe_dump(job)).problems
    job["metadata"]["generateName"] = "faq-"
    assert not check_text(yaml.safe_dump(job)).problems


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump(SMALLEST))
    bad.write_text(TEXT)
    assert main(["validate", str(good)]) == 0
    assert main(["validate", str(good), str(bad)]) == 1
    assert main(["validate", str(tmp_path / "none.yaml")]) == 2
    out = capsys.readouterr()
    assert f"{good}: FineTuneJob/faq valid" in out.out
    assert f"{bad}:21: spec.training.hyperparameters.epoch: is no known field" in out.out
    assert "none.yaml" in out.err
