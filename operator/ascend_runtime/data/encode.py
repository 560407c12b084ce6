"""Documents → tokens and labels: only what the assistant says is learned, its end token included.

A conversation is rendered whole by the model's own chat template and tokenised whole, so the tokens are those that
inference sees; the spans of the answers are found in characters and carried over to tokens by the tokenizer's offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ascend_runtime.data.formats import BadRow, Document, Turn
from ascend_runtime.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

IGNORED = -100
"""Label of a token that is not learned (torch.nn.CrossEntropyLoss, ignore_index)."""
_PROBE = "ANSWER"


@dataclass(frozen=True)
class Sample:
    """A tokenised document; labels are the tokens themselves or IGNORED."""

    ids: list[int]
    labels: list[int]
    is_truncated: bool

    @property
    def is_learnable(self) -> bool:
        """Return whether a label is left that some earlier token predicts."""
        return any(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True)
class _Rendered:
    text: str
    spans: tuple[tuple[int, int], ...]
    """Half-open ranges of characters to learn."""


class Encoder:
    """Turns documents into samples of at most `max_length` tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, max_length: int) -> None:
        """Take a fast tokenizer of transformers; what its file says of padding and truncation is set aside."""
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_padding()
        self._backend.no_truncation()
        self._max_length = max_length
        self._closing = _closing_token(tokenizer) if tokenizer.chat_template else ""

    def encode(self, documents: Sequence[Document]) -> list[Sample | BadRow]:
        """Return a sample for each document, or the complaint of the chat template; one batch of the Rust tokenizer."""
        results: list[Sample | BadRow] = []
        rendered = [self._render(document) for document in documents]
        texts = [item.text for item in rendered if isinstance(item, _Rendered)]
        encodings = iter(self._backend.encode_batch(texts, add_special_tokens=False))
        for item in rendered:
            results.append(item if isinstance(item, BadRow) else self._sample(item, next(encodings)))
        return results

    def _sample(self, rendered: _Rendered, encoding: Encoding) -> Sample:
        ids = encoding.ids
        labels = [IGNORED] * len(ids)
        for start, end in rendered.spans:
            first, _ = _token_from(encoding, start, len(rendered.text))
            last, is_split = _token_from(encoding, end, len(rendered.text))
            labels[first : last + is_split] = ids[first : last + is_split]
        cut = self._max_length
        return Sample(ids[:cut], labels[:cut], is_truncated=len(ids) > cut)

    def _render(self, document: Document) -> _Rendered | BadRow:
        if not document.turns:
            return self._render_text(document.text)
        try:
            return self._render_chat(document.turns)
        except BadRow as error:
            return error

    def _render_text(self, text: str) -> _Rendered:
        """Surround plain text with the tokenizer's begin and end tokens; all of it is learned."""
        begin = self._tokenizer.bos_token if _adds_begin(self._tokenizer) else ""
        whole = f"{begin}{text}{self._tokenizer.eos_token or ''}"
        return _Rendered(whole, ((len(begin), len(whole)),))

    def _render_chat(self, turns: Sequence[Turn]) -> _Rendered:
        whole = self._apply(turns)
        spans = []
        for index, turn in enumerate(turns):
            if turn["role"] == "assistant":
                span = self._answer_span(turns, index, whole)
                if span is not None:
                    spans.append(span)
        if self._closing:
            start, end = spans[-1]
            whole = whole[:end] + self._closing
            spans[-1] = (start, len(whole))
        return _Rendered(whole, tuple(spans))

    def _answer_span(self, turns: Sequence[Turn], index: int, whole: str) -> tuple[int, int] | None:
        """Return the characters of one answer, up to and with its end token.

        Templates may render earlier answers differently from the last one (Qwen3 drops their reasoning). Such an
        earlier answer is not learned, since the model would never have to write it in that form.
        """
        prompt = self._apply(turns[:index], add_generation_prompt=True)
        is_last = index == len(turns) - 1
        answered = whole if is_last else self._apply(turns[: index + 1])
        if whole.startswith(answered) and answered.startswith(prompt):
            return len(prompt), len(answered.rstrip())
        if is_last:
            raise BadRow("the model's chat template renders the prompt differently once the answer follows")
        return None

    def _apply(self, turns: Sequence[Turn], *, add_generation_prompt: bool = False) -> str:
        from jinja2.exceptions import TemplateError

        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(turns), tokenize=False, add_generation_prompt=add_generation_prompt
                )
            )
        except TemplateError as error:
            raise BadRow(f"the model's chat template refuses it: {error}") from error


def _closing_token(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return what has to be added after an answer: nothing where the template ends it with a special token."""
    talk = [{"role": "user", "content": "QUESTION"}, {"role": "assistant", "content": _PROBE}]
    tail = str(tokenizer.apply_chat_template(talk, tokenize=False)).rpartition(_PROBE)[2]
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    if any(token in tail for token in special):
        return ""
    if not tokenizer.eos_token:
        raise InvalidInput(
            Reason.MODEL_INVALID,
            "spec.model.uri",
            "neither the chat template nor the tokenizer has an end token, so answers would never end; "
            "set eos_token in tokenizer_config.json",
        )
    return str(tokenizer.eos_token)


def _adds_begin(tokenizer: PreTrainedTokenizerFast) -> bool:
    return bool(tokenizer.bos_token) and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]


def _token_from(encoding: Encoding, position: int, length: int) -> tuple[int, bool]:
    """Return the token of a character, and whether it begins before it; characters without a token are passed over.

    So a token that holds both the end of the prompt and the beginning of the answer (": yes") counts as learned:
    otherwise a template that ends in a space would never let the first word be learned.
    """
    for at in range(position, length):
        token = encoding.char_to_token(at)
        if token is not None:
            start = (encoding.token_to_chars(token) or (at, at))[0]
            return int(token), start < position
    return len(encoding.ids), False
