"""An outcome → the report's page in one language."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from ascend_runtime.evaluate.acceptance import CriterionVerdict
from ascend_runtime.evaluate.config import Criterion, SuiteConfig, TargetConfig
from ascend_runtime.evaluate.html.loads import performance_section, say_load
from ascend_runtime.evaluate.html.page import Page, Plot, Section, Table, number, pairs, render, share, texts
from ascend_runtime.evaluate.html.plots import trend
from ascend_runtime.evaluate.html.scores import command_section, comparison_section, suite_section
from ascend_runtime.evaluate.html.words import Words
from ascend_runtime.evaluate.outcome import Outcome, SuiteOutcome

_TREND_LINES = 6
_TREND_RUNS = 30
_SOFTWARE = ("ascend-jobs", "aiohttp", "scipy", "scikit-learn")


def report_html(outcome: Outcome, language: str) -> str:
    """Return the report in one of words.LANGUAGES."""
    words, config = Words(language), outcome.config
    title = words("title", target=config.target.name)
    job = {"namespace": config.job["namespace"], "name": config.job["name"]}
    page = Page(
        language=language,
        title=title,
        subtitle=words("subtitle", **job, run=config.run, time=outcome.started),
        badge=_badge(outcome, words),
        summary=tuple(_summary(outcome, words)),
        sections=tuple(_sections(outcome, words)),
        footer=words("footer"),
    )
    return render(page)


def _badge(outcome: Outcome, words: Words) -> tuple[str, str]:
    if outcome.accepted is None:
        return words("noCriteria"), "plain"
    return (words("accepted"), "good") if outcome.accepted else (words("notAccepted"), "bad")


def _summary(outcome: Outcome, words: Words) -> Iterator[str]:
    """Say in words what was found, for people who read nothing else."""
    missed = [verdict.metric for verdict in outcome.verdicts if not verdict.accepted]
    if missed:
        yield words("sayNotAccepted", bad=len(missed), count=len(outcome.verdicts), metrics=", ".join(missed[:5]))
    elif outcome.verdicts:
        yield words("sayAccepted", count=len(outcome.verdicts))
    for suite in outcome.suites:
        yield from _say_suite(suite, words)
    for command in outcome.commands:
        yield words("sayCommand", suite=command.name, count=len(command.numbers))
    if outcome.verdict is not None and outcome.config.baseline is not None:
        names = {"target": outcome.config.target.name, "baseline": outcome.config.baseline.name}
        yield words(f"say{outcome.verdict}", **names)
    if outcome.performance:
        yield from say_load(outcome.performance, words)


def _say_suite(suite: SuiteOutcome, words: Words) -> Iterator[str]:
    score, name = suite.result.score, suite.result.suite.name
    if score.interval is None:
        yield words("sayNoAnswer", suite=name, total=score.total)
        return
    low, high = (share(bound) for bound in score.interval)
    accuracy = share(score.accuracy)
    counts = {"suite": name, "total": score.total, "accuracy": accuracy}
    yield words("sayScore", **counts, correct=score.correct, low=low, high=high)
    if score.failed:
        yield words("sayFailed", **counts, failed=score.failed, answered=share(score.answered_accuracy))


def _sections(outcome: Outcome, words: Words) -> Iterator[Section]:
    if outcome.verdicts:
        yield _acceptance_section(outcome, words)
    for suite in outcome.suites:
        yield suite_section(suite, outcome.config, words)
    for command in outcome.commands:
        yield command_section(command, words)
    if outcome.pairs or outcome.shifts:
        yield comparison_section(outcome, words)
    if outcome.performance:
        yield performance_section(outcome.performance, outcome.config.target.name, words)
    if outcome.baseline_performance and outcome.config.baseline:
        yield performance_section(outcome.baseline_performance, outcome.config.baseline.name, words)
    if outcome.history:
        yield _trend_section(outcome, words)
    yield _method_section(outcome, words)


def _acceptance_section(outcome: Outcome, words: Words) -> Section:
    judged = list(zip(outcome.config.acceptance, outcome.verdicts, strict=True))
    header = tuple(words(key) for key in ("metric", "value", "asked", "reference", "verdict"))
    rows = tuple(_criterion_row(criterion, verdict, words) for criterion, verdict in judged)
    marks = tuple("good" if verdict.accepted else "bad" for verdict in outcome.verdicts)
    return Section(words("acceptance"), blocks=(Table(header, rows, frozenset({1, 3}), marks=marks),))


def _criterion_row(criterion: Criterion, verdict: CriterionVerdict, words: Words) -> tuple[str, ...]:
    asked = texts(
        f"≥ {number(criterion.least)}" if criterion.least is not None else None,
        f"≤ {number(criterion.most)}" if criterion.most is not None else None,
        words("drop", most=number(criterion.max_drop)) if criterion.max_drop is not None else None,
    )
    told = words("met" if verdict.accepted else "notMet")
    if verdict.near:
        told = words("near", names=", ".join(verdict.near))
    return (verdict.metric, number(verdict.value), ", ".join(asked), number(verdict.reference), told)


def _trend_section(outcome: Outcome, words: Words) -> Section:
    """Show shares over the runs as lines; all main numbers as a table."""
    now = {"run": outcome.config.run, "accepted": outcome.accepted, "metrics": outcome.main_metrics()}
    earlier = [entry for entry in outcome.history if entry["run"] != outcome.config.run]
    runs = sorted([*earlier, now], key=lambda entry: _run(entry))[-_TREND_RUNS:]
    names = list(outcome.main_metrics())
    shares = [name for name in names if 0 <= outcome.metrics[name] <= 1][:_TREND_LINES]
    lines = {name: [_value(entry, name) for entry in runs] for name in shares}
    plot = Plot(trend([_run(entry) for entry in runs], lines, words("run")), words("trendPlot")) if lines else None
    rows = tuple(
        (str(_run(entry)), _accepted(entry, words), *(number(_value(entry, name)) for name in names[:_TREND_LINES]))
        for entry in runs
    )
    header = (words("run"), words("verdict"), *names[:_TREND_LINES])
    table = Table(header, rows, frozenset(range(2, len(header))))
    return Section(words("trend"), blocks=(plot, table) if plot else (table,))


def _run(entry: object) -> int:
    run = entry.get("run") if isinstance(entry, dict) else None
    return run if isinstance(run, int) else 0


def _value(entry: object, metric: str) -> float | None:
    """Return a number from history.json, which people may have edited."""
    metrics = entry.get("metrics") if isinstance(entry, dict) else None
    value = metrics.get(metric) if isinstance(metrics, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _accepted(entry: object, words: Words) -> str:
    accepted = entry.get("accepted") if isinstance(entry, dict) else None
    return "–" if not isinstance(accepted, bool) else words("accepted" if accepted else "notAccepted")


def _method_section(outcome: Outcome, words: Words) -> Section:
    config = outcome.config
    rows = [
        (words("started"), outcome.started),
        (words("elapsed"), words("seconds", seconds=f"{outcome.elapsed:.1f}")),
        *_target_rows(config.target, words("target"), words),
        *(_target_rows(config.baseline, words("baseline"), words) if config.baseline else []),
        *((words("suite", suite=s.result.suite.name), _how(s, s.result.suite.config, words)) for s in outcome.suites),
        (words("software"), _software()),
    ]
    return Section(words("method"), texts(words("accuracyHow")), (pairs((words("name"), words("value")), rows),))


def _target_rows(target: TargetConfig, role: str, words: Words) -> list[tuple[str, str]]:
    facts = (
        ("address", target.url),
        ("model", target.model),
        ("engine", target.engine),
        ("revision", target.revision),
    )
    return [(role, target.name), *((f"{role}: {words(key)}", value) for key, value in facts if value)]


def _how(suite: SuiteOutcome, config: SuiteConfig, words: Words) -> str:
    questions = suite.result.suite.questions
    rules = dict.fromkeys(question.rule.name for question in questions)
    return words(
        "suiteHow",
        uri=config.place.uri,
        type=config.type.value,
        count=len(questions),
        scoring=", ".join(words(rule) for rule in rules),
        shots=config.shots,
        tokens=config.max_tokens,
        concurrency=config.concurrency,
    )


def _software() -> str:
    found = []
    for name in _SOFTWARE:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # run from a source tree
            continue
    return ", ".join(found)
