"""vLLM's routes, bodies, events and metrics, against what was recorded of it; and its command line."""

from __future__ import annotations

import json
import urllib.request

import pytest
from ascend_runtime.serve.failures import CannotServe
from ascend_runtime.serve.vllm_arguments import parse_vllm
from runtime.serve.exchanges import REQUESTS, ask, differences
from runtime.serve.families import families
from runtime.serve.servers import serving_vllm
from runtime.serve.shape import read_shapes

RECORDED = read_shapes("vllm")
TEXT = {"model": "faq", "prompt": "Where?", "max_tokens": 3, "temperature": 0}
OTHERWISE = {
    "text, echo scored": ("prompt_logprobs",),  # with each token's rank among all, which llama.cpp does not tell
    "text, echo and one token scored": ("prompt_logprobs",),
    "prompt too long": ("message",),  # vLLM stops to tokenise at the length and says "at least"
    "chat too long": ("message",),
    "full prompt": ("message",),
    "end ignored": ("text",),  # llama.cpp makes the end impossible, vLLM goes past it
    "no object": ("status", "type", "code", "message"),  # 500 is a fault of 0.23; 0.32 answers as we do
}
"""Fields that differ from vLLM's on purpose, and why."""


def _expected(name: str, line: str) -> bool:
    return any(f".{field} is " in line for field in OTHERWISE.get(name, ()))


@pytest.mark.parametrize("name", RECORDED["exchanges"])
def test_exchanges(recorded, name):
    """What vLLM answered, word by word: texts, counts, log-probabilities, events, errors."""
    lines = differences(RECORDED["exchanges"][name], ask(recorded.url, *REQUESTS[name]))
    assert [line for line in lines if not _expected(name, line)] == []
    assert bool(lines) == (name in OTHERWISE)


def test_all_requests_are_recorded():
    assert list(RECORDED["exchanges"]) == list(REQUESTS)


def test_without_a_key(model, cache, tmp_path):
    with serving_vllm(tmp_path, str(model), "--api-key", "one", "--cache-dir", str(cache)) as server:
        found = {name: ask(server.url, *REQUESTS[name]) for name in ("models", "chat", "text", "health", "version")}
    assert found == {name: RECORDED["without a key"][name] for name in found}


def test_events(vllm):
    """Framing byte by byte: data lines, each with an empty line after it, [DONE] last."""
    body = json.dumps({**TEXT, "stream": True, "stream_options": {"include_usage": True}}).encode()
    with urllib.request.urlopen(f"{vllm.url}/v1/completions", data=body) as answer:
        raw = answer.read().decode()
    *events, end = raw.split("\n\n")
    assert (events[-1], end) == ("data: [DONE]", "")
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_metrics(recorded):
    """Those that we have are vLLM's, with their types, labels and buckets."""
    ours = families(recorded.get("/metrics")[1], "vllm:")
    assert {name: RECORDED["metrics"].get(name) for name in ours} == ours


def test_what_is_counted(vllm):
    names = ("prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_count")
    names += ("inter_token_latency_seconds_count", "request_time_per_output_token_seconds_count")
    names += ("e2e_request_latency_seconds_count", "request_generation_tokens_sum", "request_success_total")
    before = [vllm.metric(f"vllm:{name}") for name in names]
    usage = vllm.post("/v1/completions", {**TEXT, "max_tokens": 5})[1]["usage"]
    after = [vllm.metric(f"vllm:{name}") for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [usage["prompt_tokens"], 5, 1, 4, 1, 1, 5, 1]


def test_prefix_cache_is_counted(vllm):
    prompt = "Where is the yellow volume, behind the blue queue? " * 4
    for _ in range(2):
        vllm.post("/v1/completions", {**TEXT, "prompt": prompt})
    hits = vllm.metric("vllm:prefix_cache_hits_total")
    assert 0 < hits < vllm.metric("vllm:prefix_cache_queries_total")


def test_warnings_are_said_once(vllm):
    said = [event["message"] for event in vllm.events("warning")]
    assert said == ["without meaning on a CPU and ignored: --enforce-eager, --tensor-parallel-size"]


def parsed(*words: str, **environ: str):
    return parse_vllm(["/m", *words], environ)


@pytest.mark.parametrize(
    ("words", "part", "value"),
    [
        pytest.param(("--served-model-name", "a", "b"), "names", ("a", "b"), id="names"),
        pytest.param((), "names", ("/m",), id="name-is-the-path"),
        pytest.param(("--max-model-len=4k",), "max_length", 4000, id="thousands"),
        pytest.param(("--max_model_len", "4K"), "max_length", 4096, id="underscores"),
        pytest.param(("--dtype", "bfloat16"), "precision", "bf16", id="dtype"),
        pytest.param(("--quantization", "q8_0"), "precision", "q8_0", id="q8"),
        pytest.param(("-q", "ascend"), "precision", "auto", id="ascend"),
        pytest.param(("--no-enable-prefix-caching",), "prefix_caching", False, id="no-prefix-caching"),
    ],
)
def test_arguments(words, part, value):
    assert getattr(parsed(*words).model, part) == value


def test_adapters_in_both_spellings():
    words = ("--enable-lora", "--lora-modules", "a=/x", '{"name": "b", "path": "/y", "base_model_name": "m"}')
    assert [(a.name, str(a.folder)) for a in parsed(*words).model.adapters] == [("a", "/x"), ("b", "/y")]


def test_all_that_the_operator_may_say():
    """Arguments for NPUs (facts of vLLM-Ascend v0.23) are accepted and named in one warning."""
    words = "-tp 4 --pipeline-parallel-size 2 --data-parallel-size 1 --gpu-memory-utilization 0.9 --trust-remote-code"
    words += " --enable-expert-parallel --max-num-batched-tokens 8192 --additional-config {} --kv-transfer-config {}"
    words += " --distributed-executor-backend ray --max-loras 4 --enforce-eager --quantization ascend"
    first, second = parsed(*words.split()).warnings
    assert first.count("--") == 12
    assert "full precision" in second


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(("--tensor-parallel",), "unrecognized arguments", id="no-abbreviations"),
        pytest.param(("--port", "http"), "--port", id="port"),
        pytest.param(("--max-num-seqs", "0"), "--max-num-seqs", id="zero"),
        pytest.param(("--quantization", "awq"), "invalid choice", id="quantization"),
        pytest.param(("--lora-modules", "a=/x"), "wants --enable-lora", id="lora-off"),
        pytest.param(("--enable-lora", "--lora-modules", "a"), "not name=path", id="lora-form"),
        pytest.param(("--enable-lora", "--lora-modules", "a=/x", "a=/y"), "two models", id="lora-twice"),
        pytest.param(("--enable-lora", "--lora-modules", "/m=/x"), "two models are called /m", id="lora-as-model"),
        pytest.param(("--ssl-certfile", "c"), "wanted together", id="certificate-alone"),
    ],
)
def test_wrong_arguments(words, complaint):
    with pytest.raises(CannotServe) as caught:
        parsed(*words)
    assert complaint in str(caught.value)
    assert caught.value.message["reason"] == "ConfigInvalid"


def test_keys():
    assert parsed("--api-key", "a", "b", VLLM_API_KEY="c").api_keys == ("a", "b")
    assert parsed(VLLM_API_KEY="c").api_keys == ("c",)
    assert parsed().api_keys == ()


@pytest.mark.parametrize(("words", "rank"), [((), 0), (("--node-rank", "1", "--nnodes", "2"), 1), (("--headless",), 1)])
def test_node_rank(words, rank):
    assert parsed(*words).node_rank == rank
