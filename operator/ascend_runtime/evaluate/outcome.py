"""Everything that a run came to, in one value, and the flat metrics made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ascend_runtime.evaluate.acceptance import CriterionVerdict, is_accepted, judge, references
from ascend_runtime.evaluate.classes import Classes, classes_of
from ascend_runtime.evaluate.compare import Paired, Shift, Verdict, compare_suites, compare_times, overall
from ascend_runtime.evaluate.config import EvaluateConfig, SuiteType
from ascend_runtime.evaluate.perf import PREFIX, PerformanceResult
from ascend_runtime.evaluate.perf_point import Point, first_token_ms, generate_ms
from ascend_runtime.evaluate.results import CommandResult, SuiteResult

_TELLING = ("accuracy", "f1", "auc")
"""Last parts of the metrics of a suite that are shown first."""
_TELLING_LOAD = (".Throughput", ".GenerateSpeed", ".FirstTokenTime.P99", ".DecodeTime.P99", ".concurrency")


@dataclass(frozen=True)
class SuiteOutcome:
    """One suite, answered by the target and perhaps by the baseline."""

    result: SuiteResult
    baseline: SuiteResult | None = None

    @cached_property
    def classes(self) -> Classes | None:
        """Return the numbers of a classification, None for other suites and without answers."""
        return _classes(self.result)

    @cached_property
    def paired(self) -> Paired | None:
        """Return the comparison with the baseline, None without one."""
        return compare_suites(self.result, self.baseline) if self.baseline else None

    @cached_property
    def shift(self) -> Shift | None:
        """Return how long whole answers took against the baseline's, None without one."""
        return compare_times(_times(self.result), _times(self.baseline)) if self.baseline else None

    def metrics(self) -> dict[str, float]:
        """Return the target's numbers."""
        return _suite_metrics(self.result, self.classes)

    def baseline_metrics(self) -> dict[str, float]:
        """Return the baseline's numbers, none without one."""
        return _suite_metrics(self.baseline, _classes(self.baseline)) if self.baseline else {}


@dataclass(frozen=True)
class Outcome:
    """What was found, and what follows from it; all that follows is computed once."""

    config: EvaluateConfig
    started: str
    """UTC, as in 2026-01-01T00:00:00Z."""
    elapsed: float
    """Seconds."""
    suites: tuple[SuiteOutcome, ...] = ()
    commands: tuple[CommandResult, ...] = ()
    performance: PerformanceResult | None = None
    baseline_performance: PerformanceResult | None = None
    history: tuple[Mapping[str, object], ...] = field(default=())
    """Earlier runs as history.json keeps them, oldest first."""

    @cached_property
    def shifts(self) -> dict[str, Shift]:
        """Return latencies against the baseline's: each suite's, and each load's that both were put under."""
        found = {suite.result.suite.name: suite.shift for suite in self.suites}
        if self.performance and self.baseline_performance:
            for mine, other in zip(self.performance.points, self.baseline_performance.points, strict=True):
                found |= _point_shifts(mine, other)
        return {name: shift for name, shift in found.items() if shift is not None}

    @cached_property
    def pairs(self) -> dict[str, Paired]:
        """Return the comparisons of accuracy by suite."""
        return {suite.result.suite.name: suite.paired for suite in self.suites if suite.paired}

    @cached_property
    def verdict(self) -> Verdict | None:
        """Return how the target stands to its baseline, None without one."""
        return overall(self.pairs, self.shifts)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Return all flat metrics of the run."""
        found: dict[str, float] = {}
        for suite in self.suites:
            found |= suite.metrics()
        for command in self.commands:
            found |= command.metrics()
        if self.performance:
            found |= self._performance_metrics
        return found | _pair_metrics(self.pairs) | _shift_metrics(self.shifts)

    @cached_property
    def _performance_metrics(self) -> dict[str, float]:
        return self.performance.metrics(self.config.acceptance) if self.performance else {}

    @cached_property
    def baseline_metrics(self) -> dict[str, float] | None:
        """Return the baseline's flat metrics, None without one."""
        if self.config.baseline is None:
            return None
        found: dict[str, float] = {}
        for suite in self.suites:
            found |= suite.baseline_metrics()
        if self.baseline_performance:
            found |= self.baseline_performance.metrics(self.config.acceptance)
        return found

    @cached_property
    def verdicts(self) -> tuple[CriterionVerdict, ...]:
        """Return each criterion, judged."""
        known = references(self.baseline_metrics, self.config.previous)
        return judge(self.config.acceptance, self.metrics, known)

    @property
    def accepted(self) -> bool | None:
        """Return whether all criteria are met; None when there are none."""
        return is_accepted(self.verdicts)

    @cached_property
    def requests(self) -> tuple[int, int]:
        """Return how many requests there were in all, to both sides, and how many of them failed."""
        sides = [side for suite in self.suites for side in (suite.result, suite.baseline) if side]
        loads = [load for load in (self.performance, self.baseline_performance) if load]
        total = sum(side.score.total for side in sides) + sum(load.total for load in loads)
        return total, sum(side.score.failed for side in sides) + sum(load.failed for load in loads)

    def headline(self) -> list[str]:
        """Return the names of all metrics, the most telling first: those of criteria, then each part's main ones."""
        criteria = [criterion.metric for criterion in self.config.acceptance if criterion.metric in self.metrics]
        return list(dict.fromkeys([*criteria, *_telling(self), *self.metrics]))

    def main_metrics(self, most: int = 60) -> dict[str, float]:
        """Return the metrics that history keeps."""
        criteria = [criterion.metric for criterion in self.config.acceptance if criterion.metric in self.metrics]
        names = list(dict.fromkeys([*criteria, *_telling(self)]))[:most]
        return {name: self.metrics[name] for name in names}


def _telling(outcome: Outcome) -> Iterator[str]:
    for suite in outcome.suites:
        names = (f"{suite.result.suite.name}.{part}" for part in _TELLING)
        yield from (name for name in names if name in outcome.metrics)
    for command in outcome.commands:
        yield from command.metrics()
    yield from (name for name in outcome.metrics if name.startswith(f"{PREFIX}.") and name.endswith(_TELLING_LOAD))


def _point_shifts(mine: Point, other: Point) -> dict[str, Shift | None]:
    name = f"{PREFIX}.{mine.load.key}"
    parts = (("FirstTokenTime", first_token_ms), ("GenerateTime", generate_ms))
    return {
        f"{name}.{part}": compare_times([*map(of, mine.returned)], [*map(of, other.returned)]) for part, of in parts
    }


def _classes(result: SuiteResult) -> Classes | None:
    return classes_of(result) if result.suite.config.type is SuiteType.CLASSIFICATION else None


def _suite_metrics(result: SuiteResult, classes: Classes | None) -> dict[str, float]:
    return result.metrics() | (classes.metrics(result.suite.name) if classes else {})


def _times(result: SuiteResult) -> Sequence[float]:
    return [answer.milliseconds for answer in result.answers if answer.mark is not None]


def _pair_metrics(pairs: Mapping[str, Paired]) -> dict[str, float]:
    found: dict[str, float] = {}
    for suite, pair in pairs.items():
        name = f"compare.{suite}"
        found |= {f"{name}.difference": pair.difference, f"{name}.pValue": pair.p_value}
        found |= {f"{name}.low": pair.interval[0], f"{name}.high": pair.interval[1]}
        found |= {f"{name}.onlyTarget": float(pair.only_target), f"{name}.onlyBaseline": float(pair.only_baseline)}
        found |= {f"{name}.pairs": float(pair.pairs)}
        if pair.needed is not None:
            found[f"{name}.needed"] = float(pair.needed)
    return found


def _shift_metrics(shifts: Mapping[str, Shift]) -> dict[str, float]:
    """Return differences of medians in ms, and effect sizes; of a suite it is the time of whole answers."""
    found: dict[str, float] = {}
    for what, shift in shifts.items():
        name = f"compare.{what}" if "." in what else f"compare.{what}.GenerateTime"
        found |= {f"{name}.difference": shift.difference, f"{name}.delta": shift.delta}
    return found
