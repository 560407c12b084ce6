"""The end of a run: publish what was learned, then tidy the workspace."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ascend_runtime.chain import check_fence
from ascend_runtime.config import Config
from ascend_runtime.folders import Manifest, remove_folder
from ascend_runtime.output import artifacts, publish
from ascend_runtime.train import checkpoint
from ascend_runtime.train.loop import Outcome
from ascend_runtime.train.model import Model, write_adapter, write_whole

_BESIDE = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab.json", "merges.txt")
"""Files of the model folder that whoever uses the result needs: the tokenizer with its chat template."""


def publish_result(config: Config, attempt: int, model: Model, outcome: Outcome) -> dict[str, Any]:
    """Put the adapter or the model into the output folder and return the termination message; raises Fenced."""

    def write(folder: Path) -> None:
        for pattern in _BESIDE:
            for file in config.model.path.glob(pattern):
                shutil.copyfile(file, folder / file.name)
        write_adapter(config, model, folder) if config.method == "lora" else write_whole(model, folder)

    facts = {
        "type": "adapter" if config.method == "lora" else "model",
        "model": config.model.uri,
        "training": dict(config.training),
        "result": {"steps": outcome.steps, "loss": outcome.loss, "validationLoss": outcome.validation_loss},
    }
    manifest = publish(config, facts, write, lambda: check_fence(config.workspace.path, attempt))
    return finished_message(config, manifest)


def finished_message(config: Config, manifest: Manifest) -> dict[str, Any]:
    """Return the termination message of a run whose result lies in the output folder."""
    result = manifest.facts.get("result")
    known = result if isinstance(result, Mapping) else {}
    figures = {key: known.get(key) for key in ("steps", "loss", "validationLoss")}
    return {**figures, "artifacts": artifacts(config, manifest)}


def tidy(config: Config, attempt: int) -> None:
    """Remove the tokenised data and all checkpoints but the last, which a later job may go on from."""
    workspace = config.workspace.path
    checkpoint.prune(workspace, attempt, 1)
    remove_folder(workspace / "data")
