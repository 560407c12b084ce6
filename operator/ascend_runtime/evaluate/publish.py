"""The output folder: `runs/<8 digits>/`, `latest.json`, `history.json`; each whole or not there.

A run writes only its own folder. It is sealed aside and renamed; then history and latest follow, so a reader of
latest.json always finds the folder it names. A killed run leaves `.tmp-…` or `.old-…` entries, which the next run puts
right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.config import EvaluateConfig
from ascend_runtime.folders import (
    MANIFEST,
    Manifest,
    make_aside,
    move_into_place,
    read_json,
    remove_folder,
    seal,
    sweep_aside,
    write_json,
)

HISTORY = "history.json"
LATEST = "latest.json"
_RUNS = "runs"
_OLD = ".old-"
_PRIVATE = {".json", ".jsonl", ".csv"}
"""Endings of the files that get mode 640, as MindIE's benchmark gives its tables; people's reports stay readable."""


@dataclass(frozen=True)
class RunRecord:
    """What history.json keeps of a run."""

    run: int
    facts: Mapping[str, Any]


def run_folder(config: EvaluateConfig) -> Path:
    """Return where the run's files go."""
    return config.output.path / _RUNS / f"{config.run:08d}"


def run_uri(config: EvaluateConfig) -> str:
    """Return the run's folder as users know it."""
    return f"{config.output.uri.rstrip('/')}/{_RUNS}/{config.run:08d}"


def open_output(config: EvaluateConfig) -> tuple[RunRecord, ...]:
    """Put right what a killed run left, and return the earlier runs, oldest first.

    Raises InvalidInput when the folder belongs to another evaluation or cannot be written.
    """
    runs = config.output.path / _RUNS
    try:
        runs.mkdir(parents=True, exist_ok=True)
        _restore(runs)
        sweep_aside(runs)
        sweep_aside(config.output.path)
    except OSError as error:
        sentence = f"{config.output.uri} cannot be written: {error.strerror or error}"
        raise InvalidInput(Reason.CONFIG_INVALID, "spec.output.uri", sentence) from error
    _check_owner(config)
    return _read_history(config.output.path)


def publish_run(config: EvaluateConfig, write: Callable[[Path], None], facts: Mapping[str, Any]) -> Manifest:
    """Have the run's files written aside, seal them, bring them to their place, and bring the indexes up to date.

    `facts` (numbers, verdicts, time) go into the manifest, history.json and latest.json. Raises OSError.
    """
    target = run_folder(config)
    facts = {"run": config.run, **facts}
    aside = make_aside(target, config.job["uid"])
    write(aside)
    sealed = seal(aside, {**facts, "job": dict(config.job), "specDigest": config.spec_digest})
    for path in aside.rglob("*"):
        if path.suffix in _PRIVATE and path.name != MANIFEST:
            path.chmod(0o640)
    _replace(aside, target)
    _write_indexes(config, sealed, facts)
    return sealed


def _replace(aside: Path, target: Path) -> None:
    old = target.with_name(f"{_OLD}{target.name}")
    remove_folder(old)
    if target.exists():
        target.rename(old)
    move_into_place(aside, target)
    remove_folder(old)


def _restore(runs: Path) -> None:
    """Bring back a run whose replacement was killed between two renames; remove it where the new one is in place."""
    for old in sorted(runs.glob(f"{_OLD}*")):
        target = runs / old.name.removeprefix(_OLD)
        if target.exists():
            remove_folder(old)
        else:
            old.rename(target)


def _write_indexes(config: EvaluateConfig, sealed: Manifest, facts: Mapping[str, Any]) -> None:
    root, job = config.output.path, dict(config.job)
    records = {record.run: record for record in _read_history(root)} | {config.run: RunRecord(config.run, facts)}
    kept = sorted(records)[-config.history_limit :]
    if config.run not in kept:
        kept = [config.run, *kept[1:]]
    write_json(root / HISTORY, {"job": job, "runs": [dict(records[run].facts) for run in kept]})
    newest = records[max(records)]
    if newest.run == config.run:
        latest = {**facts, "job": job, "path": f"{_RUNS}/{config.run:08d}", "sha256": sealed.sha256}
        write_json(root / LATEST, latest)
    _remove_older(root / _RUNS, config)


def _remove_older(runs: Path, config: EvaluateConfig) -> None:
    """Remove the oldest runs above the limit, never the present one."""
    folders = sorted(path for path in runs.iterdir() if path.name.isdecimal() and path.is_dir())
    for folder in folders[: -config.history_limit]:
        if folder != run_folder(config):
            remove_folder(folder)


def _read_history(root: Path) -> tuple[RunRecord, ...]:
    """Return what history.json holds; entries that are none, from an edited file, are left out."""
    entries = (read_json(root / HISTORY) or {}).get("runs")
    records = {
        entry["run"]: RunRecord(entry["run"], entry)
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and type(entry.get("run")) is int
    }
    return tuple(records[run] for run in sorted(records))


def _check_owner(config: EvaluateConfig) -> None:
    """Raise when another evaluation's reports lie in the folder; one that was made anew under its name goes on."""
    owner = (read_json(config.output.path / LATEST) or {}).get("job")
    if not isinstance(owner, dict):
        return
    theirs, mine = ((job.get("namespace"), job.get("name")) for job in (owner, config.job))
    if theirs != mine:
        sentence = (
            f"{config.output.uri} holds the reports of {theirs[0]}/{theirs[1]}; give each evaluation its own folder"
        )
        raise InvalidInput(Reason.OUTPUT_EXISTS, "spec.output.uri", sentence)
