"""Text and conversations -> tokens and back, with the model's own tokenizer.json and chat template.

Tokenised here and not in llama.cpp: the prompt is then the one that training saw, token by token, and its length is
known before the engine is asked.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from ascend_runtime.folders import read_json
from ascend_runtime.serve.failures import config_invalid, model_invalid


class _Generation(Extension):
    """The tag around what the model said, which training masks by; it changes nothing of the text."""

    tags = {"generation"}  # noqa: RUF012 - the type that jinja2 declares

    def parse(self, parser: Parser) -> list[Node]:
        """Return what stands within the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class NoPrompt(ValueError):
    """A conversation that the model's template refuses, or a model without one."""


class Prompts:
    """A model's tokenizer and chat template."""

    def __init__(self, folder: Path, template: Path | None = None) -> None:
        """Read them from a model folder; raises CannotServe when they cannot be read."""
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            raise model_invalid(f"tokenizer.json cannot be read: {error}") from error
        self._special = _special_tokens(folder)
        self._template = _compiled(_template_text(folder, template))

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return the tokens of a text; with `special` those that the model begins every text with."""
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special ones spelled out."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def spell(self, token: int) -> str:
        """Return the text of one token; of a part of a character its replacement sign."""
        return self.decode([token])

    def spell_pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return the tokens as the vocabulary has them."""
        return [self._tokenizer.id_to_token(token) or "" for token in tokens]

    @property
    def vocabulary(self) -> int:
        """Return how many tokens there are."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def render(self, messages: Sequence[Mapping[str, Any]], *, answer: bool, extra: Mapping[str, Any]) -> str:
        """Return a conversation as the model reads it, with `answer` up to where its answer begins; raises NoPrompt."""
        if self._template is None:
            raise NoPrompt("the model has no chat template; give one with --chat-template, or use /v1/completions")
        values = {**self._special, "tools": None, "documents": None, **extra}
        try:
            return self._template.render(messages=messages, add_generation_prompt=answer, **values)
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise NoPrompt(f"the model's chat template refuses the conversation: {error}") from error


def _special_tokens(folder: Path) -> dict[str, str]:
    config = read_json(folder / "tokenizer_config.json") or {}
    named = {key: config.get(key) for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
    texts = {key: value.get("content") if isinstance(value, dict) else value for key, value in named.items()}
    return {key: text for key, text in texts.items() if isinstance(text, str)}


def _template_text(folder: Path, given: Path | None) -> str | None:
    if given is not None:
        try:
            return given.read_text()
        except OSError as error:
            raise config_invalid("chat-template", f"{given} cannot be read: {error.strerror}") from error
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text()
    for name in ("tokenizer_config.json", "chat_template.json"):
        found = (read_json(folder / name) or {}).get("chat_template")
        if isinstance(found, list):
            found = next((entry["template"] for entry in found if entry.get("name") == "default"), None)
        if isinstance(found, str):
            return found
    return None


def _compiled(text: str | None) -> jinja2.Template | None:
    """Compile a template in the surroundings that transformers gives it (utils/chat_template_utils.py)."""
    if text is None:
        return None
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _strftime_now
    try:
        return environment.from_string(text)
    except jinja2.TemplateError as error:
        raise model_invalid(f"the chat template cannot be read: {error}") from error


def _tojson(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)  # noqa: TID251 - templates ask for today's date
