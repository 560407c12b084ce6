"""What a model folder holds, told from config and headers alone: `python -m ascend_runtime inspect`.

It reads some kilobytes of a model of any size, so that a service whose model is not whole, does not fit its NPUs, or
does not fit its adapters is refused before a pod with NPUs is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_jobs.domain.modelfacts import FactsMissing, ModelFacts, facts_from_config

from ascend_runtime.adapterfolder import AdapterFacts, check_adapter
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.folders import MANIFEST, read_json, read_manifest
from ascend_runtime.modelfolder import TensorEntry, check_model, read_tensors, weight_files
from ascend_runtime.report import MESSAGE_LIMIT, emit

_SAMPLE = 1 << 16
"""Bytes at both ends of each weight file that enter the digest: two fine-tunes of a model have equal headers."""
_LAYERS = ("model.layers.", "transformer.h.", "model.decoder.layers.", "gpt_neox.layers.")


@dataclass(frozen=True)
class Inspected:
    """What is looked at: the model, its adapters by name, and the fields that name them in the spec."""

    model: Path
    adapters: Mapping[str, Path]
    quantization: str | None = None
    field: str = "spec.model.uri"
    adapter_fields: Sequence[str] = ()
    """In the order of the adapters; spec.model.adapters[n].uri where there is none."""


def inspect(given: Inspected) -> dict[str, Any]:
    """Print and return the facts of a model and its adapters (docs/engines.md); raises InvalidInput."""
    try:
        model, tensors = _model(given.model)
        if given.quantization == "w8a8":
            _check_quantized(given.model)
    except InvalidInput as error:
        raise InvalidInput(error.reason, given.field, error.message) from error
    fields = [*given.adapter_fields]
    fields += [f"spec.model.adapters[{n}].uri" for n in range(len(fields), len(given.adapters))]
    adapters = [
        check_adapter(name, folder, tensors, field)
        for (name, folder), field in zip(given.adapters.items(), fields, strict=False)
    ]
    message = _message(model, adapters)
    print(json.dumps(message), flush=True)
    return message


def _model(folder: Path) -> tuple[dict[str, Any], Mapping[str, TensorEntry]]:
    config = check_model(folder)
    if (folder / MANIFEST).is_file() and read_manifest(folder, hashes=False) is None:
        raise _invalid("its files are not those of its manifest.json; it is being copied, or was changed")
    files = weight_files(folder)
    tensors = _tensors(folder, files)
    facts = _facts(config, tensors, sum(file.stat().st_size for file in files))
    _check_against_config(config, facts, tensors)
    template = _has_chat_template(folder)
    if not template:
        emit("warning", message="the tokenizer has no chat template: /v1/chat/completions will refuse requests")
    found = {
        **_wire(facts),
        "sizeBytes": sum(file.stat().st_size for file in files),
        "sha256": _digest(folder, files),
        "chatTemplate": template,
    }
    return found, tensors


def _tensors(folder: Path, files: Sequence[Path]) -> dict[str, TensorEntry]:
    """Return all tensors of safetensors files; none for older formats. The index has to say the same."""
    if not all(file.suffix == ".safetensors" for file in files):
        emit("warning", message="the weights are no safetensors; only their presence was checked")
        return {}
    by_file = {file.name: read_tensors(file) for file in files}
    index = read_json(folder / "model.safetensors.index.json") if len(files) > 1 else None
    for name, shard in (index or {}).get("weight_map", {}).items():
        if name not in by_file.get(shard, {}):
            raise _invalid(f"{shard} has no weight {str(name)[:120]}, which model.safetensors.index.json says is there")
    return {name: entry for tensors in by_file.values() for name, entry in tensors.items()}


def _facts(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry], size: int) -> ModelFacts:
    try:
        if not tensors:
            facts = facts_from_config(config)
            return facts_from_config(
                config, parameters=facts.parameters, bytes_per_parameter=round(size / facts.parameters, 3)
            )
        values = sum(entry.values for entry in tensors.values())
        held = sum(entry.size_bytes for entry in tensors.values())
        if values == 0:
            raise _invalid("the weights are empty")
        return facts_from_config(config, parameters=values, bytes_per_parameter=round(held / values, 3))
    except FactsMissing as error:
        raise _invalid(f"config.json does not describe a language model: {error}") from error


def _check_against_config(config: Mapping[str, Any], facts: ModelFacts, tensors: Mapping[str, TensorEntry]) -> None:
    """Find the config.json of one model beside the weights of another, and weights that lack layers."""
    embedding = tensors.get("model.embed_tokens.weight")
    if embedding is not None and embedding.shape != (facts.vocab_size, facts.hidden_size):
        there = " x ".join(map(str, embedding.shape))
        raise _invalid(
            f"config.json does not belong to these weights: embeddings are {there}, "
            f"config.json says {facts.vocab_size} x {facts.hidden_size}"
        )
    if "text_config" in config:
        return
    for prefix in _LAYERS:
        present = {name[len(prefix) :].partition(".")[0] for name in tensors if name.startswith(prefix)}
        absent = [str(n) for n in range(facts.layers) if str(n) not in present] if present else []
        if absent:
            raise _invalid(f"the weights of layer {absent[0]} are missing ({len(absent)} of {facts.layers} layers are)")


def _check_quantized(folder: Path) -> None:
    """Find weights that nobody quantized: msModelSlim leaves a description, or says so in config.json."""
    config = read_json(folder / "config.json") or {}
    described = any(folder.glob("quant_model_description*.json"))
    if not described and not config.get("quantize") and not config.get("quantization_config"):
        raise _invalid(
            "spec.model.quantization says w8a8, but the weights are not quantized (no quant_model_description.json); "
            "quantize them with msModelSlim, or leave quantization out"
        )


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    return bool((read_json(folder / "tokenizer_config.json") or {}).get("chat_template"))


def _digest(folder: Path, files: Sequence[Path]) -> str:
    """Return a SHA-256 that changes with the model: config, manifest, and of each weight file name, size, both ends.

    Cheap at any size. It stands for the folder's content as it is meant to be, not against forgery.
    """
    digest = hashlib.sha256()
    for small in (folder / "config.json", folder / MANIFEST):
        digest.update(small.read_bytes() if small.is_file() else b"")
    for file in files:
        size = file.stat().st_size
        digest.update(f"\n{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_SAMPLE))
            stream.seek(max(0, size - _SAMPLE))
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def _wire(facts: ModelFacts) -> dict[str, Any]:
    """Return the facts as facts_from_inspection reads them; what is at its default is left out."""
    found = {
        "architecture": facts.architecture[:100],
        "parameters": facts.parameters,
        "layers": facts.layers,
        "hiddenSize": facts.hidden_size,
        "heads": facts.heads,
        "kvHeads": facts.kv_heads,
        "headDim": facts.head_dim,
        "vocabSize": facts.vocab_size,
        "intermediateSize": facts.intermediate_size,
        "bytesPerParameter": facts.bytes_per_parameter,
        "maxPositions": facts.max_positions,
    }
    if facts.latent_size:
        found["latentSize"] = facts.latent_size
    return found if facts.gated else {**found, "gated": False}


def _message(model: Mapping[str, Any], adapters: Sequence[AdapterFacts]) -> dict[str, Any]:
    """Return the termination message: what does not fit its 4096 bytes are adapters' entries, counted all the same."""
    entries = [{"name": a.name, "rank": a.rank, "sizeBytes": a.size_bytes} for a in adapters]
    total = {
        "count": len(adapters),
        "maxRank": max((a.rank for a in adapters), default=0),
        "sizeBytes": sum(a.size_bytes for a in adapters),
    }
    message = {"model": dict(model), "adapters": entries, "adapterTotal": total}
    while entries and len(json.dumps(message)) > MESSAGE_LIMIT:
        entries.pop()
    return message


def _invalid(sentence: str) -> InvalidInput:
    return InvalidInput(Reason.MODEL_INVALID, "spec.model.uri", sentence)
