"""The command line as pods run it: processes of their own, exit codes, last words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ascend_jobs import names
from ascend_runtime.folders import read_manifest
from ascend_runtime.prepare import prepare
from ascend_runtime.report import MESSAGE_LIMIT, write_termination
from ascend_runtime.train.launch import RanksFailed, _Child, _most_telling, _stop, _watch
from runtime.builders import make_config, make_document
from runtime.ranks import free_port


def run(*arguments, log=None, **environ):
    command = [sys.executable, "-m", "ascend_runtime", *arguments]
    command += ["--termination-log", str(log)] if log else []
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1", **environ}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240)


def test_help_of_every_command():
    for arguments in ([], ["wait"], ["prepare"], ["train"], ["generate"], ["toy"]):
        assert "usage: python -m ascend_runtime" in run(*arguments, "--help").stdout


def test_two_ranks_of_one_pod(home):
    """The parent starts two processes and hands on what rank 0 says; no rank table file, so the variable goes."""
    document = make_document(home, {"training.hyperparameters.maxSteps": 1})
    prepare(make_config(home))
    ended = run(
        "train",
        log=home / "message",
        ASCENDJOBS_CONFIG=json.dumps(document),
        NPROC_PER_NODE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(free_port()),
        RANK_TABLE_FILE=str(home / "hccl.json"),
        HOME="/nonexistent",
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads((home / "message").read_text())["steps"] == 1
    assert [json.loads(line)["event"] for line in ended.stdout.splitlines()] == [
        *("validation", "progress", "validation", "checkpoint")
    ]
    assert read_manifest(home / "models" / "faq") is not None


def test_without_configuration(tmp_path):
    ended = run("prepare", log=tmp_path / "message")
    assert ended.returncode == 65
    assert json.loads((tmp_path / "message").read_text())["field"] == "ASCENDJOBS_CONFIG"
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"training.method": "dpo"}, "spec.training.method", id="choice"),
        pytest.param(
            {"training.hyperparameters.learningRate": "fast"}, "spec.training.hyperparameters.learningRate", id="number"
        ),
        pytest.param({"training.lora": 3}, "spec.training.lora", id="section"),
        pytest.param({"dataset.sources": []}, "spec.dataset.sources", id="list"),
        pytest.param({"model.path": "relative"}, "spec.model.path", id="path"),
        pytest.param({"training.hyperparameters.seed": True}, "spec.training.hyperparameters.seed", id="boolean"),
        pytest.param(
            {"training.hyperparameters.learningRate": float("nan")},
            "spec.training.hyperparameters.learningRate",
            id="nan",
        ),
    ],
)
def test_wrong_configuration_names_the_field(tmp_path, changes, field):
    from ascend_runtime.errors import InvalidInput

    with pytest.raises(InvalidInput) as caught:
        make_config(tmp_path, changes)
    assert caught.value.field == field
    assert field in caught.value.message


def child(folder, rank, code, message=None):
    """A rank of a launcher: a real process that ends with a code, negative for a signal."""
    log = folder / f"{rank}.json"
    if message:
        log.write_text(json.dumps({"reason": "Error", "message": message}))
    end = f"os.kill(os.getpid(), {-code})" if code < 0 else f"os._exit({code})"
    return _Child(rank, subprocess.Popen([sys.executable, "-S", "-c", f"import os; {end}"]), log)


@pytest.mark.parametrize(
    ("codes", "code", "message"),
    [
        pytest.param({0: names.EXIT_PEER_LOST, 1: 1}, 1, "of rank 1", id="the-error-not-those-it-took-along"),
        pytest.param({0: 1, 1: 65}, 65, "of rank 1", id="wrong-input-first"),
        pytest.param({0: 75, 1: names.EXIT_PEER_LOST}, 75, "of rank 0", id="fenced"),
        pytest.param(
            {0: names.EXIT_PEER_LOST, 1: -9}, 137, "rank 1 ended with code 137 (SIGKILL; usually the memory", id="oom"
        ),
        pytest.param({0: -11, 1: -15}, 139, "rank 0 ended with code 139 (SIGSEGV)", id="crash-not-our-own-sigterm"),
    ],
)
def test_the_rank_that_tells_most(tmp_path, codes, code, message):
    children = [child(tmp_path, rank, end, f"of rank {rank}" if end > 0 else None) for rank, end in codes.items()]
    _watch(children)
    told = _most_telling(children)
    assert isinstance(told, RanksFailed)
    assert told.code == code
    assert message in told.message["message"]


def test_ranks_that_do_not_end_are_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("ascend_runtime.train.launch.CONCLUDE_SECONDS", 0.1)
    stuck = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    children = [child(tmp_path, 0, 3), _Child(1, stuck, tmp_path / "1.json")]
    _watch(children)
    _stop(children)
    assert (children[0].process.returncode, stuck.returncode) == (3, -15)


def test_last_words_fit_into_the_limit(tmp_path):
    log = Path(tmp_path / "log")
    write_termination(log, {"reason": "Error", "message": "ü" * 9000})
    assert len(log.read_bytes()) <= MESSAGE_LIMIT
    assert json.loads(log.read_text())["message"].endswith("...")


def test_last_words_without_a_place_for_them(tmp_path, capsys):
    write_termination(tmp_path / "absent" / "log", {"reason": "Error", "message": "lost"})
    assert "lost" in capsys.readouterr().err


def test_sigterm_takes_the_ranks_along(home):
    document = make_document(home)
    environ = {"PYTHONPATH": ":".join(sys.path), "NPROC_PER_NODE": "2", "ASCENDJOBS_CONFIG": json.dumps(document)}
    process = subprocess.Popen(
        [sys.executable, "-m", "ascend_runtime", "train"], env=environ, stderr=subprocess.DEVNULL
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    ranks: list[str] = []
    while len(ranks) < 2:
        assert process.poll() is None
        time.sleep(0.05)
        ranks = children.read_text().split()
    process.terminate()
    assert process.wait(30) == 143
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        assert time.monotonic() < deadline
        time.sleep(0.05)
