"""Questions with four options in the layouts of C-Eval and of MMLU: a CSV file for each subject and split.

C-Eval: `<subject>_val.csv` with the header id,question,A,B,C,D,answer, and `<subject>_dev.csv` for worked examples.
MMLU: `<subject>_test.csv` without header: question, four options, answer. Files lie in the folder or in one that is
called as the split.
The answers of C-Eval's test split are not public, so its val split is what is measured, as MindIE's benchmark does.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ascend_runtime.evaluate.config import Scoring, SuiteConfig
from ascend_runtime.evaluate.subjects import CEVAL, MMLU, Subject
from ascend_runtime.evaluate.suites.question import Question, Rule, Suite, lettered, options_text
from ascend_runtime.evaluate.suites.rows import BadRow, Complaints, invalid, read_csv

_OPTIONS = ("A", "B", "C", "D")
_COLUMNS = ("id", "question", *_OPTIONS, "answer")


@dataclass(frozen=True)
class _Item:
    row: int
    question: str
    options: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class _Layout:
    """What the two layouts differ in."""

    title: str
    splits: tuple[str, ...]
    """Splits with questions; the first that is there counts."""
    subjects: Mapping[str, Subject]
    head: str
    chat_head: str
    cue: str
    has_header: bool


_CEVAL = _Layout(
    title="C-Eval",
    splits=("val",),
    subjects=CEVAL,
    head="以下是中国关于{}考试的单项选择题，请选出其中的正确答案。\n\n",
    chat_head="以下是中国关于{}考试的单项选择题，请选出其中的正确答案，只回答选项的字母。\n\n",
    cue="答案：",
    has_header=True,
)
_MMLU = _Layout(
    title="MMLU",
    splits=("test", "val"),
    subjects=MMLU,
    head="The following are multiple choice questions (with answers) about {}.\n\n",
    chat_head="The following are multiple choice questions about {}. Answer with the right option's letter only.\n\n",
    cue="Answer:",
    has_header=False,
)


def load_ceval(config: SuiteConfig) -> Suite:
    """Read a folder in C-Eval's layout; raises InvalidInput, also for a subject that C-Eval does not have."""
    return _load(config, _CEVAL)


def load_mmlu(config: SuiteConfig) -> Suite:
    """Read a folder in MMLU's layout; subjects that MMLU does not have are welcome, and count as Other."""
    return _load(config, _MMLU)


def _load(config: SuiteConfig, layout: _Layout) -> Suite:
    files = _find(config, layout)
    subjects = {key: _subject(config, layout, key, file) for key, file in files.items()}
    complaints, questions = Complaints(config), []
    for key, file in files.items():
        items = _items(config, layout, file, complaints)
        shots = _shots(config, layout, key, complaints)
        make = _maker(config, layout, key, subjects[key], shots)
        questions += [make(item) for item in items]
    complaints.raise_any()
    return Suite(config, tuple(questions), subjects)


def _find(config: SuiteConfig, layout: _Layout) -> dict[str, Path]:
    """Return subject -> file of the split that is measured, by name."""
    if not config.place.path.is_dir():
        raise invalid(config, f"{config.place.uri} is a file; {layout.title}'s layout is a folder of CSV files")
    for split in layout.splits:
        files = _split_files(config.place.path, split)
        if files:
            return files
    wanted = " or ".join(f"<subject>_{split}.csv" for split in layout.splits)
    raise invalid(config, f"{config.place.uri} holds no {wanted}, as {layout.title}'s layout has them", found=False)


def _split_files(folder: Path, split: str) -> dict[str, Path]:
    ending = f"_{split}.csv"
    found = [*folder.glob(f"*{ending}"), *(folder / split).glob(f"*{ending}")]
    return {file.name.removesuffix(ending): file for file in sorted(found, key=lambda file: file.name)}


def _subject(config: SuiteConfig, layout: _Layout, key: str, file: Path) -> Subject:
    known = layout.subjects.get(key)
    if known is not None:
        return known
    if layout is _CEVAL:
        near = difflib.get_close_matches(key, layout.subjects, n=3)
        hint = f"rename it if {' or '.join(near)} is meant" if near else "rename it"
        other = "or give questions of your own as type mmlu or jsonl"
        raise invalid(config, f"{file.name}: {key} is none of C-Eval's 52 subjects; {hint}, {other}")
    return Subject(key.replace("_", " "), "other")


def _items(config: SuiteConfig, layout: _Layout, file: Path, complaints: Complaints) -> list[_Item]:
    rows = read_csv(config, file)
    first, places = (2, _places(config, layout, file, rows)) if layout.has_header else (1, tuple(range(6)))
    items = []
    for number, row in enumerate(rows[1:] if layout.has_header else rows, start=first):
        if not any(cell.strip() for cell in row):
            continue
        try:
            items.append(_item(number, row, places))
        except BadRow as error:
            complaints.add(file, number, error)
    return items


def _places(config: SuiteConfig, layout: _Layout, file: Path, rows: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Return where question, options and answer stand in a row, from the header."""
    if not rows:
        raise invalid(config, f"{file.name} is empty; it needs the header {','.join(_COLUMNS)} and a row per question")
    header = [name.strip() for name in rows[0]]
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        has = ",".join(header)[:120]
        sentence = f"row 1: no column {', '.join(missing)} (it has {has}); {layout.title}'s are {','.join(_COLUMNS)}"
        raise invalid(config, f"{file.name} {sentence}")
    return tuple(header.index(name) for name in _COLUMNS[1:])


def _item(number: int, row: Sequence[str], places: Sequence[int]) -> _Item:
    if max(places) >= len(row):
        raise BadRow(f"{len(row)} columns, {max(places) + 1} are needed; quote texts that hold commas")
    question, *options, answer = (row[place].strip() for place in places)
    if not question:
        raise BadRow("the question is empty; fill it in or remove the row")
    if answer not in _OPTIONS:
        raise BadRow(f"the answer is {answer[:40]!r}, not one of A, B, C, D; fix or remove the row")
    if not options[_OPTIONS.index(answer)]:
        raise BadRow(f"option {answer}, the right one, is empty; fill it in or remove the row")
    return _Item(number, question, tuple(options), answer)


def _shots(config: SuiteConfig, layout: _Layout, key: str, complaints: Complaints) -> str:
    """Return the worked examples of a subject as text, from its dev split."""
    if not config.shots:
        return ""
    file = _split_files(config.place.path, "dev").get(key)
    if file is None:
        sentence = f"there is no {key}_dev.csv for the worked examples; add it or set shots: 0"
        raise invalid(config, sentence, field="shots", found=False)
    items = _items(config, layout, file, complaints)
    if len(items) < config.shots and not complaints.count:
        sentence = f"{file.name} has {len(items)} rows, shots is {config.shots}; add rows or lower shots"
        raise invalid(config, sentence, field="shots")
    return "".join(f"{_body(layout, item)}{item.answer}\n\n" for item in items[: config.shots])


def _body(layout: _Layout, item: _Item) -> str:
    return f"{item.question}\n{options_text(lettered(item.options))}{layout.cue}"


def _maker(config: SuiteConfig, layout: _Layout, key: str, subject: Subject, shots: str) -> Callable[[_Item], Question]:
    rule = Rule.LOG_LIKELIHOOD if config.scoring is Scoring.LOG_LIKELIHOOD else Rule.FIRST_LETTER

    def make(item: _Item) -> Question:
        return Question(
            id=f"{key} row {item.row}",
            group=key,
            body=_body(layout, item),
            gold=(item.answer,),
            rule=rule,
            head=layout.head.format(subject.name),
            chat_head=layout.chat_head.format(subject.name),
            shots=shots,
            options=lettered(item.options),
        )

    return make
