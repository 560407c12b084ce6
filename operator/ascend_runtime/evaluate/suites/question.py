"""What a question is, whatever file it came from."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ascend_runtime.evaluate.client import Prompt
from ascend_runtime.evaluate.config import SuiteConfig
from ascend_runtime.evaluate.subjects import Subject

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Rule(Enum):
    """How one answer is judged (scoring.py)."""

    FIRST_LETTER = auto()
    LOG_LIKELIHOOD = auto()
    EXACT = auto()
    NUMBER = auto()
    """The last number of the answer, within 1e-4 of the right one (GSM8K)."""
    LABEL = auto()
    """The label that the answer names, by its letter or its words (classification)."""


@dataclass(frozen=True)
class Question:
    """One question with its right answer."""

    id: str
    """File and row, for people; the same for both sides of a comparison."""
    group: str
    """Subject; empty when the suite has none."""
    body: str
    """The question with its options, up to the place where the answer begins."""
    gold: tuple[str, ...]
    """Right answers: a letter, a label, a number, or texts of which any will do."""
    rule: Rule
    head: str = ""
    """What stands before everything when a model continues plain text."""
    chat_head: str = ""
    """The same for a chat, where the model has to be told to answer with the letter alone."""
    shots: str = ""
    """Worked examples."""
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Letter -> text of the option."""

    def prompt(self, *, chat: bool) -> Prompt:
        """Return what the model is asked: one message of a user, or text to continue."""
        text = (self.chat_head if chat else self.head) + self.shots + self.body
        return Prompt(messages=({"role": "user", "content": text},)) if chat else Prompt(text=text)


@dataclass(frozen=True)
class Suite:
    """All questions of one suite, in the order of the files."""

    config: SuiteConfig
    questions: tuple[Question, ...]
    subjects: Mapping[str, Subject] = dataclasses.field(default_factory=dict)
    """Of the groups that questions name; empty when the suite has no subjects."""
    labels: tuple[str, ...] = ()
    """Of a classification, in the order of its tables."""

    @property
    def name(self) -> str:
        """Return the first part of the suite's metric names."""
        return self.config.name

    def limited(self) -> Suite:
        """Return the suite with at most `limit` questions: from each subject in turn, so that none is left out."""
        if self.config.limit is None or self.config.limit >= len(self.questions):
            return self
        places: dict[str, list[int]] = {}
        for place, question in enumerate(self.questions):
            places.setdefault(question.group, []).append(place)
        turns = itertools.zip_longest(*places.values())
        in_turn = (place for turn in turns for place in turn if place is not None)
        kept = sorted(itertools.islice(in_turn, self.config.limit))
        return dataclasses.replace(self, questions=tuple(self.questions[place] for place in kept))


def options_text(options: Mapping[str, str]) -> str:
    """Return the options as C-Eval and MMLU write them, one a line."""
    return "".join(f"{letter}. {text}\n" for letter, text in options.items())


def lettered(texts: Sequence[str]) -> dict[str, str]:
    """Return letter -> text; raises ValueError above 26 texts."""
    return dict(zip(LETTERS[: len(texts)], texts, strict=True))


def is_chinese(text: str) -> bool:
    """Return whether a text has Chinese characters, so that the words around it should be Chinese too."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)
