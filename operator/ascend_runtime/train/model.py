"""Load the model, add the adapter, and say which parameters are learned and in which precision."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_runtime.config import Config
from ascend_runtime.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from torch import Tensor, device, dtype
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Model:
    """The network and what of it is learned."""

    network: Any
    learned: Mapping[str, Tensor]
    """Parameters by name; always of 32 bits, whatever the computation's precision."""
    compute: dtype
    """Precision of the computation."""
    wanted: dtype
    """The precision that the job asks for, in which a whole model is published."""


def load_model(config: Config, to: device) -> Model:
    """Load the model of a job; raises InvalidInput when the folder or the LoRA section does not fit.

    With LoRA the frozen weights are kept in the computation's precision. In full training they are the ones that are
    learned, so they are kept in 32 bits and cast as they are used. A CPU without instructions for 16 bits computes in
    32 bits, with a warning: emulated bf16 was measured a hundred times slower on AVX2.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other; nothing a user could mend
    wanted = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[config.hyperparameters.dtype]
    compute = (
        wanted if wanted is torch.float32 or _computes_in_16_bits(to, config.hyperparameters.dtype) else torch.float32
    )
    kept = compute if config.method == "lora" else torch.float32
    try:
        network = AutoModelForCausalLM.from_pretrained(config.model.path, dtype=kept)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InvalidInput(Reason.MODEL_INVALID, "spec.model.uri", f"the model does not load: {error}") from error
    network.config.use_cache = False
    torch.manual_seed(config.hyperparameters.seed)
    if config.method == "lora":
        network = _add_adapter(config, network)
    network.to(to)
    learned = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    return Model(network, learned, compute, wanted)


def write_adapter(config: Config, model: Model, folder: Path) -> None:
    """Write the adapter as peft reads it; `base_model_name_or_path` is the model's URI."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    weights = get_peft_model_state_dict(model.network, save_embedding_layers=False)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    described = model.network.peft_config["default"]
    described.base_model_name_or_path = config.model.uri
    described.inference_mode = True
    described.target_modules = sorted(described.target_modules)  # a set: its order would differ from run to run
    described.save_pretrained(str(folder))


def write_whole(model: Model, folder: Path) -> None:
    """Write the whole model as Hugging Face files in the precision asked for; the model in memory is cast too."""
    model.network.config.use_cache = True
    model.network.to(model.wanted).save_pretrained(str(folder))


def _computes_in_16_bits(to: device, name: str) -> bool:
    """Return whether the device has instructions for bf16 or fp16; NPUs have (fp16 all, bf16 from 910B on)."""
    if to.type != "cpu":
        return True
    flags = {"bf16": {"avx512_bf16", "amx_bf16", "bf16"}, "fp16": {"avx512_fp16", "amx_fp16", "asimdhp"}}[name]
    try:
        return not flags.isdisjoint(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False


def _add_adapter(config: Config, network: PreTrainedModel) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    lora = config.lora
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    described = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
    )
    try:
        return get_peft_model(network, described)
    except ValueError as error:
        raise InvalidInput(Reason.CONFIG_INVALID, "spec.training.lora", f"peft refuses the adapter: {error}") from error
