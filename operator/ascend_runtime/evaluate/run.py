"""One run of an evaluation: check inputs, reach the target, ask, measure, compare, judge, publish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from ascend_runtime.evaluate.asking import ask_suite
from ascend_runtime.evaluate.client import open_session
from ascend_runtime.evaluate.command import read_command
from ascend_runtime.evaluate.config import EvaluateConfig, PerformanceConfig, SuiteType
from ascend_runtime.evaluate.files import write_files
from ascend_runtime.evaluate.lastwords import compose
from ascend_runtime.evaluate.outcome import Outcome, SuiteOutcome
from ascend_runtime.evaluate.perf import PREFIX, PerformanceResult, measure
from ascend_runtime.evaluate.perf_prompts import load_prompts
from ascend_runtime.evaluate.perf_table import log_text
from ascend_runtime.evaluate.publish import RunRecord, open_output, publish_run, run_uri
from ascend_runtime.evaluate.reach import PATIENCE, Reached, reach, read_api_key
from ascend_runtime.evaluate.results import CommandResult
from ascend_runtime.evaluate.suites import load_suite
from ascend_runtime.evaluate.suites.question import Suite
from ascend_runtime.folders import Manifest
from ascend_runtime.report import Throttle, emit


@dataclass(frozen=True)
class _Inputs:
    """All that was read before the first request."""

    suites: tuple[Suite, ...]
    commands: tuple[CommandResult, ...]
    api_key: str | None
    baseline_api_key: str | None
    history: tuple[RunRecord, ...]


@dataclass(frozen=True)
class _Sides:
    """The target, and what it is compared with."""

    session: aiohttp.ClientSession
    target: Reached
    baseline: Reached | None


def evaluate(config: EvaluateConfig, *, patience: float = PATIENCE) -> dict[str, Any]:
    """Do one run and return its termination message.

    Raises InvalidInput for what only the user can mend, before the first request where that can be seen, and
    TargetUnreachable when the target, or the baseline, gives no answers; nothing is published then.
    """
    inputs = _read_inputs(config)
    outcome = asyncio.run(_evaluate(config, inputs, patience))
    _print_tables(outcome)
    sealed = publish_run(config, lambda folder: write_files(folder, outcome), _facts(outcome))
    return _message(outcome, sealed)


def _read_inputs(config: EvaluateConfig) -> _Inputs:
    if config.performance:
        load_prompts(config.performance.place, chat=True)
    return _Inputs(
        suites=tuple(load_suite(suite) for suite in config.suites if suite.type is not SuiteType.COMMAND),
        commands=tuple(read_command(suite) for suite in config.suites if suite.type is SuiteType.COMMAND),
        api_key=read_api_key(config.api_key_file),
        baseline_api_key=read_api_key(config.baseline_api_key_file),
        history=open_output(config),
    )


async def _evaluate(config: EvaluateConfig, inputs: _Inputs, patience: float) -> Outcome:
    clock, started = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    suites: list[SuiteOutcome] = []
    performance: list[PerformanceResult | None] = [None, None]
    if inputs.suites or config.performance:
        async with open_session() as session:
            sides = await _reach(session, config, inputs, patience)
            suites = [await _ask(sides, suite) for suite in inputs.suites]
            if config.performance:
                performance = [
                    await _measure(sides, side, config.performance) for side in (sides.target, sides.baseline)
                ]
    return Outcome(
        config=config,
        started=started,
        elapsed=time.monotonic() - clock,
        suites=tuple(suites),
        commands=inputs.commands,
        performance=performance[0],
        baseline_performance=performance[1],
        history=tuple(record.facts for record in inputs.history),
    )


async def _reach(session: aiohttp.ClientSession, config: EvaluateConfig, inputs: _Inputs, patience: float) -> _Sides:
    target = await reach(session, config.target, inputs.api_key, patience=patience)
    baseline = config.baseline
    other = await reach(session, baseline, inputs.baseline_api_key, patience=patience) if baseline else None
    return _Sides(session, target, other)


async def _ask(sides: _Sides, suite: Suite) -> SuiteOutcome:
    """Ask the target, then the baseline the same questions."""
    mine = await ask_suite(sides.session, sides.target, suite, _progress(suite.name, sides.target))
    if sides.baseline is None:
        return SuiteOutcome(mine)
    other = await ask_suite(sides.session, sides.baseline, suite, _progress(suite.name, sides.baseline))
    return SuiteOutcome(mine, other)


async def _measure(sides: _Sides, side: Reached | None, config: PerformanceConfig) -> PerformanceResult | None:
    if side is None:
        return None
    prompts = load_prompts(config.place, chat=side.chat)
    return await measure(sides.session, side.target, config, _progress(PREFIX, side), prompts=prompts)


def _print_tables(outcome: Outcome) -> None:
    """Show MindIE's tables in the log, as its benchmark does."""
    for suite in outcome.suites:
        print(log_text(suite.result.point), flush=True)
    if outcome.performance:
        print(outcome.performance.log_text(), flush=True)


def _progress(suite: str, side: Reached) -> Callable[[int, int], None]:
    """Return what says how far a suite is: at most once a second, and at its end."""
    throttle = Throttle()

    def progress(done: int, total: int) -> None:
        if throttle.is_due() or done == total:
            emit("progress", suite=suite, target=side.config.name, done=done, total=total)

    return progress


def _facts(outcome: Outcome) -> dict[str, Any]:
    """Return what manifest, history and latest keep of the run."""
    return {
        "time": outcome.started,
        "accepted": outcome.accepted,
        "verdict": outcome.verdict,
        "revision": outcome.config.target.revision,
        "metrics": outcome.main_metrics(),
    }


def _message(outcome: Outcome, sealed: Manifest) -> dict[str, Any]:
    total, failed = outcome.requests
    facts = {
        "run": outcome.config.run,
        "accepted": outcome.accepted,
        "verdict": outcome.verdict,
        "requests": {"total": total, "failed": failed},
        "report": {"uri": run_uri(outcome.config), "sha256": sealed.sha256},
    }
    return compose(facts, outcome.verdicts, outcome.metrics, outcome.headline())
