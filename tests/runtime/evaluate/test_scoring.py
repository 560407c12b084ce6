"""What an answer is worth."""

from __future__ import annotations

import math

import pytest
from ascend_runtime.evaluate.scoring import mark
from ascend_runtime.evaluate.suites.question import Question, Rule
from runtime.evaluate.builders import make_record

ABCD = {"A": "21", "B": "80", "C": "443", "D": "8080"}
LABELS = {"A": "billing", "B": "network", "C": "network card"}


def question(rule, *gold, options=None):
    return Question(id="q", group="", body="?", gold=gold, rule=rule, options=ABCD if options is None else options)


@pytest.mark.parametrize(
    ("text", "given", "correct"),
    [
        pytest.param("C", "C", True, id="letter"),
        pytest.param(" \n C. 443", "C", True, id="spaces-first"),
        pytest.param("Correct is C", "C", True, id="the-rule-is-that-simple"),
        pytest.param("c", None, False, id="small"),
        pytest.param("答案是C", None, False, id="words-first"),
        pytest.param("B", "B", False, id="wrong"),
        pytest.param("", None, False, id="empty"),
    ],
)
def test_first_letter_is_minds_rule(text, given, correct):
    """MindIE's benchmark: the first character that is no space equals the right letter, and nothing else."""
    found = mark(question(Rule.FIRST_LETTER, "C"), make_record(text))
    assert (found.given, found.correct) == (given, correct)


def test_log_likelihood_counts_all_tokens_of_a_letter_together():
    logprobs = {"B": math.log(0.4), " C": math.log(0.3), "C": math.log(0.2), "\u2581A": math.log(0.05), "The": -0.1}
    found = mark(question(Rule.LOG_LIKELIHOOD, "C"), make_record("B", logprobs=logprobs))
    assert found.correct
    assert found.shares == pytest.approx({"A": 0.05 / 0.95, "B": 0.4 / 0.95, "C": 0.5 / 0.95, "D": 0.0})


@pytest.mark.parametrize("logprobs", [None, {"The": -0.1}, {"A": math.nan}, {"A": -math.inf}])
def test_without_any_letter_there_is_no_likeliest_one(logprobs):
    found = mark(question(Rule.LOG_LIKELIHOOD, "C"), make_record("C", logprobs=logprobs))
    assert (found.given, found.correct) == (None, False)


@pytest.mark.parametrize(
    ("text", "correct"),
    [("Paris", True), ("  PARIS\n", True), ("Paris.", False), ("It is Paris", False), ("Ｐａｒｉｓ", True)],
)
def test_exact(text, correct):
    assert mark(question(Rule.EXACT, "Paris", "Lutetia", options={}), make_record(text)).correct is correct


def test_exact_takes_the_letter_or_its_text():
    assert mark(question(Rule.EXACT, "C"), make_record("443")).correct
    assert mark(question(Rule.EXACT, "C"), make_record("c")).correct


@pytest.mark.parametrize(
    ("text", "given", "correct"),
    [
        pytest.param("The answer is 72.", "72", True, id="sentence"),
        pytest.param("10*7=70, and 2 more: 72.00", "72.00", True, id="decimals"),
        pytest.param("72.00009", "72.00009", True, id="within"),
        pytest.param("72.0002", "72.0002", False, id="beyond"),
        pytest.param("$1,072", "1072", False, id="thousands"),
        pytest.param("from 80-72", "72", True, id="dash"),
        pytest.param("It is -72", "-72", False, id="minus"),
        pytest.param("none", None, False, id="none"),
        pytest.param("9" * 4000, "9" * 4000, False, id="huge"),
    ],
)
def test_the_last_number(text, given, correct):
    found = mark(question(Rule.NUMBER, "72", options={}), make_record(text))
    assert (found.given, found.correct) == (given, correct)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        pytest.param("B", "network", id="letter"),
        pytest.param("b) network", "network", id="small-letter"),
        pytest.param("**Billing**", "billing", id="label"),
        pytest.param("The label is network.", "network", id="in-a-sentence"),
        pytest.param("It is the network card", "network card", id="longest"),
        pytest.param("billing or network", None, id="two"),
        pytest.param("a-b", None, id="no-letter"),
        pytest.param("networking", None, id="part-of-a-word"),
        pytest.param("", None, id="empty"),
    ],
)
def test_labels(text, given):
    found = mark(question(Rule.LABEL, "network", options=LABELS), make_record(text))
    assert found.given == given
    assert found.correct is (given == "network")


def test_chinese_labels_have_no_spaces_around():
    options = {"A": "账单", "B": "网络"}
    assert mark(question(Rule.LABEL, "网络", options=options), make_record("类别是网络。")).given == "网络"


def test_shares_of_labels_are_those_of_their_letters():
    found = mark(question(Rule.LABEL, "network", options=LABELS), make_record("B", logprobs={"B": -0.1, "A": -2.4}))
    assert found.shares["network"] > 0.8
