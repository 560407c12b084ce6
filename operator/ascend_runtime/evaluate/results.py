"""What a suite came to: answers with their marks, and the numbers made of them.

Accuracy is MindIE's: right answers / all questions. A request that failed is none of the right ones, so it lowers this
number; it is counted apart as `failed`, and `answeredAccuracy` is right answers / answers that came back. Where no
answer came back there is no accuracy at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from scipy import stats

from ascend_runtime.evaluate.client import RequestRecord
from ascend_runtime.evaluate.perf_point import Load, Point, generate_ms
from ascend_runtime.evaluate.scoring import Mark
from ascend_runtime.evaluate.suites.question import Question, Suite


@dataclass(frozen=True)
class Answer:
    """One question's answer; without a mark when the request failed."""

    question: Question
    record: RequestRecord
    mark: Mark | None

    @property
    def is_correct(self) -> bool:
        """Return whether the answer came back and is right."""
        return self.mark is not None and self.mark.correct

    @property
    def milliseconds(self) -> float:
        """Return the time from request to last byte, in milliseconds."""
        return generate_ms(self.record)


@dataclass(frozen=True)
class Score:
    """Counts of one suite, or of a part of it."""

    total: int
    failed: int
    correct: int

    @property
    def returned(self) -> int:
        """Return the number of answers that came back whole."""
        return self.total - self.failed

    @property
    def accuracy(self) -> float | None:
        """Return right answers / questions, from 0 to 1; None when no answer came back."""
        return self.correct / self.total if self.returned else None

    @property
    def answered_accuracy(self) -> float | None:
        """Return right answers / answers that came back, from 0 to 1; None when none did."""
        return self.correct / self.returned if self.returned else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return Wilson's 95 % interval of the accuracy: how far chance in the choice of questions may move it."""
        if not self.returned:
            return None
        low, high = stats.binomtest(self.correct, self.total).proportion_ci(0.95, method="wilson")
        return float(low), float(high)


def score_of(answers: Iterable[Answer]) -> Score:
    """Count answers."""
    listed = list(answers)
    return Score(len(listed), sum(a.mark is None for a in listed), sum(a.is_correct for a in listed))


@dataclass(frozen=True)
class SuiteResult:
    """All answers of one target to one suite."""

    suite: Suite
    answers: tuple[Answer, ...]
    elapsed: float
    """Seconds from the first request to the last answer."""
    model: str = ""
    """Name of the model as it was asked for."""
    finished_at: float = 0.0
    """When the last answer came, in seconds since 1970."""
    notes: tuple[str, ...] = ()
    """What was other than asked for."""

    @cached_property
    def score(self) -> Score:
        """Return the counts of the whole suite."""
        return score_of(self.answers)

    @cached_property
    def subjects(self) -> Mapping[str, Score]:
        """Return the counts of each subject, in the order of the questions; empty without subjects."""
        return _scores(self.answers, lambda key: key) if self.suite.subjects else {}

    @cached_property
    def categories(self) -> Mapping[str, Score]:
        """Return the counts of each category of subjects; empty without subjects."""
        known = self.suite.subjects
        return _scores(self.answers, lambda key: known[key].category) if known else {}

    @property
    def unread(self) -> int:
        """Return how many answers came back but could not be read as one of the options; they count as wrong."""
        return sum(answer.mark is not None and answer.mark.given is None for answer in self.answers)

    @property
    def point(self) -> Point:
        """Return the requests as MindIE's tables need them: its benchmark measures while it scores."""
        return Point(
            load=Load(concurrency=self.suite.config.concurrency),
            records=tuple(answer.record for answer in self.answers),
            elapsed=self.elapsed,
            finished_at=self.finished_at,
            source=self.suite.config.place.uri,
            model=self.model,
            accuracy=(self.score.correct, self.score.total),
        )

    def metrics(self) -> dict[str, float]:
        """Return the suite's flat metrics, the most telling first."""
        score, name = self.score, self.suite.name
        found: dict[str, float | None] = {
            "accuracy": score.accuracy,
            "answeredAccuracy": score.answered_accuracy,
            "correct": score.correct,
            "total": score.total,
            "failed": score.failed,
            "unread": self.unread,
            "subjectAverage": _mean([part.accuracy for part in self.subjects.values()]),
        }
        found |= {f"category.{key}.accuracy": part.accuracy for key, part in self.categories.items()}
        found |= {f"subject.{key}.accuracy": part.accuracy for key, part in self.subjects.items()}
        return {f"{name}.{key}": float(value) for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class CommandResult:
    """The numbers that the user's own image left."""

    name: str
    uri: str
    numbers: Mapping[str, float]
    ignored: tuple[str, ...] = field(default=())
    """Names of entries that are no numbers."""

    def metrics(self) -> dict[str, float]:
        """Return the numbers under the suite's name."""
        return {f"{self.name}.{key}": value for key, value in self.numbers.items()}


def _scores(answers: Sequence[Answer], part_of: Callable[[str], str]) -> dict[str, Score]:
    parts: dict[str, list[Answer]] = {}
    for answer in answers:
        parts.setdefault(part_of(answer.question.group), []).append(answer)
    return {part: score_of(listed) for part, listed in parts.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None when any value is missing, since a mean of the rest would not be the same number."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None
