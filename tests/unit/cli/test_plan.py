"""`ascendctl plan`: what is said of jobs and services, where facts come from, exit codes."""

import json
import os
import sys
from pathlib import Path

import pytest
from ascend_jobs.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "domain"))
import model_configs as m

FRAMES = Path(__file__).parent / "frames"

TEXT = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: ascendjobs.io/v1alpha1
kind: FineTuneJob
metadata: {name: faq}
spec:
  model: {uri: "pvc://models/Qwen2.5-7B-Instruct"}
  dataset: {uri: "pvc://data/faq.jsonl"}
  output: {uri: "pvc://models/faq"}
  nodes: 2
  npusPerNode: 8
---
apiVersion: ascendjobs.io/v1alpha1
kind: InferenceService
metadata: {name: faq}
spec: {model: {fromJob: faq}, serving: {maxLength: 32768}, npusPerNode: 1}
---
apiVersion: ascendjobs.io/v1alpha1
kind: InferenceService
metadata: {name: grid}
spec:
  model: {uri: "pvc://models/Qwen2.5-72B"}
  serving: {engine: mindie, engineVersion: 2.1.RC1, maxLength: 8192}
  npusPerNode: 2
  scaling: {minReplicas: 2, maxReplicas: 6}
"""


def service(**spec: object) -> str:
    """One service as YAML (JSON is YAML)."""
    body = {"model": {"uri": "pvc://models/m"}, **spec}
    return json.dumps(
        {
            "apiVersion": "ascendjobs.io/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": "faq"},
            "spec": body,
        }
    )


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, made the present one, with the file and two models' config.json."""
    monkeypatch.chdir(tmp_path)
    Path("three.yaml").write_text(TEXT)
    Path("7b.json").write_text(json.dumps(m.QWEN25_7B))
    Path("72b.json").write_text(json.dumps(m.QWEN25_72B))
    return tmp_path


def plan_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict]]:
    code = main(["plan", *arguments, "-o", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_text(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["plan", "three.yaml", "--model-config", "faq=7b.json", "--model-config", "grid=72b.json"])
    assert code == 1  # 72B does not fit two NPUs
    text = capsys.readouterr().out
    frame = FRAMES / "plan.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        frame.write_text(text)
    assert frame.read_text() == text


def test_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, plans = plan_json(capsys, "three.yaml", "--model-config", "7b.json", "--chip", "Ascend910B4")
    assert code == 0
    job, faq, grid = plans
    assert (job["kind"], job["npus"], job["hbmGiB"]) == ("FineTuneJob", 16, 32)
    assert job["memoryPerNpu"]["fits"] is True
    assert sum(term["bytes"] for term in job["memoryPerNpu"]["terms"]) == job["memoryPerNpu"]["totalBytes"]
    assert (faq["npus"], grid["npus"]) == (1, 12)
    assert grid["problems"] == []


def test_missing_facts_are_asked_for(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "three.yaml"]) == 0
    out = capsys.readouterr().out
    assert "give the config.json of pvc://models/Qwen2.5-7B-Instruct with --model-config PATH" in out
    Path("alone.yaml").write_text(service(model={"fromJob": "elsewhere"}))
    assert main(["plan", "alone.yaml"]) == 0
    assert "the result of FineTuneJob elsewhere" in capsys.readouterr().out


def test_model_beside_the_uri_is_found(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "model").mkdir()
    (files / "model" / "config.json").write_text(json.dumps({**m.DEEPSEEK_V3, "torch_dtype": "float8_e4m3fn"}))
    index = {"metadata": {"total_size": 688_586_727_753}, "weight_map": {}}
    (files / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    Path("r1.yaml").write_text(service(model={"uri": f"file://{files}/model"}, npusPerNode=16))
    code, plans = plan_json(capsys, "r1.yaml")
    assert code == 0
    assert plans[0]["memoryPerNpu"]["terms"][0]["bytes"] == 688_586_727_753 // 16
    assert plans[0]["model"].startswith("DeepseekV3ForCausalLM, 688,586,727,753 parameters")


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        pytest.param({"npusPerNode": 8}, "spec.serving.parallelism.tensor", "28 attention heads", id="heads"),
        pytest.param({"serving": {"maxLength": 65536}}, "spec.serving.maxLength", "32768 positions", id="positions"),
        pytest.param(
            {"serving": {"engineArgs": {"max-model-len": 1}}},
            "spec.serving.engineArgs.max-model-len",
            "spec.serving.maxLength gives it",
            id="engine",
        ),
        pytest.param(
            {"serving": {"engine": "mindie", "maxLength": 1_200_000}}, "spec.npusPerNode", "fits with", id="too-long"
        ),
    ],
)
def test_what_cannot_run(files: Path, capsys: pytest.CaptureFixture[str], spec: dict, field: str, words: str) -> None:
    Path("one.yaml").write_text(service(**spec))
    code, plans = plan_json(capsys, "one.yaml", "--model-config", "7b.json")
    assert code == 1
    assert [p["field"] for p in plans[0]["problems"]] == [field]
    assert words in plans[0]["problems"][0]["message"]


@pytest.mark.parametrize(
    ("spec", "npus"),
    [
        pytest.param({"scaling": {"replicas": 0, "maxReplicas": 4}}, 0, id="none"),
        pytest.param({"scaling": {"schedules": [{"cron": "0 8 * * *", "minReplicas": 5}]}}, 5, id="schedule"),
        pytest.param({"canary": {"model": {"uri": "pvc://models/x"}, "replicas": 2}}, 3, id="canary"),
        pytest.param({"nodes": 2, "npusPerNode": 8, "scaling": {"minReplicas": 2}}, 32, id="nodes"),
    ],
)
def test_npus(files: Path, capsys: pytest.CaptureFixture[str], spec: dict, npus: int) -> None:
    Path("one.yaml").write_text(service(**spec))
    assert plan_json(capsys, "one.yaml")[1][0]["npus"] == npus


def test_cpu_engine_has_no_memory_of_npus(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.yaml").write_text(service(serving={"engine": "cpu"}))
    _, plans = plan_json(capsys, "one.yaml", "--model-config", "7b.json")
    assert plans[0]["memoryPerNpu"] is None
    assert plans[0]["disk"][0]["size"].startswith("14.2 GiB")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["none.yaml"], 2, id="no-file"),
        pytest.param(["three.yaml", "--model-config", "none.json"], 2, id="no-config"),
        pytest.param(["three.yaml", "--chip", "A100"], 2, id="no-chip"),
        pytest.param(["bad.yaml"], 1, id="no-yaml"),
        pytest.param(["wrong.yaml"], 1, id="wrong-type"),
        pytest.param(["three.yaml", "--model-config", "bad.yaml"], 0, id="config-unreadable"),
    ],
)
def test_exit_codes(files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> None:
    Path("bad.yaml").write_text("a: [1\n")
    Path("wrong.yaml").write_text(service(nodes="many"))
    assert main(["plan", *arguments]) == code
    streams = capsys.readouterr()
    assert "Traceback" not in streams.err
    if code == 1 and arguments == ["wrong.yaml"]:
        assert "InferenceService/faq: spec.nodes" in streams.err


def test_hostile_names_do_not_steer_the_terminal(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.yaml").write_text(service().replace('"faq"', '"f\\u001b[31maq"'))
    main(["plan", "one.yaml"])
    assert "\x1b" not in capsys.readouterr().out
