"""`ascendctl validate`: findings with field and line, exit codes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ascend_jobs.api.crd import KINDS, CustomKind, object_schema
from ascend_jobs.api.structural import RULES, Schema
from ascend_jobs.cli.cel import is_transition_rule
from ascend_jobs.cli.main import main
from ascend_jobs.cli.schemacheck import check, with_defaults
from ascend_jobs.cli.validate import check_text
from spec_bounds import NOTHING, OFFLINE, bounds
from spec_cases import FTJ, REFUSED, SMALLEST, TAKEN, Refused, Taken, made


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.kind}-{case.id}")
def test_what_the_server_refuses_is_found_offline(case: Refused) -> None:
    """The same table runs against a real API server in tests/apiserver."""
    problems = check_text(yaml.safe_dump(made(case.changes, case.kind))).problems
    assert problems, case.id
    assert any(case.field in f"{p.field} {p.field}.{p.message}" and case.words in p.message for p in problems), problems


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: f"{case.kind}-{case.id}")
def test_what_the_server_takes_is_valid_offline(case: Taken) -> None:
    assert check_text(yaml.safe_dump(made(case.changes, case.kind))).problems == ()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_bound_is_kept_offline(kind: CustomKind) -> None:
    """Those of the table in tests/apiserver, which is made of the schema."""
    schema = object_schema(kind)
    for bound in bounds(schema["properties"]["spec"], ("spec",)):
        words = OFFLINE[bound.keyword]
        beyond = [f for f in check(with_defaults(bound.wrong(kind.kind), schema), schema) if words in f.message]
        told = [f"{f.field}.{f.message} " if bound.keyword == "required" else f"{f.field} " for f in beyond]
        assert any(text.startswith(f"{bound.field} ") for text in told), bound
        if bound.within is not NOTHING:
            within = check(with_defaults(bound.right(kind.kind), schema), schema)
            assert [f for f in within if f.field == bound.field and words in f.message] == [], bound


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_rule_has_a_case(kind: CustomKind) -> None:
    told = {case.words for case in REFUSED if case.kind == kind.kind and case.words}
    rules = [rule for rule in _rules(object_schema(kind)) if not is_transition_rule(rule["rule"])]
    assert [rule for rule in rules if not any(words in rule["message"] for words in told)] == []


def _rules(schema: Schema) -> Iterator[dict[str, str]]:
    yield from schema.get(RULES, ())
    for below in (*schema.get("properties", {}).values(), schema.get("items")):
        if below:
            yield from _rules(below)


@pytest.mark.parametrize("kind", SMALLEST)
def test_the_smallest_is_valid(kind: str) -> None:
    report = check_text(yaml.safe_dump(SMALLEST[kind]))
    assert report.problems == ()
    assert report.objects == (f"{kind}/faq",)


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
    text = yaml.safe_dump(SMALLEST[FTJ]) + "  training: {hyperparameters: {learningRate: 1e-4}}\n"
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
    good.write_text(yaml.safe_dump(SMALLEST[FTJ]))
    bad.write_text(TEXT)
    assert main(["validate", str(good)]) == 0
    assert main(["validate", str(good), str(bad)]) == 1
    assert main(["validate", str(tmp_path / "none.yaml")]) == 2
    out = capsys.readouterr()
    assert f"{good}: FineTuneJob/faq valid" in out.out
    assert f"{bad}:21: spec.training.hyperparameters.epoch: is no known field" in out.out
    assert "none.yaml" in out.err


JOB = yaml.safe_dump(SMALLEST[FTJ])
SERVICE = """\
---
apiVersion: ascendjobs.io/v1alpha1
kind: InferenceService
metadata: {name: faq, namespace: default}
spec:
  model:
    fromJob: faq
"""
EVALUATION = """\
---
apiVersion: ascendjobs.io/v1alpha1
kind: EvaluationJob
metadata: {name: faq, namespace: default}
spec:
  target:
    service: faq
  suites:
  - {name: ceval, uri: "pvc://eval/ceval"}
"""


def with_line(text: str, after: str, line: str) -> str:
    """Return a text with a line below another, as deep as that one unless it brings its own blanks."""
    found = next(known for known in text.splitlines() if known.strip() == after)
    indent = "" if line.startswith(" ") else found[: len(found) - len(found.lstrip())]
    return text.replace(found, f"{found}\n{indent}{line}", 1)


def test_one_file_with_all_three() -> None:
    report = check_text(JOB + SERVICE + EVALUATION)
    assert (report.problems, report.notes) == ((), ())
    assert report.objects == ("FineTuneJob/faq", "InferenceService/faq", "EvaluationJob/faq")


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[3] / "examples").glob("*.yaml")), ids=lambda f: f.name)
def test_our_own_examples(file: Path) -> None:
    assert check_text(file.read_text()).problems == ()


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        pytest.param("uri: pvc://m/x", "spec.model", "give either uri or fromJob", id="rule"),
        pytest.param("    servedName: ' '", "spec.model.servedName", "does not match", id="structure"),
        pytest.param(
            'adapters: [{name: faq, uri: "pvc://m/a"}]', "spec.model.adapters[0].name", "served already", id="adapter"
        ),
        pytest.param(
            '  scaling: {schedules: [{cron: "0 25 * * *", minReplicas: 1}]}',
            "spec.scaling.schedules[0].cron",
            "Bad hour",
            id="cron",
        ),
        pytest.param(
            "  serving: {engine: vllm-ascend, engineArgs: {max-num-batchd-tokens: 1}}",
            "spec.serving.engineArgs.max-num-batchd-tokens",
            "did you mean max-num-batched-tokens",
            id="argument-of-vllm",
        ),
        pytest.param(
            "  serving: {engine: vllm-ascend, parallelism: {tensor: 3}}", "spec.serving.parallelism", "3", id="shape"
        ),
        pytest.param("quantization: {method: w8a8}", "", "", id="fits-one-engine-that-may-be-the-default"),
    ],
)
def test_services(line: str, field: str, words: str) -> None:
    problems = check_text(JOB + with_line(SERVICE, "fromJob: faq", line)).problems
    if not field:
        assert problems == ()
    else:
        assert any(p.field.startswith(field) and words in p.message for p in problems), problems


def test_engines_of_their_own_kind_refuse_quantization() -> None:
    text = with_line(
        with_line(SERVICE, "fromJob: faq", "quantization: {method: w8a8}"), "spec:", "  serving: {engine: cpu}"
    )
    (problem,) = check_text(text).problems
    assert problem.field == "spec.model.quantization.method"


def test_an_adapter_of_a_job_is_blamed_on_the_job() -> None:
    """What is served of a job counts as an adapter to the engine; users wrote no adapters."""
    custom = "  serving: {engine: custom, command: [x], port: 80}"
    (problem,) = check_text(JOB + with_line(SERVICE, "spec:", custom)).problems
    assert "engine custom" in problem.message
    taken = with_line(
        SERVICE, "fromJob: faq", "adapters: [{name: legal, uri: 'pvc://a/b'}, {name: faq-base, uri: 'pvc://a/c'}]"
    )
    (problem,) = check_text(JOB + with_line(taken, "spec:", "  serving: {engine: cpu}")).problems
    assert problem.field == "spec.model.adapters[1].name"
    assert "already the name of the model" in problem.message


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        pytest.param("model: faq-base", "", "", id="base-model"),
        pytest.param("model: legal", "spec.target.model", "it serves faq-base, faq", id="model"),
        pytest.param('  triggers: {schedule: "0 25 * * *"}', "spec.triggers.schedule", "Bad hour", id="cron"),
        pytest.param(
            "  triggers: {timeZone: Mars/X, schedule: '0 2 * * *'}", "spec.triggers.timeZone", "IANA", id="zone"
        ),
        pytest.param(
            "  suspend: true\n  triggers: {schedule: '0 2 * *'}", "spec.triggers.schedule", "", id="suspended"
        ),
        pytest.param("  acceptance: [{metric: ceval.accuracy}]", "spec.acceptance[0]", "give min", id="rule"),
    ],
)
def test_evaluations(line: str, field: str, words: str) -> None:
    problems = check_text(JOB + SERVICE + with_line(EVALUATION, "service: faq", line)).problems
    assert [p.field for p in problems] == ([field] if field else [])
    assert all(words in p.message for p in problems)


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        pytest.param(SERVICE, 7, "spec.model.fromJob", "ftj/faq is not in this file", id="job"),
        pytest.param(EVALUATION, 7, "spec.target.service", "aisvc/faq is not in this file", id="service"),
        pytest.param(
            JOB + SERVICE.replace("fromJob: faq", "fromJob: fqa"), 19, "spec.model.fromJob", "(faq is)", id="near-name"
        ),
        pytest.param(
            JOB + SERVICE.replace("default", "other"),
            19,
            "spec.model.fromJob",
            "another namespace (default)",
            id="place",
        ),
    ],
)
def test_names_that_lead_out_of_the_file_are_noted(text: str, line: int, field: str, words: str) -> None:
    report = check_text(text)
    assert report.problems == ()
    (note,) = report.notes
    assert (note.line, note.field) == (line, field)
    assert words in note.message


def test_what_is_wrong_by_itself_can_be_named() -> None:
    report = check_text(yaml.safe_dump(made({"spec.model": None})) + SERVICE)
    assert [p.field for p in report.problems] == ["spec"]
    assert report.notes == ()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param(SERVICE + SERVICE, 11, "InferenceService faq is in the file twice", id="twice"),
        pytest.param(
            with_line(EVALUATION, "spec:", '  output: {uri: "pvc://r/a"}')
            + with_line(EVALUATION.replace("name: faq,", "name: b,"), "spec:", '  output: {uri: "pvc://r/a/"}'),
            16,
            "is the output of evj/faq",
            id="same-output",
        ),
    ],
)
def test_documents_that_contradict_each_other(text: str, line: int, words: str) -> None:
    (problem,) = check_text(text).problems
    assert problem.line == line
    assert words in problem.message


def test_names_that_the_server_makes_are_never_twice() -> None:
    made_names = JOB.replace("name: faq", "generateName: faq-")
    assert check_text(f"{made_names}---\n{made_names}").problems == ()


def test_notes_do_not_change_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(SERVICE)
    assert main(["validate", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{path}:7: spec.model.fromJob: ftj/faq is not in this file")
    assert lines[0].endswith("(note)")
    assert lines[1] == f"{path}: InferenceService/faq valid"
