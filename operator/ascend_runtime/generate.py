"""Ask a model, and with an adapter the tuned one too: greedy answers, side by side."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from types import ModuleType

    from torch.nn import Module
    from transformers import PreTrainedTokenizerFast

_WIDTH = 100
"""Columns of the readable output."""


@dataclass(frozen=True)
class Answer:
    """What was asked and what the models say; `tuned` is None without an adapter."""

    prompt: str
    base: str
    tuned: str | None


def generate(model: Path, adapter: Path | None, prompts: Sequence[str], max_new_tokens: int) -> list[Answer]:
    """Answer each prompt with the base model and, with an adapter, with the tuned one; greedy, so repeatable.

    Runs on the CPU. In an NPU image on a pod without an NPU set TORCH_DEVICE_BACKEND_AUTOLOAD=0: torch then leaves
    torch_npu alone, and so must transformers, which would import it and fail.
    """
    if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD") == "0":
        sys.modules["torch_npu"] = cast("ModuleType", None)  # the import system's mark for "cannot be imported"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other; nothing a user could mend
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()  # few CPUs compute in bf16
    if adapter is None:
        return [Answer(prompt, _answer(network, tokenizer, prompt, max_new_tokens), None) for prompt in prompts]
    from peft import PeftModel

    tuned = PeftModel.from_pretrained(network, adapter).eval()
    answers = []
    for prompt in prompts:
        with tuned.disable_adapter():
            base = _answer(tuned, tokenizer, prompt, max_new_tokens)
        answers.append(Answer(prompt, base, _answer(tuned, tokenizer, prompt, max_new_tokens)))
    return answers


def show(answers: Sequence[Answer], *, as_json: bool) -> None:
    """Print answers, one JSON object a line or as text for people."""
    for answer in answers:
        if as_json:
            print(json.dumps(_document(answer), ensure_ascii=False))
            continue
        print(f"\n{answer.prompt}")
        for name, text in _document(answer).items():
            if name != "prompt":
                line = f"  {name:<6}{' '.join(text.split())}"
                print(textwrap.fill(line, _WIDTH, subsequent_indent=" " * 8))


def _document(answer: Answer) -> Mapping[str, str]:
    document = {"prompt": answer.prompt, "base": answer.base}
    return document if answer.tuned is None else {**document, "tuned": answer.tuned}


def _answer(network: Module, tokenizer: PreTrainedTokenizerFast, prompt: str, max_new_tokens: int) -> str:
    import torch

    talk = [{"role": "user", "content": prompt}]
    inputs = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        made = network.generate(
            **inputs, do_sample=False, max_new_tokens=max_new_tokens, pad_token_id=tokenizer.eos_token_id
        )
    answer = made[0, inputs["input_ids"].shape[1] :]
    return str(tokenizer.decode(answer, skip_special_tokens=True)).strip()
