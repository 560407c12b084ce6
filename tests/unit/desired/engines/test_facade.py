"""The CPU engine takes what the operator gives to it and to vLLM: its own parser reads the generated arguments."""

import sys
from pathlib import Path

import pytest
from ascend_jobs.desired.engines.engine import engine_parts
from ascend_runtime.serve.vllm_arguments import parse_vllm

sys.path.insert(0, str(Path(__file__).parent))
from engine_inputs import make_input

ADAPTERS = [{"name": "a", "path": "/volumes/a", "rank": 8}, {"name": "b", "path": "/volumes/b"}]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"engine": "cpu"}, id="cpu"),
        pytest.param({"engine": "cpu", "nodes": 2, "adapters": ADAPTERS, "quantization": "q8_0"}, id="cpu-nodes"),
        pytest.param({"npus": 8, "adapters": ADAPTERS, "quantization": "w8a8"}, id="vllm"),
        pytest.param({"npus": 8, "nodes": 2}, id="vllm-nodes"),
    ],
)
def test_arguments_are_read(given):
    parts = engine_parts(make_input(**given))
    arguments = [a.replace("$(NODE_RANK)", "1") for a in parts.container["args"] if a not in ("vllm", "serve")]
    settings = parse_vllm(arguments, {})
    assert settings.model.names == ("faq",)
    assert settings.listen.port == parts.port
    assert settings.node_rank == (1 if given.get("nodes", 1) > 1 else 0)
    assert [adapter.name for adapter in settings.model.adapters] == [a["name"] for a in given.get("adapters", [])]
