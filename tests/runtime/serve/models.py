"""Models for tests: the toy's tokenizer with weights large enough that greedy answers vary from token to token."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

BASE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
    "initializer_range": 0.4,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def write_network(folder: Path, toy: Path, kind: str = "Llama", dtype: str = "float32", **changes: object) -> Path:
    """Write a model folder: the toy's tokenizer and a network of an architecture."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    tokens = _write_tokenizer(folder, toy)
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(
        **{**BASE, "vocab_size": tokens, "tie_word_embeddings": True, **changes}
    )
    network = getattr(transformers, f"{kind}ForCausalLM")(config)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith("bias") or "norm" in name:
                value.add_(torch.randn_like(value) * 0.2)
    network.to(getattr(torch, dtype)).save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0}))
    return folder


def _write_tokenizer(folder: Path, toy: Path) -> int:
    """Write the toy's tokenizer without the bytes above ASCII, which a random network would say; return its size.

    The toy itself has rows for tokens that no tokenizer knows, and half characters: it is for the tests of those.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(toy / "model" / file, folder)
    document = json.loads((toy / "model" / "tokenizer.json").read_text())
    special = [added["content"] for added in document["added_tokens"]]
    known = [t for t in document["model"]["vocab"] if t in special or all("!" <= c <= "~" or c == "\u0120" for c in t)]
    document["model"]["vocab"] = {token: number for number, token in enumerate(known)}
    for added in document["added_tokens"]:
        added["id"] = known.index(added["content"])
    (folder / "tokenizer.json").write_text(json.dumps(document))
    return len(known)


def write_lora(folder: Path, model: Path, **changes: object) -> Path:
    """Write a peft adapter with both halves random, so that it changes every answer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **changes}
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(**settings))
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if "lora_B" in name:
                value.copy_(torch.randn_like(value) * 0.3)
    tuned.save_pretrained(folder)
    return folder


def write_served(folder: Path) -> None:
    """Write `model` and `adapter` into a folder: what the recorded exchanges of vLLM were made with.

    Heads are as wide as vLLM's attention for CPUs takes them (32 at least).
    """
    from ascend_runtime.toy import write_toy

    write_toy(folder / "toy")
    write_network(folder / "model", folder / "toy", hidden_size=128)
    write_lora(folder / "adapter", folder / "model")


def greedy(model: Path, tokens: list[int], count: int, adapter: Path | None = None) -> list[int]:
    """Return what transformers answers in full precision."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    if adapter is not None:
        network = PeftModel.from_pretrained(network, adapter).eval()
    made = list(tokens)
    with torch.no_grad():
        for _ in range(count):
            logits = network(input_ids=torch.tensor([made])).logits[0, -1]
            made.append(int(logits.argmax()))
    return made[len(tokens) :]
