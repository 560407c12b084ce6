"""Fixtures: small models, an adapter, and one vLLM facade for all tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from runtime.serve.models import write_lora, write_network, write_served
from runtime.serve.servers import Server, serving_vllm


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="session")
def model(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("llama"), toy)


@pytest.fixture(scope="session")
def adapter(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lora(tmp_path_factory.mktemp("adapter"), model)


@pytest.fixture(scope="session")
def adapter_2(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of other modules, ranks and scaling than the first."""
    changes = {"target_modules": ["q_proj", "k_proj", "down_proj"], "rank_pattern": {"k_proj": 2}}
    changes |= {"alpha_pattern": {"down_proj": 3}, "use_rslora": True}
    return write_lora(tmp_path_factory.mktemp("adapter-2"), model, **changes)


@pytest.fixture(scope="session")
def vllm(
    model: Path, adapter: Path, adapter_2: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    words = [
        "--served-model-name",
        "faq",
        "faq-2",
        "--enable-lora",
        "--lora-modules",
        f"tuned={adapter}",
        f"tuned-2={adapter_2}",
    ]
    words += ["--tensor-parallel-size", "2", "--enforce-eager", "--max-num-seqs", "4", "--cache-dir", str(cache)]
    with serving_vllm(tmp_path_factory.mktemp("vllm"), str(model), *words) as server:
        yield server


@pytest.fixture(scope="session")
def recorded(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The CPU engine as vLLM was when its exchanges were recorded (hack/check_vllm.py)."""
    folder = tmp_path_factory.mktemp("recorded")
    write_served(folder)
    words = ["--served-model-name", "faq", "--max-model-len", "8192", "--max-num-seqs", "2", "--dtype", "float32"]
    words += ["--enable-lora", "--lora-modules", f"tuned={folder / 'adapter'}", "--cache-dir", str(cache)]
    with serving_vllm(tmp_path_factory.mktemp("vllm"), str(folder / "model"), *words) as server:
        yield server


@pytest.fixture(scope="session")
def client(vllm: Server) -> OpenAI:
    return OpenAI(base_url=f"{vllm.url}/v1", api_key="none", max_retries=0)
