"""Last words: whatever a program writes, nothing of it can break a status."""

import json

import pytest
from ascend_jobs.decide.finetune import plan
from ascend_jobs.decide.observed import ContainerView
from ascend_jobs.decide.words import count_of, last_words, reason_of
from builders import ended, make_job, make_observed, make_pod, read_status


def words(text: str) -> dict:
    return last_words(ContainerView("trainer", exit_code=1, exit_message=text))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("plain", {"message": "plain"}, id="plain-text"),
        pytest.param("[1]", {"message": "[1]"}, id="not-an-object"),
        pytest.param("[" * 4096, {"message": "[" * 1000}, id="deeply-nested"),
        pytest.param('{"message": "bad \\udc80"}', {"message": "bad ?"}, id="lone-surrogate"),
        pytest.param('{"steps": 1e999, "loss": NaN}', {"steps": None, "loss": None}, id="no-numbers"),
        pytest.param('{"steps": ' + "9" * 30 + "}", {"steps": None}, id="too-large"),
        pytest.param('{"steps": ' + "9" * 400 + "}", {"steps": None}, id="larger-than-a-float"),
        pytest.param('{"alreadyComplete": true}', {"alreadyComplete": True}, id="truth"),
    ],
)
def test_cleaned(text, want):
    assert words(text) == want


@pytest.mark.parametrize(
    ("reason", "want"),
    [
        ("DatasetInvalid", "DatasetInvalid"),
        ("no such file: x", "Other"),
        ("x" * 2000, "Other"),
        (3, "Other"),
        ("", "Other"),
    ],
)
def test_reasons_that_a_condition_takes(reason, want):
    assert reason_of({"reason": reason}, "Other") == want


@pytest.mark.parametrize(("value", "want"), [(3, 3), (0, 0), (-1, None), (True, None), (1.5, None), ("3", None)])
def test_counts(value, want):
    assert count_of({"n": value}, "n") == want


@pytest.mark.parametrize("hostile", [{"documents": 10**30}, {"documents": -1}, {"tokens": True}, {"dataset": "\udc80"}])
def test_a_prepare_pod_that_says_nonsense_does_not_stop_the_job(hostile):
    status = plan(make_observed(make_job(), ended(make_pod(role="prepare"), 0, json.dumps(hostile)))).status
    json.dumps(dict(status)).encode()
    assert read_status(status).prepare.documents is not None
