"""`ASCENDJOBS_CONFIG` of an evaluation, read once into frozen values (docs/contract.md, Evaluation)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ascend_runtime.config import Place, _Section
from ascend_runtime.errors import InvalidInput, Reason

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_TAKEN = ("performance", "compare")
"""First parts of metric names that are not suites."""
_MOST = 1 << 30


class SuiteType(StrEnum):
    """How the questions of a suite are laid out."""

    CEVAL = "ceval"
    MMLU = "mmlu"
    GSM8K = "gsm8k"
    JSONL = "jsonl"
    CLASSIFICATION = "classification"
    COMMAND = "command"


class Scoring(StrEnum):
    """How an answer is judged."""

    FIRST_LETTER = "FirstLetter"
    """MindIE's rule: the first character that is no space is the letter of the right option."""
    LOG_LIKELIHOOD = "LogLikelihood"
    """The option's letter that the model finds likeliest as the next token."""
    EXACT = "Exact"
    """The whole answer, but for case and spaces."""


_SCORINGS = {
    SuiteType.CEVAL: (Scoring.FIRST_LETTER, Scoring.LOG_LIKELIHOOD),
    SuiteType.MMLU: (Scoring.FIRST_LETTER, Scoring.LOG_LIKELIHOOD),
    SuiteType.GSM8K: (Scoring.EXACT,),
    SuiteType.JSONL: tuple(Scoring),
    SuiteType.CLASSIFICATION: tuple(Scoring),
}


@dataclass(frozen=True)
class TargetConfig:
    """A served model: what is evaluated, or what it is compared with."""

    name: str
    url: str
    model: str
    engine: str
    revision: str
    """Digest of what is served; empty when nobody knows."""


@dataclass(frozen=True)
class SuiteConfig:
    """One suite; of a command only name and place (its results) count."""

    name: str
    type: SuiteType
    place: Place
    field: str
    """Path of the entry as the user wrote it: spec.suites[0]."""
    scoring: Scoring | None
    """None: what fits the questions."""
    max_tokens: int
    shots: int
    """Worked examples before each question."""
    limit: int | None
    """At most so many questions, taken evenly from the subjects."""
    concurrency: int


@dataclass(frozen=True)
class PerformanceConfig:
    """What is measured under load."""

    place: Place
    concurrency: tuple[int, ...]
    requests_per_second: tuple[float, ...]
    warmup_requests: int
    requests: int
    """Measured requests at each point."""
    max_tokens: int


@dataclass(frozen=True)
class Criterion:
    """What a metric must reach for the result to be accepted."""

    metric: str
    least: float | None
    most: float | None
    max_drop: float | None
    """How far below the baseline, else below the run before, the metric may lie; in the metric's own unit."""


@dataclass(frozen=True)
class Previous:
    """The run before this one."""

    run: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class EvaluateConfig:
    """One run of an evaluation."""

    job: Mapping[str, str]
    run: int
    spec_digest: str
    target: TargetConfig
    baseline: TargetConfig | None
    suites: tuple[SuiteConfig, ...]
    performance: PerformanceConfig | None
    acceptance: tuple[Criterion, ...]
    previous: Previous | None
    api_key_file: Path | None
    """Key for the target: a file, or the folder of a mounted Secret."""
    baseline_api_key_file: Path | None
    """As much for the baseline: nobody is shown another's key."""
    output: Place
    history_limit: int


def parse_evaluate_config(text: str) -> EvaluateConfig:
    """Read the document; raises InvalidInput (ConfigInvalid) that names the field."""
    try:
        root = _Section(json.loads(text), "spec")
    except ValueError as error:
        raise InvalidInput(Reason.CONFIG_INVALID, "ASCENDJOBS_CONFIG", f"not JSON: {error}") from error
    data, output = root.data, root.section("output")
    config = EvaluateConfig(
        job={key: root.section("job").text(key) for key in ("namespace", "name", "uid")},
        run=int(root.number("run", 0, 99_999_999)),
        spec_digest=root.text("specDigest"),
        target=_parse_target(root.section("target")),
        baseline=_parse_target(root.section("baseline")) if data.get("baseline") is not None else None,
        suites=_parse_suites(root),
        performance=_parse_performance(root.section("performance")) if data.get("performance") is not None else None,
        acceptance=_parse_acceptance(root),
        previous=_parse_previous(root.section("previous")) if data.get("previous") is not None else None,
        api_key_file=_parse_file(root, "apiKeyFile"),
        baseline_api_key_file=_parse_file(root, "baselineApiKeyFile"),
        output=output.place(),
        history_limit=int(output.number("historyLimit", 1, 10_000, default=30)),
    )
    if not config.suites and config.performance is None:
        raise _invalid("spec.suites", "is empty and there is no spec.performance: there is nothing to evaluate")
    return config


def _parse_file(section: _Section, key: str) -> Path | None:
    return Path(section.text(key)) if section.data.get(key) is not None else None


def _parse_target(section: _Section) -> TargetConfig:
    url = section.text("url")
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        raise _invalid(f"{section._path}.url", f"is {url!r}, not an address that begins with http:// or https://")
    return TargetConfig(
        name=section.text("name"),
        url=url.rstrip("/"),
        model=section.text("model"),
        engine=str(section.data.get("engine") or ""),
        revision=str(section.data.get("revision") or ""),
    )


def _parse_suites(root: _Section) -> tuple[SuiteConfig, ...]:
    if not root.data.get("suites"):
        return ()
    suites = tuple(_parse_suite(section) for section in root.sections("suites"))
    seen: set[str] = set()
    for suite in suites:
        if suite.name in seen:
            raise _invalid(f"{suite.field}.name", f"is {suite.name} like that of another suite; each needs its own")
        seen.add(suite.name)
    return suites


def _parse_suite(section: _Section) -> SuiteConfig:
    name, kind = section.text("name"), SuiteType(section.choice("type", tuple(SuiteType)))
    if not _NAME.fullmatch(name) or len(name) > 40 or name in _TAKEN:
        rule = f"at most 40 of a-z, 0-9 and -, beginning with a letter, and not {' or '.join(_TAKEN)}"
        raise _invalid(f"{section._path}.name", f"is {name!r}; a suite's name is {rule}")
    return SuiteConfig(
        name=name,
        type=kind,
        place=_results_place(section) if kind is SuiteType.COMMAND else section.place(),
        field=section._path,
        scoring=_parse_scoring(section, kind),
        max_tokens=int(section.number("maxTokens", 1, 1 << 20, default=512 if kind is SuiteType.GSM8K else 20)),
        shots=int(section.number("shots", 0, 100, default=0)),
        limit=section.optional_count("limit"),
        concurrency=int(section.number("concurrency", 1, 1024, default=4)),
    )


def _results_place(section: _Section) -> Place:
    path = Path(section.text("results"))
    if not path.is_absolute():
        raise _invalid(f"{section._path}.results", f"is {path}, not an absolute path")
    return Place(str(path), path)


def _parse_scoring(section: _Section, kind: SuiteType) -> Scoring | None:
    if section.data.get("scoring") is None or kind is SuiteType.COMMAND:
        return None
    scoring = Scoring(section.choice("scoring", tuple(Scoring)))
    fitting = _SCORINGS[kind]
    if scoring not in fitting:
        raise _invalid(f"{section._path}.scoring", f"is {scoring}; a suite of type {kind} takes {', '.join(fitting)}")
    return scoring


def _parse_performance(section: _Section) -> PerformanceConfig:
    concurrency = _numbers(section, "concurrency", 1, 10_000)
    rates = _numbers(section, "requestsPerSecond", 0.001, 10_000)
    if not concurrency and not rates:
        raise _invalid(f"{section._path}.concurrency", "is empty, and so is requestsPerSecond: there is no load")
    return PerformanceConfig(
        place=section.place(),
        concurrency=tuple(int(number) for number in concurrency),
        requests_per_second=rates,
        warmup_requests=int(section.number("warmupRequests", 0, _MOST, default=20)),
        requests=int(section.number("requests", 1, _MOST, default=200)),
        max_tokens=int(section.number("maxTokens", 1, 1 << 20, default=256)),
    )


def _numbers(section: _Section, key: str, least: float, most: float) -> tuple[float, ...]:
    """Return a list of different numbers in rising order, so that load rises; a complaint names the entry."""
    values = section.data.get(key) or []
    if not isinstance(values, list):
        raise _invalid(f"{section._path}.{key}", "is no list of numbers")
    entries = {f"{key}[{index}]": value for index, value in enumerate(values)}
    return tuple(sorted({_Section(entries, section._path).number(entry, least, most) for entry in entries}))


def _parse_acceptance(root: _Section) -> tuple[Criterion, ...]:
    if not root.data.get("acceptance"):
        return ()
    return tuple(_parse_criterion(section) for section in root.sections("acceptance"))


def _parse_criterion(section: _Section) -> Criterion:
    criterion = Criterion(
        metric=section.text("metric"),
        least=_optional(section, "min"),
        most=_optional(section, "max"),
        max_drop=_optional(section, "maxDrop", least=0),
    )
    if criterion.least is None and criterion.most is None and criterion.max_drop is None:
        raise _invalid(section._path, "asks for nothing; give min, max or maxDrop")
    return criterion


def _optional(section: _Section, key: str, least: float = -1e300) -> float | None:
    return None if section.data.get(key) is None else float(section.number(key, least, 1e300))


def _parse_previous(section: _Section) -> Previous:
    metrics = section.section("metrics", {}).data
    numbers = {k: float(v) for k, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return Previous(int(section.number("run", 0, 99_999_999)), numbers)


def _invalid(field: str, sentence: str) -> InvalidInput:
    return InvalidInput(Reason.CONFIG_INVALID, field, f"{field} {sentence}")
