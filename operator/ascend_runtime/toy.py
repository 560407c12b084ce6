"""A self-test model and data set: two layers and a tokenizer of some hundred tokens, made on the spot in a second.

Whatever has to be tried for its course and not for its answers (sixteen ranks, a killed pod, an installation) runs in
seconds with it and needs no download.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

VOCABULARY = 400
"""Largest number of tokens of the tokenizer: with few, the logits cost next to nothing."""
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_SPECIAL = ("<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>")
_THINGS = ("pod", "node", "rank", "chip", "job", "queue", "table", "volume")
_COLOURS = ("red", "green", "blue", "white", "black", "yellow", "brown", "grey")


def write_toy(folder: Path) -> None:
    """Write `model/` and `data/train.jsonl` (alpaca, 64 rows) into a folder; the same each time."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    rows = list(_rows())
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data" / "train.jsonl").write_text(lines)
    _write_tokenizer(folder / "model", [text for row in rows for text in row.values()])
    _write_model(folder / "model")


def _rows() -> Iterator[dict[str, str]]:
    for first, thing in enumerate(_THINGS):
        for second, colour in enumerate(_COLOURS):
            place = (first * 3 + second * 5) % 16
            yield {
                "instruction": f"Where is the {colour} {thing}?",
                "input": "",
                "output": f"The {colour} {thing} is in place {place}, behind the {_THINGS[second]}.",
            }


def _write_tokenizer(folder: Path, texts: list[str]) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.chat_template = _CHAT_TEMPLATE
    tokenizer.save_pretrained(str(folder))


def _write_model(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
