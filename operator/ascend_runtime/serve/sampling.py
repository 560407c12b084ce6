"""How the next token is chosen: a request's words -> llama.cpp's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ascend_runtime.folders import read_json
from ascend_runtime.serve.body import BadRequest, Body, Malformed, refused

_SAMPLERS = ("penalties", "temperature", "top_k", "top_p", "min_p")
"""vLLM's order: the temperature before the cuts."""
_SEEDS = 1 << 32
_DEFAULTS: Mapping[str, float] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
UNSUPPORTED = (
    *("best_of", "min_tokens", "prompt_logprobs", "suffix", "guided_json", "guided_regex", "guided_choice"),
    *("guided_grammar", "structured_outputs", "bad_words", "truncate_prompt_tokens", "tools", "use_beam_search"),
    *("continue_final_message", "stop_token_ids", "include_stop_str_in_output", "allowed_token_ids", "prompt_embeds"),
)
"""Fields that vLLM knows and this engine does not: ignoring them would give another answer than was asked for."""
_HARMLESS: Mapping[str, Any] = {"best_of": 1, "tools": []}


def default_sampling(folder: Path, *, own: bool = True) -> dict[str, float]:
    """Return what holds when a request says nothing: generation_config.json's values, as vLLM takes them."""
    config = (read_json(folder / "generation_config.json") or {}) if own else {}
    found = {name: config[name] for name in _DEFAULTS if isinstance(config.get(name), int | float)}
    return {**_DEFAULTS, **found}


def sampling_options(body: Body, defaults: Mapping[str, float], next_seed: Callable[[], int | None]) -> dict[str, Any]:
    """Return llama.cpp's options for a request; raises BadRequest."""
    _refuse_unsupported(body)
    chosen = body.integer("seed", None, -(1 << 63), (1 << 63) - 1)
    options: dict[str, Any] = {
        "temperature": _temperature(body, defaults["temperature"]),
        "top_p": _top_p(body, defaults["top_p"]),
        "top_k": _top_k(body, int(defaults["top_k"])),
        "min_p": body.number("min_p", defaults["min_p"], 0, 1),
        "repeat_penalty": _repetition_penalty(body, defaults["repetition_penalty"]),
        "presence_penalty": body.number("presence_penalty", 0, -2, 2),
        "frequency_penalty": body.number("frequency_penalty", 0, -2, 2),
        "samplers": list(_SAMPLERS),
        "stop": body.texts("stop"),
        "ignore_eos": body.flag("ignore_eos"),
        "logit_bias": _logit_bias(body),
    }
    chosen = next_seed() if chosen is None else chosen
    if chosen is not None:
        options["seed"] = chosen % (_SEEDS - 1)  # the last one means "any" to llama.cpp
    return {**options, **_format(body)}


def _temperature(body: Body, default: float) -> float:
    value = body.number("temperature", default) or 0
    if value < 0:
        raise refused(f"temperature must be non-negative, got {float(value)}.", "temperature", float(value))
    return value


def _top_p(body: Body, default: float) -> float:
    value = body.number("top_p", default) or 0
    if not 0 < value <= 1:
        raise refused(f"top_p must be in (0, 1], got {float(value)}.", "top_p", float(value))
    return value


def _top_k(body: Body, default: int) -> int:
    value = body.integer("top_k", default) or 0
    if value < -1:
        raise BadRequest(f"top_k must be 0 (disable), or at least 1, got {value}.")
    return max(0, value)


def _repetition_penalty(body: Body, default: float) -> float:
    value = body.number("repetition_penalty", default) or 0
    if value <= 0:
        raise BadRequest(f"repetition_penalty must be greater than zero, got {float(value)}.")
    return value


def _refuse_unsupported(body: Body) -> None:
    for name in UNSUPPORTED:
        value = body.document.get(name)
        if value and value != _HARMLESS.get(name):
            raise BadRequest(f"{name} is not supported by the CPU engine", name)
    if (body.integer("n", 1, 1) or 1) != 1:
        raise BadRequest("n must be 1: the CPU engine gives one answer a request", "n")


def _logit_bias(body: Body) -> list[list[float]]:
    try:
        return [[int(token), float(bias)] for token, bias in body.part("logit_bias").document.items()]
    except (TypeError, ValueError) as error:
        raise BadRequest("logit_bias must be an object of token id and number", "logit_bias") from error


def _format(body: Body) -> dict[str, Any]:
    """Return the constraint of response_format: any JSON object, or one of a schema."""
    wanted = body.part("response_format").document
    kind = wanted.get("type", "text")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"json_schema": {"type": "object"}}
    schema = wanted.get("json_schema")
    if kind != "json_schema" or not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        message = "response_format must be text, json_object or a json_schema with its schema"
        raise Malformed(message, "response_format" if kind == "json_schema" else None)
    return {"json_schema": schema["schema"]}
