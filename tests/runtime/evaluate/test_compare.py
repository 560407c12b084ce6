"""Statistics against published numbers."""

from __future__ import annotations

import math

import pytest
from ascend_runtime.evaluate import compare
from ascend_runtime.evaluate.compare import Verdict
from ascend_runtime.evaluate.results import Answer, SuiteResult
from ascend_runtime.evaluate.scoring import Mark
from ascend_runtime.evaluate.suites.question import Question, Rule, Suite
from runtime.evaluate.builders import EXAMPLES, make_record, make_suite_config


@pytest.mark.parametrize(
    ("one", "other", "p_value"),
    [
        # mlxtend, user guide of evaluate.mcnemar, scenario A: discordant 11 and 1, exact.
        pytest.param(11, 1, 0.00634765625, id="mlxtend-scenario-a"),
        # By hand: 2 * (C(10,0) + C(10,1)) / 2^10 = 22/1024.
        pytest.param(1, 9, 22 / 1024, id="by-hand"),
        pytest.param(5, 5, 1.0, id="balanced"),
        pytest.param(0, 0, 1.0, id="agreed"),
    ],
)
def test_mcnemar(one, other, p_value):
    assert compare.mcnemar(one, other) == pytest.approx(p_value, abs=1e-12)


def test_mcnemar_is_near_its_large_sample_form():
    """The drug table 101, 121, 59, 33: chi-square with correction 20.67222, p 5.450095e-06 (statsmodels' tests)."""
    assert compare.mcnemar(121, 59) == pytest.approx(5.45e-6, rel=0.25)


@pytest.mark.parametrize(
    ("one", "other", "pairs"),
    [
        # Connor 1987 as worked at powersamplesize.com, McNemar's Z-test, 2-sided: p01 0.45, p10 0.05, power 0.8.
        pytest.param(0.45, 0.05, 23, id="connor-23"),
        # The same formula, p10 0.30, p01 0.15: 155 pairs (clinicaltrials-tools, McNemar's test).
        pytest.param(0.30, 0.15, 155, id="connor-155"),
        pytest.param(0.1, 0.1, None, id="equal"),
        pytest.param(0.0, 0.0, None, id="agreed"),
    ],
)
def test_needed_pairs(one, other, pairs):
    assert compare.needed_pairs(one, other) == pairs
    assert compare.needed_pairs(other, one) == pairs


def test_the_bootstrap_interval_is_near_the_known_one():
    """Approval of a prime minister, 1600 people asked twice: 794 both, 150 first only, 86 second only, 570 neither.

    Agresti, Categorical Data Analysis, chapter on matched pairs: difference -0.04, 95 % interval (-0.06, -0.02).
    """
    first = [True] * (794 + 150) + [False] * (86 + 570)
    second = [True] * 794 + [False] * 150 + [True] * 86 + [False] * 570
    low, high = compare.difference_interval(second, first)
    spread = 1.96 * math.sqrt((86 + 150) - (86 - 150) ** 2 / 1600) / 1600
    assert low == pytest.approx(-0.04 - spread, abs=0.0015)
    assert high == pytest.approx(-0.04 + spread, abs=0.0015)
    assert (round(low, 2), round(high, 2)) == (-0.06, -0.02)


def test_the_bootstrap_repeats_itself_and_knows_no_spread():
    sides = [True, False] * 30, [True, True] * 30
    assert compare.difference_interval(*sides) == compare.difference_interval(*sides)
    assert compare.difference_interval([True] * 9, [True] * 9) == (0.0, 0.0)
    assert compare.difference_interval([True], [False]) == (1.0, 1.0)


def test_cliffs_delta():
    """The example of R's effsize, cliff.delta: estimate -0.25."""
    treatment = [10, 10, 20, 20, 20, 30, 30, 30, 40, 50]
    assert compare.cliffs_delta(treatment, [10, 20, 30, 40, 40, 50]) == pytest.approx(-0.25)
    assert compare.cliffs_delta([1, 2], [3, 4]) == -1
    assert compare.cliffs_delta([1, 2], [1, 2]) == 0


def test_latencies():
    slow, fast = [100.0 + n % 7 for n in range(80)], [60.0 + n % 7 for n in range(80)]
    shift = compare.compare_times(fast, slow)
    assert (shift.verdict, shift.delta, shift.difference) == (Verdict.BETTER, -1.0, -40.0)
    assert compare.compare_times(slow, fast).verdict is Verdict.WORSE
    assert compare.compare_times(slow, slow).verdict is Verdict.NO_DIFFERENCE
    assert compare.compare_times([5.0, 5.0], [5.0, 5.0]).interval == (0.0, 0.0)
    assert compare.compare_times([1.0], slow) is None


def result(*marks):
    """A suite result: True is right, False is wrong, None failed."""
    suite = Suite(make_suite_config("ceval", EXAMPLES / "ceval"), ())
    answers = tuple(
        Answer(
            Question(id=str(place), group="", body="", gold=("A",), rule=Rule.EXACT),
            make_record(ok=right is not None),
            None if right is None else Mark("A", right),
        )
        for place, right in enumerate(marks)
    )
    return SuiteResult(suite, answers, 1.0)


def test_failed_requests_are_in_no_pair():
    paired = compare.compare_suites(result(True, None, False, True), result(True, True, True, None))
    assert (paired.pairs, paired.left_out, paired.only_target, paired.only_baseline) == (2, 2, 0, 1)
    assert compare.compare_suites(result(None), result(True)) is None


@pytest.mark.parametrize(
    ("more", "less", "verdict"),
    [(6, 0, Verdict.BETTER), (0, 6, Verdict.WORSE), (5, 0, Verdict.NO_DIFFERENCE), (0, 0, Verdict.NO_DIFFERENCE)],
)
def test_verdicts(more, less, verdict):
    """6 of 6 discordant questions give p = 2/64, 5 of 5 give 2/32."""
    target = [True] * more + [False] * less + [True] * 10
    baseline = [False] * more + [True] * less + [True] * 10
    paired = compare.compare_suites(result(*target), result(*baseline))
    assert paired.verdict is verdict
    assert (paired.needed is None) is (more == less)


def test_several_suites_are_held_to_holms_level():
    """p = 2/64 shows something alone, and among three no longer."""
    seen = compare.compare_suites(result(*[True] * 6), result(*[False] * 6))
    same = compare.compare_suites(result(True, False), result(True, False))
    assert compare.overall({"a": seen}, {}) is Verdict.BETTER
    assert compare.overall({"a": seen, "b": same, "c": same}, {}) is Verdict.NO_DIFFERENCE
    strong = compare.compare_suites(result(*[False] * 12), result(*[True] * 12))
    assert compare.overall({"a": seen, "b": strong}, {}) is Verdict.WORSE
    assert compare.overall({}, {}) is None
    shift = compare.compare_times([1.0] * 9, [2.0] * 9)
    assert compare.overall({}, {"x": shift}) is Verdict.BETTER
