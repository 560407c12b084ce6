"""The termination message fits, whatever a run came to."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest
from ascend_runtime.evaluate.acceptance import CriterionVerdict
from ascend_runtime.evaluate.lastwords import compose
from runtime.evaluate.builders import EXAMPLES, make_document, make_suite, write_csv
from runtime.evaluate.server import Server, serving

FACTS = {
    "run": 3,
    "accepted": False,
    "verdict": None,
    "requests": {"total": 1, "failed": 0},
    "report": {"uri": "pvc://r", "sha256": "0" * 64},
}


def verdict(name, accepted=True, message="0.69, at least 0.5 asked for"):
    return CriterionVerdict(name, 0.69, accepted, message)


@pytest.mark.parametrize(
    ("criteria", "metrics", "uri"),
    [
        pytest.param(1, 5, "pvc://r", id="small"),
        pytest.param(20, 2000, "pvc://r", id="many-metrics"),
        pytest.param(500, 2000, "pvc://r", id="many-criteria"),
        pytest.param(3, 5, "pvc://" + "评" * 5000, id="long-uri"),
    ],
)
def test_it_always_fits(criteria, metrics, uri):
    verdicts = [verdict(f"suite{n}.accuracy", n % 2 == 0, "不满足" * 100) for n in range(criteria)]
    numbers = {f"suite{n}.accuracy": 1 / 3 for n in range(metrics)}
    message = compose({**FACTS, "report": {"uri": uri, "sha256": "0" * 64}}, verdicts, numbers, list(numbers))
    assert len(json.dumps(message)) <= 4096
    assert message["criteria"]
    assert message["report"]["sha256"] == "0" * 64


def test_what_is_not_met_comes_first_when_not_all_fit():
    verdicts = [verdict(f"suite{n}.accuracy") for n in range(300)] + [verdict("last", accepted=False)]
    assert compose(FACTS, verdicts, {}, [])["criteria"][0]["metric"] == "last"


def test_numbers_are_short_and_finite():
    numbers = {"a": 2 / 3, "b": math.nan, "c": math.inf, "d": 800.123456}
    message = compose(FACTS, [CriterionVerdict("b", math.nan, False, "x")], numbers, ["d", "b", "c", "a", "gone"])
    assert message["metrics"] == {"d": 800.123, "a": 0.666667}
    assert message["criteria"][0]["value"] is None


def start(tmp_path, document):
    """Run the command as a pod does; return exit code and termination message."""
    log = tmp_path / "termination-log"
    environ = {**os.environ, "ASCENDJOBS_CONFIG": json.dumps(document), "PYTHONPATH": "operator"}
    command = [sys.executable, "-m", "ascend_runtime", "evaluate", "--termination-log", str(log)]
    code = subprocess.run(command, env=environ, capture_output=True, timeout=120, cwd=EXAMPLES.parents[1]).returncode
    return code, json.loads(log.read_text())


def test_the_command_says_what_a_run_found(tmp_path):
    with serving(Server(lambda _: "A")) as server:
        target = {"name": "faq", "url": server.url, "model": "faq"}
        code, message = start(tmp_path, make_document(tmp_path, target=target))
    assert code == 0
    assert message["metrics"]["ceval.accuracy"] == pytest.approx(5 / 24, abs=1e-4)
    assert set(message) == {"run", "accepted", "criteria", "metrics", "verdict", "requests", "report"}


def test_the_command_says_which_row_is_wrong(tmp_path):
    write_csv(tmp_path / "ceval" / "law_val.csv", "id,question,A,B,C,D,answer", "0,?,1,2,3,4,X")
    code, message = start(tmp_path, make_document(tmp_path, suites=[make_suite("ceval", tmp_path / "ceval")]))
    assert code == 65
    assert message == {
        "reason": "DatasetInvalid",
        "field": "spec.suites[0].uri",
        "message": "law_val.csv row 2: the answer is 'X', not one of A, B, C, D; fix or remove the row",
    }
