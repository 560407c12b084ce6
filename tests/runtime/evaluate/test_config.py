"""The configuration: what is wrong is named by its path before anything else is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.config import Scoring, SuiteType
from runtime.evaluate.builders import make_config, make_suite

HERE = Path("/volumes/eval")


def test_defaults():
    config = make_config(HERE)
    (suite,) = config.suites
    assert (suite.type, suite.scoring, suite.max_tokens, suite.shots, suite.limit) == (
        SuiteType.CEVAL,
        None,
        20,
        0,
        None,
    )
    assert suite.field == "spec.suites[0]"
    assert config.baseline is None
    assert config.performance is None


def test_load_rises_and_is_there_once():
    performance = {"uri": "pvc://p", "path": "/p", "concurrency": [8, 1, 8], "requestsPerSecond": [5, 2.5]}
    config = make_config(HERE, performance=performance)
    assert config.performance.concurrency == (1, 8)
    assert config.performance.requests_per_second == (2.5, 5)


def test_a_command_has_results_in_place_of_a_uri():
    config = make_config(HERE, suites=[make_suite("command", Path("/results/kpi/metrics.json"))])
    assert config.suites[0].place.path == Path("/results/kpi/metrics.json")


def suites(**changes):
    return {"suites": [make_suite("ceval", HERE, **changes)]}


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        pytest.param({"suites": []}, "spec.suites", "nothing to evaluate", id="nothing"),
        pytest.param(suites(type="hellaswag"), "spec.suites[0].type", "one of ceval, mmlu", id="unknown-type"),
        pytest.param(suites(name="performance"), "spec.suites[0].name", "a suite's name is", id="taken-name"),
        pytest.param(suites(name="C-Eval"), "spec.suites[0].name", "a suite's name is", id="capital-name"),
        pytest.param(
            {"suites": [make_suite("ceval", HERE), make_suite("ceval", HERE)]},
            "spec.suites[1].name",
            "like that of another",
            id="same-name",
        ),
        pytest.param(suites(scoring="Exact"), "spec.suites[0].scoring", "takes FirstLetter", id="unfit-scoring"),
        pytest.param(suites(maxTokens=0), "spec.suites[0].maxTokens", "not a number from 1", id="no-tokens"),
        pytest.param(suites(limit=True), "spec.suites[0].limit", "not a number", id="limit-true"),
        pytest.param(suites(path="data"), "spec.suites[0].path", "absolute", id="relative"),
        pytest.param(
            {"target": {"name": "faq", "url": "faq:8000", "model": "m"}}, "spec.target.url", "http://", id="no-scheme"
        ),
        pytest.param(
            {"performance": {"uri": "u", "path": "/p", "concurrency": [1, "8"]}},
            "spec.performance.concurrency[1]",
            "not a number",
            id="load-text",
        ),
        pytest.param(
            {"performance": {"uri": "u", "path": "/p"}},
            "spec.performance.concurrency",
            "there is no load",
            id="no-load",
        ),
        pytest.param({"acceptance": [{"metric": "x"}]}, "spec.acceptance[0]", "asks for nothing", id="empty-criterion"),
        pytest.param(
            {"acceptance": [{"metric": "x", "maxDrop": -1}]}, "spec.acceptance[0].maxDrop", "number from 0", id="drop"
        ),
        pytest.param({"run": -1}, "spec.run", "not a number", id="run"),
    ],
)
def test_what_is_wrong_is_named(changes, field, sentence):
    with pytest.raises(InvalidInput) as caught:
        make_config(HERE, **changes)
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert caught.value.field == field
    assert sentence in caught.value.message


def test_scoring_is_kept():
    assert make_config(HERE, **suites(scoring="LogLikelihood")).suites[0].scoring is Scoring.LOG_LIKELIHOOD
