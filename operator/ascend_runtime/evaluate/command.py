"""The suite of type command: a JSON object of numbers that the user's own image left behind (KPIs, mAP)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.config import SuiteConfig
from ascend_runtime.evaluate.results import CommandResult

MOST_NUMBERS = 1000
_LONGEST_NAME = 200
_LARGEST = 10**300
_LARGEST_FILE = 4 << 20


def read_command(suite: SuiteConfig) -> CommandResult:
    """Read the numbers; nested objects become dotted names. Raises InvalidInput that names the entry."""
    numbers: dict[str, float] = {}
    ignored: list[str] = []
    for name, value in _entries(suite):
        if len(name) > _LONGEST_NAME:
            raise _invalid(
                suite, f"the name {name[:40]}... has {len(name)} characters, at most {_LONGEST_NAME} are taken"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            ignored.append(name)
        elif not abs(value) < _LARGEST:
            raise _invalid(
                suite, f"{name} is {value!s:.20}, no number below 1e300; leave it out where it cannot be had"
            )
        else:
            numbers[name] = float(value)
    if not numbers:
        raise _invalid(suite, 'holds no number; write an object such as {"resolved": 0.83}')
    if len(numbers) > MOST_NUMBERS:
        raise _invalid(suite, f"holds {len(numbers)} numbers, at most {MOST_NUMBERS} are taken")
    return CommandResult(suite.name, suite.place.uri, numbers, tuple(ignored))


def _read(suite: SuiteConfig) -> dict[str, object]:
    path = suite.place.path
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _invalid(suite, f"is longer than {_LARGEST_FILE} bytes; numbers alone belong there")
        document = json.loads(path.read_bytes())
    except OSError as error:
        sentence = (
            f"{suite.place.uri}: the command of suite {suite.name} left no file there ({error.strerror or error})"
        )
        raise InvalidInput(Reason.DATASET_NOT_FOUND, f"{suite.field}.results", sentence) from error
    except ValueError as error:
        raise _invalid(suite, f"is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise _invalid(suite, "is no JSON object")
    return document


def _entries(suite: SuiteConfig) -> list[tuple[str, object]]:
    try:
        return list(_flat(_read(suite), ""))
    except RecursionError as error:
        raise _invalid(suite, "is nested too deep") from error


def _flat(document: dict[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _invalid(suite: SuiteConfig, sentence: str) -> InvalidInput:
    return InvalidInput(Reason.DATASET_INVALID, f"{suite.field}.results", f"{suite.place.uri} {sentence}")
