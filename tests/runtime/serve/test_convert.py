"""Hugging Face folders -> GGUF: the engine answers as transformers does, or says in words what it refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from ascend_runtime.errors import InvalidInput
from ascend_runtime.serve.convert.cache import cached, content_digest
from ascend_runtime.serve.core import Wanted
from ascend_runtime.serve.engine import Piece
from ascend_runtime.serve.failures import CannotServe
from ascend_runtime.serve.loading import _prepare, loaded
from ascend_runtime.serve.settings import Adapter, ModelSettings
from ascend_runtime.serve.vllm_metrics import VllmMetrics
from runtime.serve.models import LLAMA3, greedy, write_lora, write_network

PROMPT = list(range(20, 60))


def settings(folder: Path, cache: Path, **changes: object) -> ModelSettings:
    return ModelSettings(
        folder, ("m",), **{"cache_dir": cache, "threads": 1, "max_requests": 1, "max_length": 256, **changes}
    )


def answer(wanted: ModelSettings, tokens: list[int], count: int, adapter: int | None = None) -> list[int]:
    """Return what the engine answers greedily, token by token, beyond end tokens too."""

    async def ask() -> list[int]:
        async with loaded(wanted, VllmMetrics("m")) as core:
            options = {"temperature": 0, "ignore_eos": True}
            pieces = [p async for p in core.generate(Wanted(tokens, count, options, adapter, in_pieces=False))]
        return list(pieces[-1].tokens)

    return asyncio.run(ask())


def without_end(tokens: list[int], end: int = 0) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        pytest.param("Llama", {"tie_word_embeddings": False}, id="own-output-matrix"),
        pytest.param("Llama", {"num_key_value_heads": 4, "head_dim": 24}, id="head-of-another-width"),
        pytest.param("Llama", {"attention_bias": True, "mlp_bias": True}, id="biases"),
        pytest.param("Llama", {"rope_parameters": LLAMA3}, id="llama3-rope"),
        pytest.param(
            "Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}, id="linear"
        ),
        pytest.param("Qwen2", {}, id="qwen2"),
        pytest.param("Llama", {"dtype": "bfloat16"}, id="bf16-as-f16"),
        pytest.param("Llama", {"dtype": "float16"}, id="f16"),
    ],
)
def test_answers_are_those_of_transformers(tmp_path, toy, kind, changes):
    model = write_network(tmp_path / "model", toy, kind, **changes)
    count = 8 if "dtype" in changes else 16  # a random network's choices are close: half precision tips one in time
    wanted = without_end(greedy(model, PROMPT, count))
    assert answer(settings(model, tmp_path / "cache"), PROMPT, count)[: len(wanted)] == wanted


def test_shards_and_toy(tmp_path, toy):
    """The toy has rows for tokens that its tokenizer does not know; here its weights come in several files."""
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(toy / "model")
    network.save_pretrained(tmp_path / "model", max_shard_size="100KB")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(toy / "model" / file, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors.index.json").exists()
    assert answer(settings(tmp_path / "model", tmp_path), PROMPT, 8) == greedy(toy / "model", PROMPT, 8)


@pytest.mark.parametrize(("precision", "least"), [("q8_0", 0.25), ("f16", 0.45), ("bf16", 0.45)])
def test_lower_precision_is_smaller_and_answers_alike(tmp_path, model, precision, least):
    wanted = settings(model, tmp_path / "cache", precision=precision)
    full = _prepare(settings(model, tmp_path / "cache"))[0].model.stat().st_size
    assert least < _prepare(wanted)[0].model.stat().st_size / full < least + 0.3
    assert answer(wanted, PROMPT, 1) == greedy(model, PROMPT, 1)


def test_adapter(tmp_path, model, adapter):
    found = answer(settings(model, tmp_path, adapters=(Adapter("a", adapter),)), PROMPT, 12, adapter=0)
    wanted = without_end(greedy(model, PROMPT, 12, adapter))
    assert wanted != greedy(model, PROMPT, len(wanted))
    assert found[: len(wanted)] == wanted


@pytest.mark.parametrize("in_pieces", [True, False])
def test_half_characters(toy, tmp_path, in_pieces):
    """Text is held back until a character is whole; tokens count all the same, and all are scored at the end."""

    async def ask() -> list[Piece]:
        async with loaded(settings(toy / "model", tmp_path), VllmMetrics("m")) as core:
            options = {"temperature": 0, "json_schema": {"enum": ["你好"]}}
            wanted = Wanted(PROMPT, 40, options, logprobs=0, in_pieces=in_pieces)
            return [piece async for piece in core.generate(wanted)]

    pieces = asyncio.run(ask())
    assert "".join(piece.text for piece in pieces) == '"你好"'
    assert pieces[-1].generated == 9, "quotes, six bytes, the end"
    if not in_pieces:
        spelled = b"".join(score.raw for score in pieces[0].scores)
        assert spelled.decode() == '"你好"'


def test_second_start_converts_nothing(tmp_path, model, monkeypatch):
    wanted = settings(model, tmp_path / "cache")
    first = _prepare(wanted)[0].model
    monkeypatch.setattr("ascend_runtime.serve.loading.write_model", None)
    assert _prepare(wanted)[0].model == first


def test_cache_is_by_content(tmp_path):
    (tmp_path / "a").write_text("1")
    one = content_digest(tmp_path, ("a", "absent"), "f16")
    assert one == content_digest(tmp_path, ("absent", "a"), "f16")
    assert one != content_digest(tmp_path, ("a",), "f32")
    (tmp_path / "a").write_text("2")
    assert one != content_digest(tmp_path, ("a",), "f16")


def test_cut_conversion_is_made_anew(tmp_path):
    target = cached(tmp_path, "d" * 64, lambda path: path.write_bytes(b"whole"))
    target.write_bytes(b"cut")
    target.write_bytes(b"wh")
    assert cached(tmp_path, "d" * 64, lambda path: path.write_bytes(b"whole")).read_bytes() == b"whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["d" * 32], "nothing is left beside it"


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotServe, match="cannot be written"):
        cached(tmp_path / "file", "d" * 64, lambda path: path.write_bytes(b""))


def change_json(path: Path, **changes: object) -> None:
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in document.items() if value != "absent"}))


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda f: (f / "config.json").unlink(), "config.json is missing", id="no-config"),
        pytest.param(lambda f: (f / "tokenizer.json").write_text("{"), "tokenizer.json cannot be read", id="tokenizer"),
        pytest.param(
            lambda f: change_json(f / "config.json", architectures=["GPT2LMHeadModel"]), "GPT2LMHeadModel", id="gpt2"
        ),
        pytest.param(
            lambda f: change_json(f / "config.json", hidden_size="absent"), "'hidden_size' is missing", id="no-size"
        ),
        pytest.param(
            lambda f: change_json(f / "config.json", num_hidden_layers=3), "blk.2.attn_q.weight is None", id="layers"
        ),
        pytest.param(
            lambda f: change_json(f / "config.json", num_hidden_layers=1), "does not belong", id="fewer-layers"
        ),
        pytest.param(
            lambda f: change_json(f / "config.json", intermediate_size=64),
            "is (64, 128), config.json says (64, 64)",
            id="shape",
        ),
        pytest.param(
            lambda f: change_json(f / "config.json", rope_parameters={"rope_type": "yarn"}), "yarn", id="rope"
        ),
        pytest.param(
            lambda f: change_json(f / "tokenizer.json", model={"type": "Unigram"}), "tokenizer.json", id="unigram"
        ),
        pytest.param(lambda f: (f / "model.safetensors").unlink(), "weights are missing", id="no-weights"),
        pytest.param(cut, "cut short", id="cut"),
        pytest.param(lambda f: (f / "model.safetensors").write_bytes(b"x" * 50), "no safetensors file", id="garbage"),
        pytest.param(lambda f: shutil.rmtree(f), "is no folder", id="no-folder"),
        pytest.param(lambda f: (f / "chat_template.jinja").write_text("{% if"), "chat template", id="template"),
    ],
)
def test_bad_models_are_refused_in_words(tmp_path, model, spoil, words):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    spoil(folder)
    with pytest.raises((CannotServe, InvalidInput)) as caught:
        _prepare(settings(folder, tmp_path / "cache"))
    assert words in str(caught.value)
    reason = caught.value.message["reason"] if isinstance(caught.value, CannotServe) else caught.value.reason
    assert reason == "ModelInvalid"


def test_length_beyond_the_model(tmp_path, model):
    with pytest.raises(CannotServe, match="more than the model was made for") as caught:
        _prepare(settings(model, tmp_path, max_length=9000))
    assert caught.value.message["field"] == "max-model-len"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda f: (f / "adapter_config.json").unlink(), "no peft adapter", id="no-config"),
        pytest.param(lambda f: change_json(f / "adapter_config.json", peft_type="IA3"), "only LORA", id="other-kind"),
        pytest.param(lambda f: change_json(f / "adapter_config.json", use_dora=True), "use_dora", id="dora"),
        pytest.param(
            lambda f: change_json(f / "adapter_config.json", modules_to_save=["lm_head"]), "modules_to_save", id="saved"
        ),
        pytest.param(
            lambda f: change_json(f / "adapter_config.json", r=64),
            "rank 64 of a is greater than max_lora_rank 16",
            id="rank",
        ),
    ],
)
def test_bad_adapters_are_refused_in_words(tmp_path, model, adapter, spoil, words):
    shutil.copytree(adapter, tmp_path / "adapter")
    spoil(tmp_path / "adapter")
    refused(model, tmp_path, words)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        pytest.param("Llama", {"hidden_size": 32}, "it is made for another", id="width"),
        pytest.param("Llama", {"num_hidden_layers": 3}, "layers.2", id="depth"),
        pytest.param("GPTNeoX", {}, "the base model has not", id="architecture"),
    ],
)
def test_adapter_of_another_base(tmp_path, toy, model, kind, changes, words):
    other = write_network(tmp_path / "other", toy, kind, **changes)
    write_lora(tmp_path / "adapter", other)
    refused(model, tmp_path, words)


def refused(model: Path, folder: Path, words: str) -> None:
    with pytest.raises(CannotServe) as caught:
        _prepare(settings(model, folder / "cache", adapters=(Adapter("a", folder / "adapter"),)))
    assert words in str(caught.value)
    assert caught.value.message["reason"] == "AdapterInvalid"
    assert caught.value.message["field"] == "lora-modules.a"
    assert caught.value.code == 65
