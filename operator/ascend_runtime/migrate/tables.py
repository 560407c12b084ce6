"""The tables under data/: which API runs on which version and chip, under which other names, and what to do if not."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path

VERSIONS = ("2.1.0", "2.6.0", "2.7.1", "2.8.0", "2.9.0", "2.10.0", "2.11.0", "2.12.0", "2.13.0")
"""PyTorch versions with a table, in the order of the letters in data/apis.csv."""

CHIPS = ("A2", "A3", "950DT")
"""Product families the tables tell apart: Atlas A2, Atlas A3, Ascend 950DT (data/README.md)."""

_DATA = Path(__file__).with_name("data")
_PLAIN = ("torch.Size", "torch.dtype", "torch.layout", "torch.__version__", "torch.typename", "torch.is_tensor")
_PLAIN_UNDER = (
    "torch.npu.",
    "torch.version.",
    "torch._C.",
    "torch.types.",
    "torch.nn.modules.utils.",
    "torch.nn.common_types.",
)
_TENSOR_KINDS = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool")


class Support(StrEnum):
    """What the tables say of an API."""

    YES = "supported"
    NO = "unsupported"
    UNLISTED = "unlisted"
    """In no table of the version: not verified by Ascend, which is not the same as unsupported."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Support of an API: the name the table has it under, its note, and the chips that the note excludes."""

    support: Support
    api: str
    note: str = ""
    not_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about a finding: severity (info, minor, major, blocker), minutes of work, a sentence, its source."""

    pattern: str
    severity: str
    minutes: int
    text: str
    source: str


class ApiTable:
    """Support of torch's APIs in one PyTorch version."""

    def __init__(self, version: str) -> None:
        """Read the table of a version in VERSIONS; raises ValueError for another."""
        if version not in VERSIONS:
            raise ValueError(f"PyTorch {version} has no table; choose one of {', '.join(VERSIONS)}")
        self._column = VERSIONS.index(version)
        self._verdicts: dict[str, tuple[str, str]] = {}
        for api, letters, digits, *notes in _rows("apis.csv"):
            letter = self._letter(letters)
            if letter != "-":
                digit = digits[self._column or 1] if digits else "-"
                self._verdicts[api] = (letter, notes[int(digit)] if digit != "-" else "")
        self._aliases = dict(_pairs("aliases.csv"))
        self._cache: dict[str, Verdict] = {}

    def _letter(self, letters: str) -> str:
        """2.1.0's table never says no: 2.6.0's verdicts hold, and a yes of 2.1.0 adds to them."""
        return letters[self._column] if self._column else max(letters[0], letters[1])

    def verdict(self, name: str) -> Verdict:
        """Return what the table says of a dotted name, also under the other names PyTorch exports it by."""
        found = self._cache.get(name)
        if found is None:
            found = self._cache[name] = self._verdict(name)
        return found

    def _verdict(self, name: str) -> Verdict:
        for candidate in (name, self._aliases.get(name, name), *self._class_aliases(name)):
            entry = self._verdicts.get(candidate)
            if entry is not None:
                letter, note = entry
                chips = tuple(chip for chip in CHIPS if f"not on: {chip}" in note or f"not on: A3 {chip}" in note)
                return Verdict(Support.YES if letter == "y" else Support.NO, candidate, note, chips)
        return Verdict(Support.UNLISTED, self._aliases.get(name, name))

    def _class_aliases(self, name: str) -> Iterator[str]:
        owner, _, method = name.rpartition(".")
        if owner in self._aliases:
            yield f"{self._aliases[owner]}.{method}"

    @cached_property
    def unsupported_methods(self) -> frozenset[str]:
        """Last names of methods of classes that the table marks unsupported; get, set and add say too little alone."""
        names = (api.rsplit(".", 2) for api, (letter, _) in self._verdicts.items() if letter == "n")
        return frozenset(parts[2] for parts in names if parts[1][:1].isupper()) - {"get", "set", "add"}

    def lists(self, name: str) -> bool:
        """Tell whether the table has the name, as it stands or as an alias."""
        return self.verdict(name).support is not Support.UNLISTED


def is_plain(name: str) -> bool:
    """Tell whether a torch name is Python bookkeeping or a type alias, which no table lists and no chip runs."""
    if name in _PLAIN or name.startswith(_PLAIN_UNDER):
        return True
    last = name.rpartition(".")[2]
    return name.startswith(("torch.cuda.", "torch.")) and last in {f"{kind}Tensor" for kind in _TENSOR_KINDS}


def remedy_for(name: str) -> Remedy:
    """Return the first remedy whose pattern matches a name (`torch.nn.GRU`, `library:apex`, `NCCL_DEBUG`)."""
    return _remedy_for(name)


@lru_cache(maxsize=4096)
def _remedy_for(name: str) -> Remedy:
    return next(remedy for remedy in _remedies() if fnmatchcase(name, remedy.pattern))


@lru_cache(maxsize=1)
def _remedies() -> tuple[Remedy, ...]:
    rows = tuple(_rows("remedies.csv"))[1:]
    return tuple(Remedy(row[0], row[1], int(row[2]), row[3], row[4]) for row in rows)


@lru_cache(maxsize=1)
def libraries() -> dict[str, dict[str, str]]:
    """Return third-party libraries by import name (data/libraries.csv), without the single operators of MMCV."""
    with (_DATA / "libraries.csv").open(encoding="utf-8", newline="") as lines:
        return {row["module"]: row for row in csv.DictReader(lines) if row["module"] and row["kind"] != "mmcv-op"}


@lru_cache(maxsize=1)
def affinities() -> dict[str, dict[str, str]]:
    """Return NPU forms by the API that they replace (data/affinity.csv); the last row of an API wins."""
    with (_DATA / "affinity.csv").open(encoding="utf-8", newline="") as lines:
        return {row["replaces"]: row for row in csv.DictReader(lines)}


def _rows(name: str) -> Iterator[list[str]]:
    with (_DATA / name).open(encoding="utf-8", newline="") as lines:
        yield from csv.reader(lines)


def _pairs(name: str) -> Iterator[tuple[str, str]]:
    for row in _rows(name):
        yield row[0], row[1]
