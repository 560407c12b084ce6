"""vLLM's command line (vllm serve MODEL ...), of which the CPU engine obeys a part and accepts the rest.

What has no meaning on a CPU is accepted, so that the same pod template runs on NPUs and in kind; what vLLM does not
know either is an error, as there.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ascend_runtime.serve.failures import config_invalid
from ascend_runtime.serve.settings import Adapter, Listen, ModelSettings

ENV_API_KEY = "VLLM_API_KEY"
_PRECISIONS = {
    "auto": "auto", "float32": "f32", "float": "f32", "float16": "f16", "half": "f16", "bfloat16": "bf16",
}  # fmt: skip
_IGNORED_VALUES = (
    *("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size", "data-parallel-size-local"),
    *("data-parallel-address", "data-parallel-rpc-port", "data-parallel-start-rank", "data-parallel-backend"),
    *("distributed-executor-backend", "master-addr", "master-port", "max-num-batched-tokens"),
    *("gpu-memory-utilization", "block-size", "kv-cache-dtype", "swap-space", "cpu-offload-gb"),
    *("num-gpu-blocks-override", "additional-config", "kv-transfer-config", "compilation-config"),
    *("speculative-config", "hf-overrides", "load-format", "download-dir", "tokenizer-mode", "scheduling-policy"),
    *("max-loras", "max-cpu-loras", "lora-dtype", "uvicorn-log-level", "api-server-count", "max-logprobs"),
    *("chat-template-content-format", "tool-call-parser", "reasoning-parser", "limit-mm-per-prompt"),
    *("long-prefill-token-threshold", "max-parallel-loading-workers", "cudagraph-capture-sizes"),
)
_IGNORED_FLAGS = (
    *("enforce-eager", "trust-remote-code", "enable-expert-parallel", "async-scheduling", "enable-sleep-mode"),
    *("enable-chunked-prefill", "no-enable-chunked-prefill", "disable-log-requests", "enable-log-requests"),
    *("no-enable-log-requests", "disable-log-stats", "disable-uvicorn-access-log", "enable-auto-tool-choice"),
    *("disable-frontend-multiprocessing", "enable-prompt-tokens-details", "disable-hybrid-kv-cache-manager"),
)
_SHORT = {"tensor-parallel-size": "-tp", "pipeline-parallel-size": "-pp", "data-parallel-size": "-dp"}


@dataclass(frozen=True)
class VllmSettings:
    """What the command line says."""

    model: ModelSettings
    listen: Listen
    api_keys: tuple[str, ...]
    node_rank: int
    """Of this pod within its replica; others than 0 only keep alive."""
    grace: float
    """Seconds that running requests get to end after SIGTERM."""
    warnings: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise config_invalid("arguments", f"{message}; see `python -m ascend_runtime serve vllm --help`")


def parse_vllm(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> VllmSettings:
    """Read the arguments; raises CannotServe (ConfigInvalid) for unknown ones and wrong values."""
    options = _parser().parse_args([_dashed(word) for word in arguments])
    folder = options.model_tag or options.model
    if folder is None:
        raise config_invalid("arguments", "a model folder is wanted: vllm serve MODEL")
    keys = options.api_key or [environ[ENV_API_KEY]] if options.api_key or environ.get(ENV_API_KEY) else []
    if (options.ssl_certfile is None) != (options.ssl_keyfile is None):
        raise config_invalid("ssl-keyfile", "--ssl-certfile and --ssl-keyfile are wanted together")
    return VllmSettings(
        model=_model(options, folder),
        listen=Listen(options.host, options.port, options.ssl_certfile, options.ssl_keyfile),
        api_keys=tuple(keys),
        node_rank=max(options.node_rank, int(options.headless)),
        grace=options.shutdown_timeout,
        warnings=tuple(_warnings(options)),
    )


def _model(options: argparse.Namespace, folder: Path) -> ModelSettings:
    adapters = tuple(_adapter(text) for text in options.lora_modules)
    if adapters and not options.enable_lora:
        raise config_invalid("lora-modules", "--lora-modules wants --enable-lora")
    named = tuple(options.served_model_name or [str(folder)])
    twice = {adapter.name for adapter in adapters} & set(named)
    if twice or len({adapter.name for adapter in adapters}) < len(adapters):
        raise config_invalid("lora-modules", f"two models are called {next(iter(twice), 'the same')}")
    return ModelSettings(
        folder=folder,
        names=named,
        adapters=adapters,
        precision="q8_0" if options.quantization == "q8_0" else _PRECISIONS[options.dtype],
        max_length=options.max_model_len,
        max_requests=options.max_num_seqs,
        max_rank=options.max_lora_rank,
        prefix_caching=options.enable_prefix_caching,
        seed=options.seed,
        own_sampling=options.generation_config == "auto",
        chat_template=options.chat_template,
        cache_dir=options.cache_dir,
        threads=options.threads,
    )


def _adapter(text: str) -> Adapter:
    """Read name=path, or vLLM's JSON form {"name", "path"}."""
    try:
        if text.startswith("{"):
            entry = json.loads(text)
            return Adapter(entry["name"], Path(entry["path"]))
        name, path = text.split("=", 1)
    except (ValueError, KeyError, TypeError) as error:
        raise config_invalid("lora-modules", f"{text!r} is not name=path") from error
    return Adapter(name, Path(path))


def _warnings(options: argparse.Namespace) -> list[str]:
    given = [name for name in (*_IGNORED_VALUES, *_IGNORED_FLAGS) if getattr(options, name.replace("-", "_"))]
    found = []
    if given:
        found.append(f"without meaning on a CPU and ignored: {', '.join(f'--{name}' for name in sorted(given))}")
    if options.quantization == "ascend":
        found.append("--quantization ascend needs an NPU: the weights are served in full precision")
    return found


def _dashed(word: str) -> str:
    """Spell an option with dashes, as vLLM also takes underscores."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _positive(text: str) -> int:
    """Read a count; vLLM also takes 8k and 8K (1000 and 1024)."""
    factor = {"k": 1000, "K": 1024}.get(text[-1:], 0)
    value = int(text[:-1]) * factor if factor else int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m ascend_runtime serve vllm", allow_abbrev=False, description=__doc__)
    add: Any = parser.add_argument
    add("model_tag", nargs="?", type=Path, metavar="MODEL", help="folder with Hugging Face files")
    add("--model", type=Path, help="the same")
    add("--served-model-name", nargs="+", metavar="NAME", help="names for requests; default: the folder's path")
    add("--host", default="0.0.0.0", help="address to listen on (default %(default)s)")
    add("--port", type=_port, default=8000, help="default %(default)s")
    add("--max-model-len", type=_positive, metavar="TOKENS", help="prompt and answer; default: the model's own")
    add("--max-num-seqs", type=_positive, default=8, metavar="N", help="computed at once (default %(default)s)")
    add("--dtype", choices=sorted(_PRECISIONS), default="auto", help="of the weights; auto: as stored, bf16 as f16")
    add("--quantization", "-q", choices=("ascend", "q8_0"), help="q8_0: 8 bits; ascend: accepted, full precision")
    add("--seed", type=int, help="of requests that name none")
    add("--generation-config", choices=("auto", "vllm"), default="auto", help="auto: the model's sampling values")
    add("--chat-template", type=Path, metavar="FILE", help="in place of the model's")
    add("--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True, help="keep computed prompts")
    add("--enable-lora", action="store_true", help="serve adapters")
    add("--lora-modules", nargs="+", default=[], metavar="NAME=PATH", help="adapters and their model names")
    add("--max-lora-rank", type=_positive, default=16, metavar="N", help="default %(default)s")
    add("--api-key", nargs="+", metavar="KEY", help=f"wanted of requests; also {ENV_API_KEY}")
    add("--ssl-certfile", type=Path, metavar="FILE", help="with --ssl-keyfile: HTTPS")
    add("--ssl-keyfile", type=Path, metavar="FILE")
    add("--nnodes", type=_positive, default=1, metavar="N", help="pods of a replica")
    add("--node-rank", type=int, default=0, metavar="N", help="this pod's number; others than 0 only keep alive")
    add("--headless", action="store_true", help="keep alive without serving, as a pod beside the head")
    add("--shutdown-timeout", type=float, default=60.0, metavar="SECONDS", help="for running requests at the end")
    add("--cache-dir", type=Path, metavar="DIR", help="converted models; also ASCENDJOBS_SERVE_CACHE")
    add("--threads", type=_positive, metavar="N", help="that compute; default: one less than the CPU limit")
    for name in _IGNORED_VALUES:
        add(*([_SHORT[name]] if name in _SHORT else []), f"--{name}", help=argparse.SUPPRESS)
    for name in _IGNORED_FLAGS:
        add(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    return parser
