"""Suites in the report: scores, classes, wrong answers, and the comparison with the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ascend_runtime.evaluate.classes import Classes
from ascend_runtime.evaluate.compare import Paired, Shift
from ascend_runtime.evaluate.config import EvaluateConfig
from ascend_runtime.evaluate.html import plots
from ascend_runtime.evaluate.html.loads import mindie_tables
from ascend_runtime.evaluate.html.page import Example, Examples, Plot, Section, Table, cut, number, share, texts
from ascend_runtime.evaluate.html.words import LANGUAGES, Words
from ascend_runtime.evaluate.outcome import Outcome, SuiteOutcome
from ascend_runtime.evaluate.results import Answer, CommandResult, Score, SuiteResult
from ascend_runtime.evaluate.subjects import CATEGORIES

_EXAMPLES = 20
_LONGEST_TEXT = 1200
_LONGEST_ANSWER = 600

Block = Table | Plot | Examples


def suite_section(suite: SuiteOutcome, config: EvaluateConfig, words: Words) -> Section:
    """Return one suite's numbers, plots and examples."""
    result, name = suite.result, suite.result.suite.name
    notes = [words(note) for note in result.notes]
    blocks: list[Block] = [_score_table(result, words)]
    if result.subjects:
        blocks.append(_subject_plot(suite, config, words))
    if suite.classes:
        blocks += _class_blocks(suite.classes, words)
    blocks += _example_blocks(result, words)
    blocks += mindie_tables(result.point, name, words)
    return Section(words("suite", suite=name), texts(*notes), tuple(blocks))


def command_section(command: CommandResult, words: Words) -> Section:
    """Return the numbers that the user's image left."""
    rows = tuple((name, number(value)) for name, value in command.numbers.items())
    ignored = words("commandIgnored", names=cut(", ".join(command.ignored), 300)) if command.ignored else None
    table = Table((words("metric"), words("value")), rows, frozenset({1}))
    return Section(words("command", suite=command.name), texts(ignored), (table,))


def comparison_section(outcome: Outcome, words: Words) -> Section:
    """Return accuracy and latency against the baseline's."""
    baseline = outcome.config.baseline
    names = (outcome.config.target.name, baseline.name if baseline else "")
    blocks: list[Block] = []
    if outcome.pairs:
        blocks.append(_pair_table(outcome.pairs.items(), names, words))
    if outcome.shifts:
        blocks.append(_shift_table(outcome.shifts.items(), names, words))
    return Section(words("comparison", baseline=names[1]), (words("comparisonHow"),), tuple(blocks))


def _score_table(result: SuiteResult, words: Words) -> Table:
    keys = ("part", "questions", "correct", "failed", "accuracy", "interval", "answeredAccuracy")
    parts = [(words("all"), result.score)]
    place = LANGUAGES.index(words.language)
    parts += [(CATEGORIES[key][place], score) for key, score in result.categories.items()]
    caption = f"{words('unread')}: {result.unread}"
    rows = tuple(_score_row(name, score) for name, score in parts)
    return Table(tuple(map(words, keys)), rows, frozenset(range(1, len(keys))), caption)


def _score_row(name: str, score: Score) -> tuple[str, ...]:
    interval = "–" if score.interval is None else _range(*map(share, score.interval))
    counts = (str(score.total), str(score.correct), str(score.failed))
    return (name, *counts, share(score.accuracy), interval, share(score.answered_accuracy))


def _range(low: str, high: str) -> str:
    return f"[{low}, {high}]"


def _subject_plot(suite: SuiteOutcome, config: EvaluateConfig, words: Words) -> Plot:
    known = suite.result.suite.subjects
    others = suite.baseline.subjects if suite.baseline else {}
    rows = [
        plots.Bar(known[key].name, score.accuracy or 0.0, score.total, _accuracy_of(others.get(key)))
        for key, score in sorted(suite.result.subjects.items(), key=lambda entry: -(entry[1].accuracy or 0.0))
    ]
    baseline = config.baseline.name if config.baseline else ""
    return Plot(plots.bars(rows, (config.target.name, baseline)), words("accuracyPlot"))


def _accuracy_of(score: Score | None) -> float | None:
    return score.accuracy if score else None


def _class_blocks(classes: Classes, words: Words) -> Iterator[Block]:
    yield _class_table(classes, words)
    axis_names = (words("given"), words("right"), words("none"))
    svg = plots.confusion(classes.labels, classes.confusion, axis_names)
    if svg:
        yield Plot(svg, words("confusionPlot"))
    if classes.curves:
        areas = {label: numbers.auc for label, numbers in classes.by_label.items() if numbers.auc is not None}
        names = (words("falsePositive"), words("truePositive"))
        yield Plot(plots.roc(classes.curves, areas, names), words("rocPlot"))


def _class_table(classes: Classes, words: Words) -> Table:
    header = (words("class"), words("precision"), words("recall"), "F1", words("support"), "AUC")
    rows = [
        (label, *_three(n.precision, n.recall, n.f1), str(n.support), number(n.auc))
        for label, n in classes.by_label.items()
    ]
    total = str(sum(n.support for n in classes.by_label.values()))
    rows.append((words("macro"), *_three(*classes.macro), total, number(classes.auc)))
    rows.append((words("micro"), *_three(*classes.micro), total, "–"))
    return Table(header, tuple(rows), frozenset(range(1, 6)), words("classes"))


def _three(*values: float) -> tuple[str, str, str]:
    one, two, three = (f"{value:.3f}" for value in values)
    return one, two, three


def _example_blocks(result: SuiteResult, words: Words) -> Iterator[Examples]:
    wrong = [answer for answer in result.answers if answer.mark and not answer.mark.correct]
    if wrong:
        shown = tuple(_wrong(answer, words) for answer in _spread(wrong))
        yield Examples(words("wrongAnswers", shown=len(shown), count=len(wrong)), shown)
    failed = [answer for answer in result.answers if answer.mark is None]
    if failed:
        shown = tuple(_failed(answer, words) for answer in _spread(failed))
        yield Examples(words("failedRequests", shown=len(shown), count=len(failed)), shown)


def _spread(answers: Sequence[Answer]) -> list[Answer]:
    """Return some of many answers, from the whole suite."""
    step = max(1, -(-len(answers) // _EXAMPLES))
    return list(answers[::step])


def _wrong(answer: Answer, words: Words) -> Example:
    given = answer.mark.given if answer.mark else None
    lines = (
        (words("question"), cut(answer.question.body, _LONGEST_TEXT)),
        (words("rightAnswer"), cut(", ".join(answer.question.gold), _LONGEST_ANSWER)),
        (words("answer"), cut(answer.record.text, _LONGEST_ANSWER)),
        (words("takenFor"), words("none") if given is None else cut(given, _LONGEST_ANSWER)),
    )
    return Example(answer.question.id, lines)


def _failed(answer: Answer, words: Words) -> Example:
    question = (words("question"), cut(answer.question.body, _LONGEST_TEXT))
    return Example(answer.question.id, (question, (words("error"), cut(answer.record.error, _LONGEST_ANSWER))))


def _pair_table(pairs: Iterable[tuple[str, Paired]], names: tuple[str, str], words: Words) -> Table:
    header = (
        words("what"),
        words("pairs"),
        words("onlyTarget", name=names[0]),
        words("onlyTarget", name=names[1]),
        words("leftOut"),
        words("difference"),
        words("interval"),
        words("pValue"),
        words("needed"),
        words("verdict"),
    )
    rows = tuple(
        (
            suite,
            str(pair.pairs),
            str(pair.only_target),
            str(pair.only_baseline),
            str(pair.left_out),
            share(pair.difference),
            _range(*map(share, pair.interval)),
            f"{pair.p_value:.3g}",
            number(pair.needed),
            words(pair.verdict),
        )
        for suite, pair in pairs
    )
    return Table(header, rows, frozenset(range(1, 9)))


def _shift_table(shifts: Iterable[tuple[str, Shift]], names: tuple[str, str], words: Words) -> Table:
    header = (
        words("what"),
        words("median", name=names[0]),
        words("median", name=names[1]),
        words("difference"),
        words("interval"),
        words("delta"),
        words("verdict"),
    )
    rows = tuple(
        (
            what,
            number(shift.target_median),
            number(shift.baseline_median),
            number(shift.difference),
            _range(*map(number, shift.interval)),
            f"{shift.delta:.3f}",
            words(shift.verdict),
        )
        for what, shift in shifts
    )
    return Table(header, rows, frozenset(range(1, 6)), words("latency"))
