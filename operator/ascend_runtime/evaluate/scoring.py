"""What an answer is worth: pure functions from a question and what came back to a mark."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ascend_runtime.evaluate.client import RequestRecord
from ascend_runtime.evaluate.suites.question import LETTERS, Question, Rule
from ascend_runtime.evaluate.suites.texts import numbers_in, plain

NUMBER_TOLERANCE = 1e-4
"""How far a number may lie from the right one (MindIE's benchmark, gsm8k)."""
LOGPROBS = 20
"""Likeliest tokens asked for: the most that vLLM gives without being told otherwise (--max-logprobs)."""
_TOKEN_SPACES = " \t\n\u2581\u0120\u010a"
"""Spaces around tokens, also as SentencePiece and byte-level BPE write them."""


@dataclass(frozen=True)
class Mark:
    """What one answer is worth."""

    given: str | None
    """What the answer was taken for (a letter, a label, a number, a text); None when it could not be read."""
    correct: bool
    shares: Mapping[str, float] = field(default_factory=dict)
    """Option -> its share of the probability of all options; empty when the server gave none."""


def mark(question: Question, record: RequestRecord) -> Mark:
    """Judge an answer that came back whole, by the question's rule."""
    return _RULES[question.rule](question, record)


def _first_letter(question: Question, record: RequestRecord) -> Mark:
    letter = record.text.lstrip()[:1]
    return Mark(letter if letter in question.options else None, letter in question.gold)


def _log_likelihood(question: Question, record: RequestRecord) -> Mark:
    shares = option_shares(question, record)
    given = max(shares, key=lambda option: shares[option]) if shares else None
    return Mark(given, given in question.gold, shares)


def _exact(question: Question, record: RequestRecord) -> Mark:
    given = plain(record.text)
    right = {plain(text) for text in question.gold}
    right |= {plain(question.options[letter]) for letter in question.gold if letter in question.options}
    return Mark(given or None, given in right)


def _number(question: Question, record: RequestRecord) -> Mark:
    numbers = numbers_in(record.text)
    if not numbers:
        return Mark(None, correct=False)
    return Mark(numbers[-1], abs(float(numbers[-1]) - float(question.gold[0])) <= NUMBER_TOLERANCE)


def _label(question: Question, record: RequestRecord) -> Mark:
    given = _read_label(record.text, question.options)
    return Mark(given, given in question.gold, option_shares(question, record))


_RULES = {
    Rule.FIRST_LETTER: _first_letter,
    Rule.LOG_LIKELIHOOD: _log_likelihood,
    Rule.EXACT: _exact,
    Rule.NUMBER: _number,
    Rule.LABEL: _label,
}


def _read_label(text: str, options: Mapping[str, str]) -> str | None:
    """Return the label that an answer names: its words alone, its letter in front, or its words somewhere.

    Words somewhere count only when one label is named; of labels that contain each other the longest is meant.
    """
    answer = plain(text).strip(" .。:：*\"'“”`")
    labels = {plain(label): label for label in options.values()}
    if answer in labels:
        return labels[answer]
    letter = re.match(r"\(?([a-z])(?![\w-])", answer)
    if letter and letter[1].upper() in options:
        return options[letter[1].upper()]
    named = [label for label in labels if _names(answer, label)]
    longest = [label for label in named if not any(label != other and label in other for other in named)]
    return labels[longest[0]] if len(longest) == 1 else None


def _names(answer: str, label: str) -> bool:
    """Return whether a label stands in an answer as words of its own; Chinese has no spaces between words."""
    if not label.isascii():
        return label in answer
    return re.search(rf"(?<![a-z0-9]){re.escape(label)}(?![a-z0-9])", answer) is not None


def option_shares(question: Question, record: RequestRecord) -> dict[str, float]:
    """Return each option's share of the probability of the option letters as the next token.

    Tokens that are the letter but for spaces count together. An option whose letter is not among the likeliest tokens
    gets 0; without any letter among them, or with options that have no letters, there are no shares.
    """
    if not record.top_logprobs or not all(letter in LETTERS for letter in question.options):
        return {}
    weights = dict.fromkeys(question.options, 0.0)
    for token, logprob in record.top_logprobs[0].items():
        letter = token.strip(_TOKEN_SPACES)
        if letter in weights and not math.isnan(logprob):
            weights[letter] += math.exp(min(logprob, 0.0))
    total = sum(weights.values())
    if not total:
        return {}
    return {_option(question, letter): weight / total for letter, weight in weights.items()}


def _option(question: Question, letter: str) -> str:
    """Return what an option is called in gold answers: its letter, or in a classification its label."""
    return letter if question.gold[0] in question.options else question.options[letter]
