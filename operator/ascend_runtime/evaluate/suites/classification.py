"""Classification as JSON lines: {"text": "...", "label": "...", "choices": ["...", ...]}; choices may be left out.

Labels are offered as lettered options, as long as 26 letters suffice, so that the probabilities of the letters give a
ROC curve; an answer counts for a label when it begins with its letter or names the label. With scoring Exact, or more
labels than letters, the model is asked for the label's words.
"""

from __future__ import annotations

from typing import Any

from ascend_runtime.evaluate.config import Scoring, SuiteConfig
from ascend_runtime.evaluate.suites.question import LETTERS, Question, Rule, Suite, is_chinese, lettered, options_text
from ascend_runtime.evaluate.suites.rows import BadRow, Complaints, find_lines_files, invalid, read_lines, text_of

MOST_LABELS = 200
"""More make no table that anyone reads."""


def load_classification(config: SuiteConfig) -> Suite:
    """Read a file, or all .jsonl files of a folder; raises InvalidInput."""
    if config.shots:
        sentence = "a suite of type classification has no worked examples of its own; set shots: 0"
        raise invalid(config, sentence, field="shots")
    complaints = Complaints(config)
    rows: list[tuple[str, str, str, tuple[str, ...]]] = []
    for file in find_lines_files(config):
        for number, row in read_lines(config, file, complaints):
            try:
                rows.append((f"{file.stem} row {number}", *_parse(row)))
            except BadRow as error:
                complaints.add(file, number, error)
    complaints.raise_any()
    labels = _labels(config, rows)
    questions = (_question(config, name, text, label, choices or labels) for name, text, label, choices in rows)
    return Suite(config, tuple(questions), labels=labels)


def _parse(row: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    text, label, choices = text_of(row, "text"), text_of(row, "label").strip(), row.get("choices")
    if choices is None:
        return text, label, ()
    if not isinstance(choices, list) or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise BadRow('"choices" is no list of texts; fix it or leave it out')
    stripped = tuple(dict.fromkeys(choice.strip() for choice in choices))
    if label not in stripped:
        raise BadRow(f"the label {label[:40]!r} is none of the row's choices; fix or remove the row")
    if len(stripped) < 2:
        raise BadRow('"choices" has fewer than 2 labels; fix it or leave it out')
    return text, label, stripped


def _labels(config: SuiteConfig, rows: list[tuple[str, str, str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Return all labels: in the order of the choices, then the others by name."""
    offered = dict.fromkeys(choice for *_, choices in rows for choice in choices)
    others = sorted({label for _, _, label, _ in rows} - set(offered))
    labels = (*offered, *others)
    if rows and len(labels) < 2:
        raise invalid(config, f"all rows have the label {labels[0][:40]!r}; there is nothing to tell apart")
    if len(labels) > MOST_LABELS:
        raise invalid(config, f"there are {len(labels)} labels, at most {MOST_LABELS} are told apart; use type jsonl")
    return labels


def _question(config: SuiteConfig, name: str, text: str, label: str, choices: tuple[str, ...]) -> Question:
    is_lettered = config.scoring is not Scoring.EXACT and len(choices) <= len(LETTERS)
    options = lettered(choices) if is_lettered else {}
    if config.scoring is Scoring.LOG_LIKELIHOOD and not options:
        sentence = f"LogLikelihood takes at most {len(LETTERS)} labels, there are {len(choices)}; use Exact"
        raise invalid(config, sentence, field="scoring")
    offer = options_text(options) if options else "".join(f"- {choice}\n" for choice in choices)
    if is_chinese(text):
        head = f"请选出下面文本的类别，只回答{'选项的字母' if options else '类别名称'}。\n\n"
        body = f"文本：{text}\n\n类别：\n{offer}答案："
    else:
        head = f"Which label fits the text? Answer with {'its letter' if options else 'the label'} only.\n\n"
        body = f"Text: {text}\n\nLabels:\n{offer}Answer:"
    rule = Rule.LOG_LIKELIHOOD if config.scoring is Scoring.LOG_LIKELIHOOD else Rule.LABEL
    return Question(
        id=name,
        group="",
        body=body,
        gold=(label,),
        rule=rule,
        head=head,
        chat_head=head,
        options=options or {str(number): choice for number, choice in enumerate(choices)},
    )
