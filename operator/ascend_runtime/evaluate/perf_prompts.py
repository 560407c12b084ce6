"""What is asked under load: JSON lines, or plain text with a prompt a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ascend_runtime.config import Place
from ascend_runtime.errors import InvalidInput, Reason
from ascend_runtime.evaluate.client import Prompt

_FIELD = "spec.performance.uri"
_JSON_SUFFIXES = (".jsonl", ".json")


def load_prompts(place: Place, *, chat: bool) -> tuple[Prompt, ...]:
    """Read all prompts of a file, or of the files of a folder, in the order of names.

    Rows of .jsonl are `{"prompt"}`, `{"messages"}` or alpaca's `{"instruction", "input"}`; every other file has a
    prompt a line. With `chat` a plain prompt becomes a user's message, without it messages become text, for models
    without a chat template. Raises InvalidInput with file, row and what to do.
    """
    prompts = [prompt for path in _files(place) for prompt in _read(path, chat=chat)]
    if not prompts:
        raise InvalidInput(Reason.DATASET_INVALID, _FIELD, f"there are no prompts at {place.uri}; all is empty")
    return tuple(prompts)


def _files(place: Place) -> list[Path]:
    files = [place.path] if place.path.is_file() else []
    if place.path.is_dir():
        files = sorted(path for path in place.path.iterdir() if path.suffix in (*_JSON_SUFFIXES, ".txt"))
    if not files:
        sentence = f"there is no file at {place.uri}, nor a folder with .jsonl or .txt files; check the path"
        raise InvalidInput(Reason.DATASET_NOT_FOUND, _FIELD, sentence)
    return files


def _read(path: Path, *, chat: bool) -> Iterator[Prompt]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"{path.name} cannot be read as UTF-8 text: {error}"
        raise InvalidInput(Reason.DATASET_INVALID, _FIELD, sentence) from error
    is_json = path.suffix in _JSON_SUFFIXES
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield _shape(_parse(line) if is_json else line.rstrip("\r"), chat=chat)
        except ValueError as error:
            raise InvalidInput(Reason.DATASET_INVALID, _FIELD, f"{path.name} row {number}: {error}") from error


def _parse(line: str) -> str | list[dict[str, Any]]:
    """Return a row's text or messages; raises ValueError with a sentence."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}); each line is one object") from error
    if not isinstance(row, dict):
        raise ValueError("no JSON object; each line is one object")
    if "messages" in row:
        return _messages(row["messages"])
    texts = [row[key] for key in (("prompt",) if "prompt" in row else ("instruction", "input")) if row.get(key)]
    if not texts or not all(isinstance(text, str) for text in texts):
        has = ", ".join(sorted(map(str, row))[:8]) or "nothing"
        raise ValueError(f"no text in prompt, messages or instruction (the row has {has}); add it or remove the row")
    return "\n".join(texts)


def _messages(given: object) -> list[dict[str, Any]]:
    """Return the messages up to the last of a user: what the model has to answer."""
    listed = given if isinstance(given, list) else []
    if not listed or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and m.get("content") for m in listed
    ):
        raise ValueError('messages is no list of {"role", "content"}; mend it or remove the row')
    while listed and listed[-1]["role"] == "assistant":
        listed = listed[:-1]
    if not listed:
        raise ValueError("messages holds nothing but answers; add a question or remove the row")
    return listed


def _shape(asked: str | list[dict[str, Any]], *, chat: bool) -> Prompt:
    if isinstance(asked, str):
        return Prompt(messages=({"role": "user", "content": asked},)) if chat else Prompt(text=asked)
    return Prompt(messages=tuple(asked)) if chat else Prompt(text="\n".join(str(m["content"]) for m in asked))
