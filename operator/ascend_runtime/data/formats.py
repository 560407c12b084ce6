"""Rows of a data set → conversations: what each format must hold, and how its fields become turns.

alpaca
    `instruction`, optional `input`, `output`; optional `system`, `history` ([[question, answer], …]).
    A non-empty input follows the instruction on a new line, as MindSpeed-LLM and LLaMA-Factory join them.
sharegpt
    `conversations`: [{`from`: human | user | gpt | assistant | system, `value`}], optional `system`.
openai
    `messages`: [{`role`: system | user | assistant, `content`}].
text
    `text`, learned as it is, without a chat template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Turn = dict[str, str]
"""One message as chat templates take it: role and content."""


class BadRow(Exception):
    """A row that cannot be learned from; the message names its field."""


@dataclass(frozen=True)
class Document:
    """One row: turns for the chat template, or plain text."""

    turns: tuple[Turn, ...] = ()
    text: str = ""


def parse_row(row: object, format_name: str) -> Document:
    """Check one row and return its document; raises BadRow, and KeyError for a format that does not exist."""
    if not isinstance(row, dict):
        raise BadRow(f"is {_kind(row)}, not an object")
    return FORMATS[format_name](row)


def _parse_alpaca(row: Mapping[str, Any]) -> Document:
    question = _text(row, "instruction", "no question")
    extra = _optional_text(row, "input")
    turns = [*_system(row), *_history(row)]
    turns.append(_turn("user", f"{question}\n{extra}" if extra.strip() else question))
    turns.append(_turn("assistant", _text(row, "output", "no answer")))
    return Document(tuple(turns))


def _parse_sharegpt(row: Mapping[str, Any]) -> Document:
    roles = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
    return Document(_checked([*_system(row), *_messages(row, "conversations", "from", "value", roles)]))


def _parse_openai(row: Mapping[str, Any]) -> Document:
    roles = {role: role for role in ("system", "user", "assistant")}
    return Document(_checked(_messages(row, "messages", "role", "content", roles)))


def _parse_text(row: Mapping[str, Any]) -> Document:
    return Document(text=_text(row, "text", "no text"))


FORMATS: Mapping[str, Callable[[Mapping[str, Any]], Document]] = {
    "alpaca": _parse_alpaca,
    "sharegpt": _parse_sharegpt,
    "openai": _parse_openai,
    "text": _parse_text,
}


def _system(row: Mapping[str, Any]) -> list[Turn]:
    system = _optional_text(row, "system")
    return [_turn("system", system)] if system.strip() else []


def _history(row: Mapping[str, Any]) -> list[Turn]:
    turns = []
    for index, pair in enumerate(row.get("history") or []):
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRow(f"field history[{index}] is no pair of question and answer")
        for role, value in zip(("user", "assistant"), pair, strict=True):
            turns.append(_turn(role, _checked_text(value, f"history[{index}]", "empty turn")))
    return turns


def _messages(row: Mapping[str, Any], key: str, who: str, what: str, roles: Mapping[str, str]) -> list[Turn]:
    messages = row.get(key)
    if not isinstance(messages, list):
        raise BadRow(f"field {key} is {_kind(messages)}, not a list of messages")
    turns = []
    for index, message in enumerate(messages):
        field = f"{key}[{index}]"
        if not isinstance(message, dict):
            raise BadRow(f"field {field} is {_kind(message)}, not an object")
        role = message.get(who)
        if not isinstance(role, str) or role not in roles:
            raise BadRow(f"field {field}.{who} is {role!r:.40}; one of {', '.join(roles)}")
        sentence = "no answer" if roles[role] == "assistant" else "empty turn"
        turns.append(_turn(roles[role], _checked_text(message.get(what), f"{field}.{what}", sentence)))
    return turns


def _checked(turns: list[Turn]) -> tuple[Turn, ...]:
    """Let through an optional system turn, then user and assistant in turn, the assistant last."""
    talk = turns[1:] if turns and turns[0]["role"] == "system" else turns
    for index, turn in enumerate(talk):
        if turn["role"] != ("user", "assistant")[index % 2]:
            raise BadRow(f"turn {index + 1} is of role {turn['role']}; user and assistant take turns, user first")
    if not talk or talk[-1]["role"] != "assistant":
        raise BadRow("no answer (the last turn is not the assistant's)")
    return tuple(turns)


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}


def _text(row: Mapping[str, Any], key: str, sentence: str) -> str:
    if key not in row:
        raise BadRow(f"{sentence} (field {key} is missing)")
    return _checked_text(row[key], key, sentence)


def _optional_text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None or value == "" else _whole_text(value, key)


def _checked_text(value: object, field: str, sentence: str) -> str:
    if value is None or value == "":
        raise BadRow(f"{sentence} (field {field} is empty)")
    text = _whole_text(value, field)
    if not text.strip():
        raise BadRow(f"{sentence} (field {field} is blank)")
    return text


def _whole_text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise BadRow(f"field {field} is {_kind(value)}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"field {field} holds half of a surrogate pair, which is no character") from error
    return value


def _kind(value: object) -> str:
    """Name a value's type in JSON's words."""
    words = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return words.get(type(value), "null")
