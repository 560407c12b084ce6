"""The files of a run: the report in both languages, metrics.json, MindIE's tables, every answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any

from ascend_runtime.evaluate.config import TargetConfig
from ascend_runtime.evaluate.html.report import report_html
from ascend_runtime.evaluate.html.words import LANGUAGES
from ascend_runtime.evaluate.outcome import Outcome, SuiteOutcome
from ascend_runtime.evaluate.perf_table import common_table, csv_text, performance_table
from ascend_runtime.evaluate.results import Answer, SuiteResult
from ascend_runtime.folders import write_json

REPORTS = dict(zip(LANGUAGES, ("report.html", "report.zh.html"), strict=True))
METRICS = "metrics.json"
ANSWERS = "answers"


def write_files(folder: Path, outcome: Outcome) -> None:
    """Write all files of a run but its manifest; raises OSError."""
    for language, name in REPORTS.items():
        (folder / name).write_text(report_html(outcome, language), encoding="utf-8")
    write_json(folder / METRICS, metrics_document(outcome))
    (folder / ANSWERS).mkdir()
    for suite in outcome.suites:
        with (folder / ANSWERS / f"{suite.result.suite.name}.jsonl").open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in _answer_rows(suite))
    for name, text in _tables(outcome):
        (folder / name).write_text(text, encoding="utf-8")


def metrics_document(outcome: Outcome) -> dict[str, Any]:
    """Return metrics.json: the flat metrics, and the tables that do not fit into them."""
    config = outcome.config
    total, failed = outcome.requests
    return {
        "run": config.run,
        "job": dict(config.job),
        "specDigest": config.spec_digest,
        "time": outcome.started,
        "elapsedSeconds": outcome.elapsed,
        "target": _target(config.target),
        "baseline": _target(config.baseline) if config.baseline else None,
        "accepted": outcome.accepted,
        "criteria": [asdict(verdict) for verdict in outcome.verdicts],
        "verdict": outcome.verdict,
        "requests": {"total": total, "failed": failed},
        "metrics": outcome.metrics,
        "baselineMetrics": outcome.baseline_metrics,
        "suites": {suite.result.suite.name: _suite(suite) for suite in outcome.suites},
    }


def _tables(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Yield name and content of MindIE's tables, `<name>_perf_<time>.csv` and `<name>_common_<time>.csv`."""
    for suite in outcome.suites:
        yield from _suite_tables(suite.result, suite.result.suite.name)
        if suite.baseline:
            yield from _suite_tables(suite.baseline, f"{suite.result.suite.name}_baseline")
    for name, measured in (
        ("performance", outcome.performance),
        ("performance_baseline", outcome.baseline_performance),
    ):
        if measured:
            yield from measured.csv_files(name).items()


def _suite_tables(result: SuiteResult, name: str) -> Iterator[tuple[str, str]]:
    stamp = time.strftime("%Y%m%d%H%M%S", time.localtime(result.finished_at))
    yield f"{name}_perf_{stamp}.csv", csv_text(performance_table(result.point))
    yield f"{name}_common_{stamp}.csv", csv_text(common_table(result.point))


def _target(target: TargetConfig) -> dict[str, str]:
    return asdict(target)


def _suite(suite: SuiteOutcome) -> dict[str, Any]:
    config, classes = suite.result.suite.config, suite.classes
    found: dict[str, Any] = {
        "type": config.type,
        "uri": config.place.uri,
        "elapsedSeconds": suite.result.elapsed,
        "notes": list(suite.result.notes),
        "accuracyInterval": suite.result.score.interval,
    }
    if classes:
        found["confusion"] = {"labels": [*classes.labels, None], "counts": classes.confusion}
        found["roc"] = {label: asdict(curve) for label, curve in classes.curves.items()}
    return found


def _answer_rows(suite: SuiteOutcome) -> Iterator[dict[str, Any]]:
    others = suite.baseline.answers if suite.baseline else repeat(None)
    for answer, other in zip(suite.result.answers, others, strict=False):
        question = answer.question
        row = {"id": question.id, "group": question.group, "question": question.body, "gold": list(question.gold)}
        yield row | _answer(answer) | ({"baseline": _answer(other)} if other else {})


def _answer(answer: Answer) -> dict[str, Any]:
    record, mark = answer.record, answer.mark
    return {
        "text": record.text,
        "given": mark.given if mark else None,
        "correct": mark.correct if mark else None,
        "error": record.error or None,
        "milliseconds": round(answer.milliseconds, 3),
        "promptTokens": record.prompt_tokens,
        "completionTokens": record.completion_tokens,
    }
