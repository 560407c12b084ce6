"""Where tokenised data lies in the workspace, how it gets there and how the trainer finds it.

`data/<digest>/` holds a pair of Megatron files for tokens and one for labels of each split; `data/current.json` names
the folder that belongs to the present spec. The digest covers all that decides the content: files, model's tokenizer,
lengths, split, seed; so the same input is tokenised once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_runtime.config import Config
from ascend_runtime.data.indexed import IndexedReader, IndexedWriter
from ascend_runtime.data.rows import find_files
from ascend_runtime.folders import (
    Manifest,
    file_sha256,
    make_aside,
    move_into_place,
    read_json,
    read_manifest,
    remove_folder,
    seal,
    write_json,
)

TRAIN = "train"
VALIDATION = "validation"
_LAYOUT = 1
"""Number of the layout and of the rules that make it; a change of either makes old folders count for nothing."""
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)


@dataclass(frozen=True)
class Split:
    """The documents of one split, read through memory maps."""

    ids: IndexedReader
    labels: IndexedReader

    def __len__(self) -> int:
        return len(self.ids)


class DataMissing(Exception):
    """The workspace holds no whole data for this spec: prepare did not finish, or someone removed it."""


def data_digest(config: Config) -> str:
    """Return `sha256:…` of everything that decides the tokenised data; reads all files once."""
    described = {
        "layout": _LAYOUT,
        "sources": [
            [source.format, [[file.name, file_sha256(file)] for file in find_files(source.place.path)]]
            for source in config.sources
        ],
        "tokenizer": {
            name: file_sha256(config.model.path / name)
            for name in _TOKENIZER_FILES
            if (config.model.path / name).is_file()
        },
        "maxLength": config.max_length,
        "validationFraction": config.validation_fraction,
        "seed": config.hyperparameters.seed,
    }
    return "sha256:" + hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def data_folder(config: Config, digest: str) -> Path:
    """Return where the data of a digest lies."""
    return config.workspace.path / "data" / digest.removeprefix("sha256:")


@contextlib.contextmanager
def open_writers(folder: Path) -> Iterator[Mapping[str, tuple[IndexedWriter, IndexedWriter]]]:
    """Give writers of tokens and labels for both splits; their indices are written when the block ends well."""
    with contextlib.ExitStack() as stack:
        yield {
            split: (
                stack.enter_context(IndexedWriter(_prefix(folder, split, "input_ids"))),
                stack.enter_context(IndexedWriter(_prefix(folder, split, "labels"))),
            )
            for split in (TRAIN, VALIDATION)
        }


@contextlib.contextmanager
def new_data(folder: Path) -> Iterator[Path]:
    """Give a folder aside to write to; it is removed when the block fails, whatever the reason."""
    aside = make_aside(folder, f"{socket.gethostname()}-{os.getpid()}")
    try:
        yield aside
    finally:
        remove_folder(aside)


def publish_data(aside: Path, folder: Path, facts: Mapping[str, Any]) -> Manifest:
    """Seal the folder and rename it to its place; one that lies there without a valid manifest is replaced."""
    manifest = seal(aside, facts)
    remove_folder(folder)
    move_into_place(aside, folder)
    return manifest


def name_current(config: Config, digest: str) -> None:
    """Record which data belongs to the present spec; the trainer reads it."""
    document = {"specDigest": config.spec_digest, "dataset": digest}
    write_json(config.workspace.path / "data" / "current.json", document)


def find_current(config: Config, *, hashes: bool) -> Path:
    """Return the folder of this spec's data; raises DataMissing. With hashes=True every byte is checked."""
    current = read_json(config.workspace.path / "data" / "current.json") or {}
    digest = current.get("dataset")
    if current.get("specDigest") != config.spec_digest or not isinstance(digest, str):
        raise DataMissing(f"{config.workspace.uri}/data/current.json names no data of this spec; prepare has to run")
    folder = data_folder(config, digest)
    if read_manifest(folder, hashes=hashes) is None:
        raise DataMissing(f"{config.workspace.uri}/data holds no whole data of {digest}; prepare has to run again")
    return folder


def open_split(folder: Path, split: str) -> Split:
    """Open one split's files; raises OSError and ValueError when they are cut short."""
    return Split(IndexedReader(_prefix(folder, split, "input_ids")), IndexedReader(_prefix(folder, split, "labels")))


def _prefix(folder: Path, split: str, key: str) -> Path:
    return folder / f"{split}_{key}_document"
