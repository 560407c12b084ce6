"""Put a suite's questions to a target, several at a time, and mark what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import aiohttp

from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.client import RequestRecord, complete
from ascend_runtime.evaluate.reach import Reached, TargetUnreachable
from ascend_runtime.evaluate.results import Answer, SuiteResult
from ascend_runtime.evaluate.scoring import LOGPROBS, mark
from ascend_runtime.evaluate.suites.question import LETTERS, Question, Rule, Suite

_FEWER_LOGPROBS = 5
"""What older servers allow at most."""
_LOST_AFTER = 20
"""Failures in a row after which a target counts as gone: to wait for a thousand time-outs helps nobody."""

Progress = Callable[[int, int], None]
"""Called with the number of questions done and the number of all."""


@dataclass
class _Round:
    """One suite put to one target."""

    session: aiohttp.ClientSession
    reached: Reached
    suite: Suite
    logprobs: int | None
    progress: Progress
    done: dict[int, Answer] = field(default_factory=dict)
    failures: int = 0
    """Failed requests since the last answer."""

    async def work(self, places: Iterator[int]) -> None:
        """Take questions and ask them until none is left; raises TargetUnreachable when the target seems gone."""
        for place in places:
            question = self.suite.questions[place]
            record = await _ask(self.session, self.reached, question, self.suite.config.max_tokens, self.logprobs)
            self.done[place] = Answer(question, record, mark(question, record) if record.ok else None)
            self.failures = 0 if record.ok else self.failures + 1
            if self.failures >= max(_LOST_AFTER, 2 * self.suite.config.concurrency):
                raise TargetUnreachable(self._lost(record))
            self.progress(len(self.done), len(self.suite.questions))

    def _lost(self, record: RequestRecord) -> str:
        config, all_questions = self.reached.config, len(self.suite.questions)
        where = f"{len(self.done)} of {all_questions} questions of suite {self.suite.name}"
        return f"{config.name} at {config.url} failed {self.failures} times in a row after {where}: {record.error}"


async def ask_suite(session: aiohttp.ClientSession, reached: Reached, suite: Suite, progress: Progress) -> SuiteResult:
    """Ask every question once and return the answers in the suite's order.

    Raises TargetUnreachable when the target fails many times in a row, and InvalidInput when the scoring needs log
    probabilities that the server does not give.
    """
    logprobs = await _find_logprobs(session, reached, suite)
    notes = () if logprobs or not _wants_logprobs(suite) else ("noLogprobs",)
    started = time.perf_counter()
    current = _Round(session, reached, suite, logprobs, progress)
    places = iter(range(len(suite.questions)))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(suite.config.concurrency, len(suite.questions))):
                group.create_task(current.work(places))
    except* TargetUnreachable as lost:
        raise lost.exceptions[0] from None
    elapsed = time.perf_counter() - started
    answers = tuple(current.done[place] for place in range(len(suite.questions)))
    return SuiteResult(
        suite=suite,
        answers=answers,
        elapsed=elapsed,
        model=reached.target.model,
        finished_at=time.time(),
        notes=notes if reached.chat else (*notes, "noChat"),
    )


async def _ask(
    session: aiohttp.ClientSession, reached: Reached, question: Question, max_tokens: int, logprobs: int | None
) -> RequestRecord:
    """Ask one question; for log-likelihood, the first token that would continue the plain text."""
    is_likelihood = question.rule is Rule.LOG_LIKELIHOOD
    prompt = question.prompt(chat=reached.chat and not is_likelihood)
    tokens = 1 if is_likelihood else max_tokens
    return await complete(session, reached.target, prompt, max_tokens=tokens, logprobs=logprobs)


def _wants_logprobs(suite: Suite) -> bool:
    rule, options = suite.questions[0].rule, suite.questions[0].options
    return rule is Rule.LOG_LIKELIHOOD or (rule is Rule.LABEL and all(letter in LETTERS for letter in options))


async def _find_logprobs(session: aiohttp.ClientSession, reached: Reached, suite: Suite) -> int | None:
    """Return how many log probabilities to ask for, None for none; found out with the first question."""
    if not _wants_logprobs(suite):
        return None
    first = suite.questions[0]
    for number in (LOGPROBS, _FEWER_LOGPROBS):
        record = await _ask(session, reached, first, 1, number)
        if record.ok and record.top_logprobs:
            return number
    if first.rule is not Rule.LOG_LIKELIHOOD:
        return None
    plain = await _ask(session, reached, first, 1, None)
    if not plain.ok:
        raise TargetUnreachable(f"{reached.config.name} at {reached.config.url} gave no answer: {plain.error}")
    field_name = f"{suite.config.field}.scoring"
    sentence = f"LogLikelihood needs log probabilities, and {reached.config.name} gives none; use FirstLetter"
    raise InvalidInput(Reason.CONFIG_INVALID, field_name, sentence)
