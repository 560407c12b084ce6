"""tokenizer.json -> the vocabulary of a GGUF file.

The facade tokenises prompts with tokenizer.json itself; llama.cpp needs the vocabulary to turn tokens into text, to
find stop strings and to know where an answer ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from ascend_runtime.folders import read_json
from ascend_runtime.serve.failures import model_invalid

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_DIGITS = "Digits"


def add_vocabulary(writer: gguf.GGUFWriter, folder: Path, rows: int) -> None:
    """Write tokens, merges and special tokens; `rows` is the embedding's, which may exceed the tokens.

    Raises CannotServe (ModelInvalid) when the tokenizer is no BPE.
    """
    document = read_json(folder / "tokenizer.json")
    model = (document or {}).get("model", {})
    if document is None or model.get("type") != "BPE":
        raise model_invalid("tokenizer.json is missing or no BPE; the CPU engine knows no other kind")
    tokens, types = _tokens(document, rows)
    spelled = bool(model.get("byte_fallback"))  # SentencePiece's form: spaces as U+2581, bytes as <0x0A>
    writer.add_tokenizer_model("llama" if spelled else "gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if spelled:
        writer.add_token_scores([-float(number) for number in range(len(tokens))])
    else:
        writer.add_tokenizer_pre(_pre_tokenizer(document))
        writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    _add_special(writer, folder, tokens)


def end_tokens(folder: Path) -> tuple[int, ...]:
    """Return the tokens that end an answer: generation_config.json's, else config.json's, as vLLM takes them."""
    for name in ("generation_config.json", "config.json"):
        ends = (read_json(folder / name) or {}).get("eos_token_id")
        if ends is not None:
            return tuple(ends) if isinstance(ends, list) else (int(ends),)
    return ()


def _tokens(document: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    by_id = {number: token for token, number in document["model"]["vocab"].items()}
    kinds = {number: _kind(token) for number, token in by_id.items()}
    for added in document.get("added_tokens", []):
        by_id[added["id"]] = added["content"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added.get("special") else gguf.TokenType.USER_DEFINED
    if by_id and max(by_id) >= rows:
        raise model_invalid(f"the tokenizer has token {max(by_id)}, the embedding only {rows} rows")
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(rows)]
    return tokens, [int(kinds.get(number, gguf.TokenType.UNUSED)) for number in range(rows)]


def _kind(token: str) -> gguf.TokenType:
    return gguf.TokenType.BYTE if _BYTE.fullmatch(token) else gguf.TokenType.NORMAL


def _pre_tokenizer(document: Mapping[str, Any]) -> str:
    """Return llama.cpp's name for how text is cut before merging; matters only to text that it tokenises itself."""
    pre = document.get("pre_tokenizer") or {}
    parts = [part.get("type") for part in pre.get("pretokenizers", [pre])]
    if _DIGITS in parts:
        return "smollm"
    return "qwen2" if "Split" in parts else "gpt-2"


def _add_special(writer: gguf.GGUFWriter, folder: Path, tokens: list[str]) -> None:
    config = read_json(folder / "tokenizer_config.json") or {}
    ends = end_tokens(folder)
    if ends:
        writer.add_eos_token_id(ends[0])
    if len(ends) > 1:
        writer.add_eot_token_id(ends[1])
    for key, add in (("bos_token", writer.add_bos_token_id), ("pad_token", writer.add_pad_token_id)):
        token = config.get(key)
        text = token.get("content") if isinstance(token, dict) else token
        if text in tokens:
            add(tokens.index(text))
    writer.add_add_bos_token(False)
