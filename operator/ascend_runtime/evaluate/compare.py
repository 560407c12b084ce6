"""Two targets on the same questions: whether one is better, or chance may have made it look so.

Accuracy: McNemar's exact test on the questions that one side answered right and the other wrong (McNemar 1947), and a
paired bootstrap interval of the difference. Latency: Cliff's delta (Cliff 1993) and the difference of medians with its
bootstrap interval. Several suites are judged together with Holm's correction (Holm 1979), so that a verdict over twenty
suites is not chance's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from ascend_runtime.evaluate.results import SuiteResult

ALPHA = 0.05
"""Chance of seeing a difference where there is none."""
POWER = 0.8
"""Chance of seeing a difference that is there, for which the needed number of questions is given."""
NEGLIGIBLE = 0.147
"""Cliff's delta below which a difference is called negligible (Romano et al. 2006)."""
_RESAMPLES = 5000
_SEED = 20240923
_BATCH = 250


class Verdict(StrEnum):
    """How the target stands to its baseline."""

    BETTER = "Better"
    WORSE = "Worse"
    NO_DIFFERENCE = "NoDifference"
    """None was seen; that is not the same as none being there, see Paired.needed."""


@dataclass(frozen=True)
class Paired:
    """Accuracy of both sides on the questions that both answered."""

    pairs: int
    only_target: int
    """Questions that only the target answered right."""
    only_baseline: int
    left_out: int
    """Questions that one side gave no answer to: they are in no number here."""
    difference: float
    """Target's accuracy less the baseline's."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the difference."""
    p_value: float
    verdict: Verdict
    needed: int | None
    """Questions with which a difference of the size seen would show; None when both sides did equally well."""


@dataclass(frozen=True)
class Shift:
    """A latency of both sides, in milliseconds."""

    target_median: float
    baseline_median: float
    difference: float
    """Target's median less the baseline's."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the difference."""
    delta: float
    """Cliff's delta, from -1 (every one of the target's is shorter) to 1 (every one is longer)."""
    verdict: Verdict


def mcnemar(only_target: int, only_baseline: int) -> float:
    """Return the two-sided p-value of McNemar's exact test; 1 when both sides agree on every question."""
    discordant = only_target + only_baseline
    return float(stats.binomtest(only_target, discordant, 0.5).pvalue) if discordant else 1.0


def needed_pairs(rate_target: float, rate_baseline: float) -> int | None:
    """Return how many pairs show such a difference with 80 % chance at the 5 % level (Connor 1987, Biometrics 43).

    The rates are the shares of all pairs that only one side has right; None when they are equal.
    """
    discordant, difference = rate_target + rate_baseline, rate_target - rate_baseline
    if not difference:
        return None
    level, power = stats.norm.ppf(1 - ALPHA / 2), stats.norm.ppf(POWER)
    spread = max(0.0, discordant - difference**2)
    root = (level * math.sqrt(discordant) + power * math.sqrt(spread)) / difference
    return math.ceil(float(root) ** 2)


def difference_interval(target: Sequence[bool], baseline: Sequence[bool]) -> tuple[float, float]:
    """Return the 95 % paired bootstrap interval (BCa) of the accuracy difference; the seed is fixed."""
    change = np.asarray(target, dtype=float) - np.asarray(baseline, dtype=float)
    if len(change) < 2 or np.all(change == change[0]):
        only = float(change[0]) if len(change) else 0.0
        return only, only
    return _bootstrap((change,), np.mean, method="BCa")


def compare_suites(target: SuiteResult, baseline: SuiteResult) -> Paired | None:
    """Compare both sides on the questions that both answered; None when there is none."""
    answers = list(zip(target.answers, baseline.answers, strict=True))
    both = [(mine, other) for mine, other in answers if mine.mark and other.mark]
    if not both:
        return None
    mine, other = [a.is_correct for a, _ in both], [b.is_correct for _, b in both]
    only_target = sum(a and not b for a, b in zip(mine, other, strict=True))
    only_baseline = sum(b and not a for a, b in zip(mine, other, strict=True))
    p_value, pairs = mcnemar(only_target, only_baseline), len(both)
    return Paired(
        pairs=pairs,
        only_target=only_target,
        only_baseline=only_baseline,
        left_out=len(answers) - pairs,
        difference=(only_target - only_baseline) / pairs,
        interval=difference_interval(mine, other),
        p_value=p_value,
        verdict=_verdict(only_target - only_baseline, is_seen=p_value < ALPHA),
        needed=needed_pairs(only_target / pairs, only_baseline / pairs),
    )


def cliffs_delta(target: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the chance that a value of the target is the larger, less the chance that it is the smaller."""
    statistic = stats.mannwhitneyu(target, baseline).statistic
    return float(2 * statistic / (len(target) * len(baseline)) - 1)


def compare_times(target: Sequence[float], baseline: Sequence[float]) -> Shift | None:
    """Compare latencies in milliseconds, unpaired; None with fewer than two on a side.

    A verdict other than NoDifference needs both: an interval without zero and an effect that is not negligible.
    """
    if len(target) < 2 or len(baseline) < 2:
        return None
    mine, other = np.asarray(target, dtype=float), np.asarray(baseline, dtype=float)
    low, high = _median_interval(mine, other)
    delta = cliffs_delta(mine, other)
    is_seen = (low > 0 or high < 0) and abs(delta) >= NEGLIGIBLE
    return Shift(
        target_median=float(np.median(mine)),
        baseline_median=float(np.median(other)),
        difference=float(np.median(mine) - np.median(other)),
        interval=(low, high),
        delta=delta,
        verdict=_verdict(-delta, is_seen=is_seen),
    )


def overall(suites: Mapping[str, Paired], shifts: Mapping[str, Shift]) -> Verdict | None:
    """Return one verdict for all: Worse when any suite is worse, else Better when any is better.

    Suites decide, each against Holm's level; latencies only where no suite was compared. None when nothing was.
    """
    if suites:
        seen = _holm({name: pair.p_value for name, pair in suites.items()})
        verdicts = {_verdict(suites[name].difference, is_seen=True) for name in seen}
    else:
        verdicts = {shift.verdict for shift in shifts.values()}
    if not suites and not shifts:
        return None
    return next((verdict for verdict in (Verdict.WORSE, Verdict.BETTER) if verdict in verdicts), Verdict.NO_DIFFERENCE)


def _holm(p_values: Mapping[str, float]) -> list[str]:
    """Return which of several tests show something, when the chance that any is wrong shall be ALPHA."""
    seen: list[str] = []
    for name in sorted(p_values, key=lambda name: p_values[name]):
        if p_values[name] >= ALPHA / (len(p_values) - len(seen)):
            break
        seen.append(name)
    return seen


def _verdict(gain: float, *, is_seen: bool) -> Verdict:
    if not is_seen or not gain:
        return Verdict.NO_DIFFERENCE
    return Verdict.BETTER if gain > 0 else Verdict.WORSE


def _median_interval(mine: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    if np.all(mine == mine[0]) and np.all(other == other[0]):
        only = float(mine[0] - other[0])
        return only, only

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        shift: np.ndarray = np.median(a, axis=axis) - np.median(b, axis=axis)
        return shift

    return _bootstrap((mine, other), difference, method="percentile")


def _bootstrap(samples: tuple[np.ndarray, ...], statistic: object, method: str) -> tuple[float, float]:
    found = stats.bootstrap(
        samples,
        statistic,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        method=method,
        confidence_level=1 - ALPHA,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)
