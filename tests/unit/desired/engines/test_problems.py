"""What an engine would refuse is said before any pod is made, with the field and what to do."""

import sys
from pathlib import Path

import pytest
from ascend_jobs.desired.engines.engine import engine_problems

sys.path.insert(0, str(Path(__file__).parent))
from engine_inputs import make_input


def args(**arguments):
    return {"engineArgs": {name.replace("_", "-"): value for name, value in arguments.items()}}


def keys(**arguments):
    return {"engineArgs": arguments}


ADAPTER = {"name": "a", "path": "/volumes/a"}

REFUSED = [
    # vLLM
    pytest.param(
        {"serving": args(max_num_batchd_tokens=1)}, ".max-num-batchd-tokens", "max-num-batched-tokens", id="near"
    ),
    pytest.param(
        {"serving": keys(maxNumBatchedTokens=1)}, ".maxNumBatchedTokens", "mean max-num-batched-tokens", id="camel"
    ),
    pytest.param({"serving": {"engineArgs": {"--seed": 1}}}, ".--seed", "did you mean seed", id="dashes"),
    pytest.param({"serving": args(max_model_len=1)}, ".max-model-len", "spec.serving.maxLength gives it", id="owned"),
    pytest.param({"serving": args(port=80)}, ".port", "always listens on 8000", id="port"),
    pytest.param({"serving": args(seed=True)}, ".seed", "give a number", id="number"),
    pytest.param({"serving": args(enforce_eager="yes")}, ".enforce-eager", "give true or false", id="flag"),
    pytest.param({"serving": args(additional_config=3)}, ".additional-config", "give an object", id="json"),
    pytest.param({"serving": args(middleware=[])}, ".middleware", "give a text or a list", id="empty-list"),
    pytest.param({"version": "0.11.0", "serving": args(nnodes=2)}, ".nnodes", "spec.nodes", id="nodes"),
    pytest.param(
        {"version": "0.11", "serving": args(attention_backend="x")}, ".attention-backend", "vLLM 0.11", id="old"
    ),
    pytest.param({"version": "0.32.0", "serving": args(swap_space=4)}, ".swap-space", "vLLM 0.32", id="gone"),
    pytest.param({"version": "newest"}, "spec.serving.engineVersion", "write it like 0.23.0", id="version"),
    pytest.param(
        {"npus": 4, "serving": {"parallelism": {"tensor": 3}}}, "spec.serving.parallelism", "= 3 NPUs", id="tensor"
    ),
    pytest.param({"npus": 3, "serving": args(data_parallel_size=2)}, "spec.serving.parallelism", "data 2", id="data"),
    pytest.param(
        {"nodes": 2, "npus": 8, "serving": args(data_parallel_size=2)},
        ".data-parallel-size",
        "replicas",
        id="data-nodes",
    ),
    pytest.param(
        {"nodes": 2, "version": "0.11", "serving": args(distributed_executor_backend="mp")},
        ".distributed-executor-backend",
        "by ray only",
        id="mp-too-old",
    ),
    pytest.param(
        {"nodes": 2, "serving": args(distributed_executor_backend="uni")},
        ".distributed-executor-backend",
        "mp or ray",
        id="executor",
    ),
    pytest.param({"quantization": "q8_0"}, "spec.model.quantization.method", "w8a8", id="q8-on-npu"),
    pytest.param(
        {"adapters": [{**ADAPTER, "name": "faq"}]},
        "spec.model.adapters[0].name",
        "name of the model",
        id="adapter-as-model",
    ),
    pytest.param(
        {"adapters": [ADAPTER, ADAPTER]}, "spec.model.adapters[1].name", "name of adapter 0", id="adapters-alike"
    ),
    # CPU
    pytest.param({"engine": "cpu", "quantization": "w8a8"}, "spec.model.quantization.method", "q8_0", id="w8a8-on-cpu"),
    pytest.param({"engine": "cpu", "serving": args(threds=1)}, ".threds", "no such option", id="cpu-unknown"),
    # MindIE
    pytest.param(
        {"engine": "mindie", "serving": keys(maxPrefilTokens=1)},
        ".maxPrefilTokens",
        "mean maxPrefillTokens",
        id="key-near",
    ),
    pytest.param(
        {"engine": "mindie", "serving": args(max_prefill_tokens=1)},
        ".max-prefill-tokens",
        "mean maxPrefillTokens",
        id="key-dashes",
    ),
    pytest.param(
        {"engine": "mindie", "serving": keys(ScheduleConfig={})}, ".ScheduleConfig", "without the section", id="section"
    ),
    pytest.param({"engine": "mindie", "serving": keys(worldSize=8)}, ".worldSize", "spec.npusPerNode", id="key-owned"),
    pytest.param(
        {"engine": "mindie", "version": "1.0.0", "serving": keys(tokenTimeout=5)},
        ".tokenTimeout",
        "MindIE 1.0.0",
        id="key-of-later",
    ),
    pytest.param({"engine": "mindie", "serving": keys(logLevel="Info")}, ".logLevel", "no such key", id="key-gone"),
    pytest.param(
        {"engine": "mindie", "serving": keys(tokenTimeout="600")}, ".tokenTimeout", "from 1 to 3600", id="key-kind"
    ),
    pytest.param(
        {"engine": "mindie", "serving": keys(tokenTimeout=True)}, ".tokenTimeout", "an integer", id="key-bool"
    ),
    pytest.param({"engine": "mindie", "serving": keys(npuMemSize=-2)}, ".npuMemSize", "from -1", id="key-range"),
    pytest.param({"engine": "mindie", "serving": keys(truncation=2)}, ".truncation", "-1, 0 or 1", id="truncation"),
    pytest.param(
        {"engine": "mindie", "serving": {"maxLength": 2048, **keys(maxInputTokenLen=2048)}},
        ".maxInputTokenLen",
        "below maxLength 2048",
        id="input",
    ),
    pytest.param(
        {"engine": "mindie", "serving": {"maxLength": 9000, **keys(maxPrefillTokens=4096)}},
        ".maxPrefillTokens",
        "at least maxInputTokenLen 8999",
        id="prefill",
    ),
    pytest.param(
        {"engine": "mindie", "serving": {"maxConcurrency": 8, **keys(maxPrefillBatchSize=9)}},
        ".maxPrefillBatchSize",
        "at most maxConcurrency 8",
        id="prefill-batch",
    ),
    pytest.param(
        {"engine": "mindie", "serving": {"maxLength": 512, **keys(maxIterTimes=513)}},
        ".maxIterTimes",
        "at most maxLength 512",
        id="iterations",
    ),
    pytest.param(
        {"engine": "mindie", "serving": keys(maxPreemptCount=1, cpuMemSize=0)}, ".cpuMemSize", "above 0", id="preempt"
    ),
    pytest.param(
        {"engine": "mindie", "serving": keys(cacheBlockSize=100)}, ".cacheBlockSize", "multiple of 16", id="block"
    ),
    pytest.param(
        {"engine": "mindie", "serving": {"maxConcurrency": 4, **keys(maxN=5)}},
        ".maxN",
        "at most maxConcurrency",
        id="beams",
    ),
    pytest.param(
        {"engine": "mindie", "served_name": "a/b"}, "spec.model.servedName", "no model name for MindIE", id="name"
    ),
    pytest.param(
        {"engine": "mindie", "adapters": [{**ADAPTER, "name": "a.b"}]},
        "spec.model.adapters[0].name",
        "no adapter name",
        id="adapter-name",
    ),
    pytest.param(
        {"engine": "mindie", "version": "1.0.0", "adapters": [ADAPTER]},
        "spec.model.adapters",
        "2.1 or later",
        id="adapters-too-old",
    ),
    pytest.param(
        {"engine": "mindie", "quantization": "w8a8", "adapters": [ADAPTER]},
        "spec.model.adapters",
        "quantized",
        id="adapters-quantized",
    ),
    pytest.param(
        {"engine": "mindie", "npus": 4, "serving": {"parallelism": {"tensor": 2}}},
        ".parallelism.tensor",
        "= 2 NPUs",
        id="mindie-tensor",
    ),
    pytest.param(
        {"engine": "mindie", "npus": 4, "serving": {"parallelism": {"pipeline": 2}}},
        ".parallelism.pipeline",
        "no pipeline",
        id="mindie-pipeline",
    ),
    pytest.param({"engine": "mindie", "npus": 4, "serving": keys(moe_tp=2, moe_ep=4)}, ".moe_ep", "is 8", id="experts"),
    pytest.param({"engine": "mindie", "version": "RC1"}, "spec.serving.engineVersion", "2.1.RC1", id="mindie-version"),
    # Custom
    pytest.param({"engine": "custom"}, "spec.serving.command", "is missing", id="command"),
    pytest.param({"engine": "custom", "nodes": 2}, "spec.nodes", "one pod", id="custom-nodes"),
    pytest.param({"engine": "custom", "serving": keys(x=1)}, ".x", "spec.serving.command", id="custom-arguments"),
    pytest.param(
        {"engine": "custom", "adapters": [ADAPTER]}, "spec.model.adapters", "spec.serving.command", id="custom-adapters"
    ),
]


@pytest.mark.parametrize(("given", "field", "words"), REFUSED)
def test_refused(given, field, words):
    found = engine_problems(make_input(**given))
    assert any(path.endswith(field) and words in text for path, text in found), found


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"version": "0.15.1", "serving": args(swap_space=4, moe_backend="x")}, id="between-two-releases"),
        pytest.param({"version": "0.9.2", "serving": args(swap_space=4)}, id="older-than-the-table"),
        pytest.param({"version": "1.7", "serving": args(dp_sync_interval=4)}, id="newer-than-the-table"),
        pytest.param({"serving": args(max_num_batched_tokens="16k")}, id="short-number"),
        pytest.param(
            {"npus": 4, "serving": args(data_parallel_size=2, enable_expert_parallel=True)}, id="copies-in-a-pod"
        ),
        pytest.param({"nodes": 2, "npus": 8, "version": "0.11.0"}, id="ray"),
        pytest.param({"engine": "cpu", "npus": 2, "nodes": 2}, id="cpu-nodes"),
        pytest.param({"engine": "cpu", "serving": args(threads=2, cache_dir="/cache")}, id="cpu-options"),
        pytest.param({"engine": "mindie", "serving": keys(truncation=True)}, id="truncation-as-bool"),
        pytest.param({"engine": "mindie", "serving": {"maxLength": 131072}}, id="long"),
        pytest.param({"engine": "mindie", "serving": {"maxConcurrency": 10_000}}, id="many"),
        pytest.param({"engine": "mindie", "serving": {"maxLength": 16, "maxConcurrency": 1}}, id="smallest"),
        pytest.param({"engine": "mindie", "version": "2.2.RC1", "nodes": 2, "npus": 8}, id="mindie-nodes"),
    ],
)
def test_accepted(given):
    assert engine_problems(make_input(**given)) == ()
