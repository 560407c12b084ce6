"""Publishing a run: killed at any change of the disk, readers see whole folders and the next run puts things right."""

from __future__ import annotations

import json

import pytest
from ascend_runtime.errors import InvalidInput
from ascend_runtime.evaluate.publish import open_output, publish_run
from ascend_runtime.folders import read_manifest
from runtime.evaluate.builders import make_config
from runtime.ranks import fork, kill_at, wait_for


def write(text):
    def files(folder):
        (folder / "report.html").write_text(text)
        (folder / "answers").mkdir()
        (folder / "answers" / "ceval.jsonl").write_text("{}\n")

    return files


def publish(folder, run, text):
    config = make_config(folder, run=run)
    open_output(config)
    publish_run(config, write(text), {"time": "now", "accepted": None, "metrics": {"ceval.accuracy": run / 10}})
    return 0


def text_of(folder, run):
    path = folder / "reports" / "runs" / f"{run:08d}"
    return (path / "report.html").read_text() if read_manifest(path) else None


@pytest.mark.parametrize("run", [2, 3], ids=["repeated", "next"])
def test_killed_anywhere(tmp_path, run):
    calls, code = 0, -9
    while code == -9:
        home = tmp_path / str(calls)
        home.mkdir()
        for earlier in (1, 2):
            publish(home, earlier, f"run {earlier}")
        code = wait_for(fork(lambda place=home: publish(place, run, "new"), tmp_path / "log", kill_at(calls)))
        reports = home / "reports"
        open_output(make_config(home, run=run))
        assert text_of(home, 1) == "run 1"
        assert text_of(home, 2) in ("run 2", "new")
        latest = json.loads((reports / "latest.json").read_text())
        assert read_manifest(reports / latest["path"]) is not None
        assert {path.name[0] for path in (reports / "runs").iterdir()} == {"0"}
        publish(home, run, "new")
        assert text_of(home, run) == "new"
        assert sorted(path.name for path in reports.iterdir()) == ["history.json", "latest.json", "runs"]
        history = json.loads((reports / "history.json").read_text())
        assert [entry["run"] for entry in history["runs"]] == list(range(1, max(run, 2) + 1))
        calls += 1
    assert code == 0
    assert calls > 10


def test_a_run_that_is_older_than_the_limit_keeps_its_own_folder(tmp_path):
    for run in (5, 6, 7, 1):
        publish(tmp_path, run, f"run {run}")
    assert text_of(tmp_path, 1) == "run 1"
    assert json.loads((tmp_path / "reports" / "latest.json").read_text())["run"] == 7
    publish(tmp_path, 8, "run 8")
    kept = sorted(path.name for path in (tmp_path / "reports" / "runs").iterdir())
    assert kept == ["00000006", "00000007", "00000008"]


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(InvalidInput, match="pvc://reports/faq cannot be written") as caught:
        open_output(make_config(tmp_path))
    assert caught.value.field == "spec.output.uri"
