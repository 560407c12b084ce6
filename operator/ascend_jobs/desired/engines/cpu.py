"""The CPU engine: the arguments of vLLM, for kind, CI and small models. No NPU, no rank table."""

from __future__ import annotations

from ascend_jobs import names
from ascend_jobs.desired.engines.pod import GRACE_SECONDS, common_env
from ascend_jobs.desired.engines.shape import EngineInput, EngineParts
from ascend_jobs.desired.engines.vllm import METRICS, PORT, joined_nodes, server_fields, vllm_arguments_of


def cpu_parts(given: EngineInput) -> EngineParts:
    """Return how the CPU engine is started."""
    return EngineParts(
        container={
            "name": names.CONTAINER_SERVER,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "command": ["python", "-m", "ascend_runtime", "serve", "vllm"],
            "args": [*vllm_arguments_of(given), *(joined_nodes(given) if given.nodes > 1 else [])],
            "env": common_env(given),
            **server_fields(given),
        },
        port=PORT,
        metrics=METRICS,
        grace_seconds=GRACE_SECONDS,
    )
