"""`ASCENDJOBS_CONFIG`: the whole configuration of a phase, read once into frozen values (docs/contract.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ascend_runtime.errors import InvalidInput, Reason


class IfExists(StrEnum):
    """What to do when the output folder holds something already."""

    FAIL = "Fail"
    SKIP = "Skip"
    OVERWRITE = "Overwrite"


@dataclass(frozen=True)
class Place:
    """A location: the URI as users know it and the path it has in the container."""

    uri: str
    path: Path


@dataclass(frozen=True)
class Source:
    """One data set: a file, or a folder of files, of one format."""

    place: Place
    format: str


@dataclass(frozen=True)
class Lora:
    """LoRA as peft knows it; `target_modules` is `all-linear` or a tuple of module names."""

    rank: int
    alpha: float
    dropout: float
    target_modules: str | tuple[str, ...]


@dataclass(frozen=True)
class Hyperparameters:
    """How to train; epochs may be a fraction, a `max_steps` caps them."""

    epochs: float
    max_steps: int | None
    learning_rate: float
    scheduler: str
    warmup_ratio: float
    global_batch_size: int | None
    batch_size_per_npu: int
    dtype: str
    seed: int


@dataclass(frozen=True)
class Config:
    """One job's configuration."""

    job: Mapping[str, str]
    spec_digest: str
    model: Place
    sources: tuple[Source, ...]
    max_length: int
    validation_fraction: float
    method: str
    lora: Lora
    hyperparameters: Hyperparameters
    every_steps: int
    keep: int
    workspace: Place
    output: Place
    if_exists: IfExists
    training: Mapping[str, Any]
    """The section `training` as it came, for the record beside the result."""

    @property
    def job_uid(self) -> str:
        """Return the UID of the job, the name under which it owns its workspace."""
        return self.job["uid"]


def parse_config(text: str) -> Config:
    """Read the document; raises InvalidInput (ConfigInvalid) that names the field."""
    try:
        root = _Section(json.loads(text), "spec")
    except ValueError as error:
        raise InvalidInput(Reason.CONFIG_INVALID, "ASCENDJOBS_CONFIG", f"not JSON: {error}") from error
    job, dataset, training = root.section("job"), root.section("dataset"), root.section("training")
    checkpoint, output = root.section("checkpoint"), root.section("output")
    return Config(
        job={key: job.text(key) for key in ("namespace", "name", "uid")},
        spec_digest=root.text("specDigest"),
        model=root.section("model").place(),
        sources=tuple(Source(source.place(), source.text("format")) for source in dataset.sections("sources")),
        max_length=int(dataset.section("tokenize").number("maxLength", 2, 1 << 20)),
        validation_fraction=dataset.section("validation", {}).number("fraction", 0, 0.5, default=0),
        method=training.choice("method", ("lora", "full")),
        lora=_parse_lora(training.section("lora", {})),
        hyperparameters=_parse_hyperparameters(training.section("hyperparameters")),
        every_steps=int(checkpoint.number("everySteps", 1, 1 << 30)),
        keep=int(checkpoint.number("keep", 1, 1000)),
        workspace=root.section("workspace").place(),
        output=output.place(),
        if_exists=IfExists(output.choice("ifExists", tuple(IfExists), default=IfExists.FAIL)),
        training=training.data,
    )


def _parse_lora(section: _Section) -> Lora:
    targets = section.data.get("targetModules", "all-linear")
    names = section.texts("targetModules") if isinstance(targets, list) else None
    return Lora(
        rank=int(section.number("rank", 1, 4096, default=8)),
        alpha=section.number("alpha", 0, 65536, default=16),
        dropout=section.number("dropout", 0, 0.999, default=0),
        target_modules=names or section.choice("targetModules", ("all-linear",), default="all-linear"),
    )


def _parse_hyperparameters(section: _Section) -> Hyperparameters:
    return Hyperparameters(
        epochs=section.number("epochs", 1e-6, 1e6, default=1),
        max_steps=section.optional_count("maxSteps"),
        learning_rate=section.number("learningRate", 0, 10),
        scheduler=section.choice("scheduler", ("linear", "cosine", "constant"), default="cosine"),
        warmup_ratio=section.number("warmupRatio", 0, 1, default=0),
        global_batch_size=section.optional_count("globalBatchSize"),
        batch_size_per_npu=int(section.number("batchSizePerNpu", 1, 1 << 20, default=1)),
        dtype=section.choice("dtype", ("bf16", "fp16", "fp32"), default="bf16"),
        seed=int(section.number("seed", 0, (1 << 31) - 1, default=42)),
    )


class _Section:
    """A JSON object with its path, so that every complaint names the field."""

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, dict):
            raise InvalidInput(Reason.CONFIG_INVALID, path, f"{path} is missing or no object")
        self.data: dict[str, Any] = data
        self._path = path

    def section(self, key: str, default: object = None) -> _Section:
        return _Section(self.data.get(key, default), f"{self._path}.{key}")

    def sections(self, key: str) -> Sequence[_Section]:
        entries = self.data.get(key)
        if not isinstance(entries, list) or not entries:
            raise self._invalid(key, "is missing or no list")
        return [_Section(entry, f"{self._path}.{key}[{index}]") for index, entry in enumerate(entries)]

    def place(self) -> Place:
        path = Path(self.text("path"))
        if not path.is_absolute():
            raise self._invalid("path", f"is {path}, not an absolute path")
        return Place(self.text("uri"), path)

    def text(self, key: str) -> str:
        value = self.data.get(key)
        if not isinstance(value, str) or not value:
            raise self._invalid(key, "is missing or no text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.data.get(key)
        if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
            raise self._invalid(key, "is not a list of names")
        return tuple(values)

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.data.get(key, default)
        if value not in choices:
            raise self._invalid(key, f"is {value!r}; one of {', '.join(choices)}")
        return str(value)

    def number(self, key: str, least: float, most: float, default: float | None = None) -> float:
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self._invalid(key, f"is {value!r}, not a number from {least:g} to {most:g}")
        return value

    def optional_count(self, key: str) -> int | None:
        return None if self.data.get(key) is None else int(self.number(key, 1, 1 << 30))

    def _invalid(self, key: str, sentence: str) -> InvalidInput:
        field = f"{self._path}.{key}"
        return InvalidInput(Reason.CONFIG_INVALID, field, f"{field} {sentence}")
