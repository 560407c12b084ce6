"""Criteria and their verdicts."""

from __future__ import annotations

import pytest
from ascend_runtime.evaluate.acceptance import is_accepted, judge, references
from ascend_runtime.evaluate.config import Criterion, Previous

METRICS = {"ceval.accuracy": 0.69, "performance.c8.FirstTokenTime.P99": 800.0}


def verdict(metric, least=None, most=None, max_drop=None, baseline=None, previous=None):
    criterion = Criterion(metric, least, most, max_drop)
    (found,) = judge([criterion], METRICS, references(baseline, previous))
    return found


@pytest.mark.parametrize(
    ("changes", "accepted", "sentence"),
    [
        pytest.param({"least": 0.69}, True, "0.69, at least 0.69 asked for", id="just-met"),
        pytest.param({"least": 0.7}, False, "0.69, at least 0.7 is asked for, not met", id="below"),
        pytest.param({"most": 0.6}, False, "at most 0.6 is asked for, not met", id="above"),
        pytest.param({"least": 0.1, "most": 0.6}, False, "0.69, at most 0.6 is asked for, not met", id="one-of-two"),
        pytest.param({"max_drop": 0.01}, True, "no earlier value", id="first-run"),
        pytest.param(
            {"max_drop": 0.01, "baseline": {"ceval.accuracy": 0.70}}, True, "0.7 for the baseline", id="drop-just-met"
        ),
        pytest.param(
            {"max_drop": 0.01, "baseline": {"ceval.accuracy": 0.71}}, False, "is allowed, not met", id="drop-too-far"
        ),
        pytest.param(
            {"max_drop": 0.01, "previous": Previous(2, {"ceval.accuracy": 0.8})}, False, "0.8 for run 2", id="previous"
        ),
        pytest.param(
            {"max_drop": 0, "baseline": {"ceval.accuracy": 0.5}, "previous": Previous(2, {"ceval.accuracy": 0.8})},
            True,
            "0.5 for the baseline",
            id="baseline-before-previous",
        ),
        pytest.param({"max_drop": 0.01, "baseline": {"x": 1}}, False, "baseline has no such metric", id="no-baseline"),
        pytest.param({"max_drop": 0.01, "previous": Previous(2, {})}, True, "no earlier value", id="new-metric"),
    ],
)
def test_criteria(changes, accepted, sentence):
    found = verdict("ceval.accuracy", **changes)
    assert found.accepted is accepted
    assert sentence in found.message


def test_a_metric_that_was_not_measured_is_not_accepted():
    found = verdict("ceval.acuracy", least=0.1)
    assert (found.accepted, found.value) == (False, None)
    assert "near names are ceval.accuracy" in found.message
    assert "near names are performance.c8" in verdict("performance.x", most=1).message
    assert judge([Criterion("x", 1, None, None)], {}, ())[0].message == "not measured; no metric was"


def test_all_have_to_be_met():
    met, missed = verdict("ceval.accuracy", least=0.1), verdict("ceval.accuracy", least=0.9)
    assert is_accepted([met]) is True
    assert is_accepted([met, missed]) is False
    assert is_accepted([]) is None
