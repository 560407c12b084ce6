"""vLLM's routes, bodies, events and metrics, against what was recorded of it; and its command line."""

from __future__ import annotations

import json
import urllib.request

import pytest
from ascend_runtime.serve.failures import CannotServe
from ascend_runtime.serve.vllm_arguments import parse_vllm
from runtime.serve.shape import differences, metric_kinds, read_shapes

SHAPES = read_shapes("vllm")
CHAT = {"model": "faq", "messages": [{"role": "user", "content": "Where?"}], "max_tokens": 3, "temperature": 0}
TEXT = {"model": "faq", "prompt": "Where?", "max_tokens": 3, "temperature": 0}


@pytest.mark.parametrize(
    ("shape", "path", "body", "status"),
    [
        pytest.param("chat", "/v1/chat/completions", CHAT, 200, id="chat"),
        pytest.param("completion", "/v1/completions", TEXT, 200, id="completion"),
        pytest.param("unknown_model", "/v1/completions", {**TEXT, "model": "other"}, 404, id="unknown-model"),
        pytest.param("too_long", "/v1/completions", {**TEXT, "prompt": "x " * 9000}, 400, id="too-long"),
        pytest.param("tokenize", "/tokenize", {"model": "faq", "prompt": "hi"}, 200, id="tokenize"),
        pytest.param("tokenize", "/tokenize", {"messages": CHAT["messages"]}, 200, id="tokenize-chat"),
        pytest.param("detokenize", "/detokenize", {"model": "faq", "tokens": [40, 41]}, 200, id="detokenize"),
    ],
)
def test_bodies(vllm, shape, path, body, status):
    found, answer = vllm.post(path, body)
    assert found == status
    assert differences(SHAPES[shape], answer) == []


@pytest.mark.parametrize(("shape", "path"), [("version", "/version"), ("load", "/load")])
def test_small_routes(vllm, shape, path):
    status, text = vllm.get(path)
    assert status == 200
    assert differences(SHAPES[shape], json.loads(text)) == []


def test_models(vllm):
    cards = json.loads(vllm.get("/v1/models")[1])
    cards["data"] = cards["data"][:2]  # the model; adapters have it as their parent
    assert differences(SHAPES["models"], cards) == []


def test_logprobs(vllm):
    chat = vllm.post("/v1/chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 2})[1]
    text = vllm.post("/v1/completions", {**TEXT, "logprobs": 2})[1]
    assert differences(SHAPES["chat_logprobs"], chat["choices"][0]["logprobs"]) == []
    assert differences(SHAPES["completion_logprobs"], text["choices"][0]["logprobs"]) == []


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_health_has_no_body(vllm, path):
    assert vllm.get(path) == (200, "")


def test_events(vllm):
    """Framing byte by byte: data lines, each with an empty line after it, [DONE] last."""
    body = json.dumps({**CHAT, "stream": True, "stream_options": {"include_usage": True}}).encode()
    with urllib.request.urlopen(f"{vllm.url}/v1/chat/completions", data=body) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        raw = answer.read().decode()
    *events, end = raw.split("\n\n")
    assert (events[-1], end) == ("data: [DONE]", "")
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    for shape, place in (("chat_first_chunk", 0), ("chat_last_chunk", -2), ("chat_usage_chunk", -1)):
        assert differences(SHAPES[shape], chunks[place]) == [], shape


def test_metric_names(vllm):
    text = vllm.get("/metrics")[1]
    assert metric_kinds(text, "vllm:") == {kind: set(found) for kind, found in SHAPES["metrics"].items()}
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all('engine="0"' in line and 'model_name="faq"' in line for line in samples)


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
