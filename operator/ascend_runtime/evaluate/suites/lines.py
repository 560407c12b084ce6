"""Questions as JSON lines: GSM8K (`question`, `answer` that ends in `#### <number>`) and the user's own.

A row of one's own is {"question": "...", "answer": "..."}; with "choices" (texts, or letter -> text) the answer is the
letter or the text of one of them; without, a text or a list of texts of which any will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ascend_runtime.evaluate.config import Scoring, SuiteConfig
from ascend_runtime.evaluate.suites.question import LETTERS, Question, Rule, Suite, is_chinese, lettered, options_text
from ascend_runtime.evaluate.suites.rows import BadRow, Complaints, find_lines_files, invalid, read_lines, text_of
from ascend_runtime.evaluate.suites.texts import numbers_in

_GSM8K_HEAD = "Solve the problem step by step. End with the line: The answer is <number>.\n\n"
_MARK = "####"


def load_gsm8k(config: SuiteConfig) -> Suite:
    """Read test.jsonl of a folder, or a file; worked examples come from train.jsonl beside it. Raises InvalidInput."""
    complaints = Complaints(config)
    files = find_lines_files(config, "test.jsonl", "gsm8k_test.jsonl")
    shots = _gsm8k_shots(config, files[0].parent, complaints)
    questions = _read(config, files, complaints, lambda name, row: _gsm8k_question(name, row, shots))
    complaints.raise_any()
    return Suite(config, questions)


def load_jsonl(config: SuiteConfig) -> Suite:
    """Read a file, or all .jsonl files of a folder; raises InvalidInput."""
    if config.shots:
        raise invalid(config, "a suite of type jsonl has no worked examples of its own; set shots: 0", field="shots")
    complaints = Complaints(config)
    files = find_lines_files(config)
    questions = _read(config, files, complaints, lambda name, row: _own_question(config, name, row))
    complaints.raise_any()
    return Suite(config, questions)


def _read(
    config: SuiteConfig,
    files: tuple[Path, ...],
    complaints: Complaints,
    make: Callable[[str, dict[str, Any]], Question],
) -> tuple[Question, ...]:
    questions = []
    for file in files:
        for number, row in read_lines(config, file, complaints):
            try:
                questions.append(make(f"{file.stem} row {number}", row))
            except BadRow as error:
                complaints.add(file, number, error)
    return tuple(questions)


def _gsm8k_question(name: str, row: dict[str, Any], shots: str) -> Question:
    text, solution = text_of(row, "question"), text_of(row, "answer")
    numbers = numbers_in(solution.rpartition(_MARK)[2])
    if _MARK not in solution or not numbers:
        raise BadRow(f'the answer does not end in "{_MARK} <number>"; fix or remove the row')
    body = f"Question: {text}\nAnswer:"
    return Question(
        id=name,
        group="",
        body=body,
        gold=(numbers[-1],),
        rule=Rule.NUMBER,
        head=_GSM8K_HEAD,
        chat_head=_GSM8K_HEAD,
        shots=shots,
    )


def _gsm8k_shots(config: SuiteConfig, folder: Path, complaints: Complaints) -> str:
    if not config.shots:
        return ""
    file = folder / "train.jsonl"
    if not file.is_file():
        sentence = "there is no train.jsonl for the worked examples; add it or set shots: 0"
        raise invalid(config, sentence, field="shots", found=False)
    examples: list[str] = []
    for number, row in read_lines(config, file, complaints):
        if len(examples) == config.shots:
            break
        try:
            _gsm8k_question(file.stem, row, "")
            steps, _, number_text = row["answer"].rpartition(_MARK)
            examples.append(f"Question: {row['question']}\nAnswer: {steps}The answer is {number_text.strip()}.\n\n")
        except BadRow as error:
            complaints.add(file, number, error)
    if len(examples) < config.shots and not complaints.count:
        sentence = f"{file.name} has {len(examples)} rows, shots is {config.shots}; add rows or lower shots"
        raise invalid(config, sentence, field="shots")
    return "".join(examples)


def _own_question(config: SuiteConfig, name: str, row: dict[str, Any]) -> Question:
    text = text_of(row, "question")
    options = _options(row)
    if options:
        return _choice_question(config, name, text, options, _letter(row, options))
    if config.scoring in (Scoring.FIRST_LETTER, Scoring.LOG_LIKELIHOOD):
        raise BadRow(f'scoring {config.scoring} needs "choices" in each row; add them or use scoring Exact')
    return Question(id=name, group="", body=text, gold=_texts(row), rule=Rule.EXACT)


def _choice_question(config: SuiteConfig, name: str, text: str, options: Mapping[str, str], letter: str) -> Question:
    if is_chinese(text):
        head, cue = "请只回答正确选项的字母。\n\n", "答案："
    else:
        head, cue = "Answer with the letter of the right option only.\n\n", "Answer:"
    rules = {Scoring.LOG_LIKELIHOOD: Rule.LOG_LIKELIHOOD, Scoring.EXACT: Rule.EXACT}
    return Question(
        id=name,
        group="",
        body=f"{text}\n{options_text(options)}{cue}",
        gold=(letter,),
        rule=rules.get(config.scoring, Rule.FIRST_LETTER) if config.scoring else Rule.FIRST_LETTER,
        head=head,
        chat_head=head,
        options=options,
    )


def _options(row: dict[str, Any]) -> dict[str, str]:
    choices = row.get("choices")
    if choices is None:
        return {}
    if isinstance(choices, dict) and all(isinstance(text, str) and text for text in choices.values()):
        unknown = [letter for letter in choices if letter not in LETTERS or len(letter) != 1]
        if unknown:
            raise BadRow(f'"choices" has the key {str(unknown[0])[:40]!r}; its keys are single letters from A')
        options = {str(letter): str(text) for letter, text in sorted(choices.items())}
    elif isinstance(choices, list) and len(choices) <= len(LETTERS) and all(isinstance(c, str) and c for c in choices):
        options = lettered(choices)
    else:
        raise BadRow('"choices" is no list of at most 26 texts; fix or remove the row')
    if len(options) < 2:
        raise BadRow('"choices" has fewer than 2 entries; fix or remove the row')
    return options


def _letter(row: dict[str, Any], options: Mapping[str, str]) -> str:
    answer = text_of(row, "answer").strip()
    if answer in options:
        return answer
    fitting = [letter for letter, text in options.items() if text.strip() == answer]
    if len(fitting) != 1:
        raise BadRow(f"the answer {answer[:40]!r} is none of the choices; fix or remove the row")
    return fitting[0]


def _texts(row: dict[str, Any]) -> tuple[str, ...]:
    answers = row.get("answer")
    if isinstance(answers, list) and answers and all(isinstance(text, str) and text.strip() for text in answers):
        return tuple(answers)
    if isinstance(answers, int | float) and not isinstance(answers, bool):
        return (str(answers),)
    return (text_of(row, "answer"),)
