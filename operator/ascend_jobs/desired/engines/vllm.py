"""vLLM: `vllm serve` with vLLM-Ascend on NPUs, and the same arguments for the CPU engine.

Sources: vLLM-Ascend's documentation (tutorials/features/ray.md, user_guide/feature_guide/pipeline_parallel.md and
lora.md, August 2026); options by release in domain/vllm_arguments.csv.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice import Engine, QuantizationMethod
from ascend_jobs.desired.engines.arguments import argument_problems, rendered
from ascend_jobs.desired.engines.pod import (
    GRACE_SECONDS,
    HEALTH,
    common_env,
    device_security,
    from_pod,
    group_env,
    idle,
    literal,
    ports,
    pre_stop,
    probes,
    value,
    with_set_env,
)
from ascend_jobs.desired.engines.shape import EngineInput, EngineParts, MetricsSource, Problem
from ascend_jobs.domain.engines import VLLM_ASCEND_NEWEST, VLLM_NEWEST, Release, release, vllm_arguments

PORT = 8000
METRICS = MetricsSource(
    PORT, "/metrics", "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"
)
_RAY_PORT = 6379
_WITHOUT_RAY: Release = (0, 23)
"""First release whose vLLM-Ascend documents several nodes without Ray (--nnodes, backend mp)."""
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 512)
"""Ranks that --max-lora-rank takes in all releases; vLLM's default is 16."""
_MAX_LORAS = 8
"""Adapters in one batch at most; each takes memory of the NPU even when it is not asked for."""
_OF_CPU = {"threads": "number", "cache-dir": "text"}
"""Options of the CPU engine beside vLLM's (python -m ascend_runtime serve vllm --help)."""
_OWN = {
    "model": "spec.model gives it",
    "served-model-name": "spec.model.servedName gives it",
    "host": "the server listens on the pod's addresses",
    "port": "the server always listens on 8000",
    "uds": "the server listens on port 8000",
    "tensor-parallel-size": "spec.serving.parallelism.tensor gives it",
    "pipeline-parallel-size": "spec.serving.parallelism.pipeline gives it",
    "max-model-len": "spec.serving.maxLength gives it",
    "max-num-seqs": "spec.serving.maxConcurrency gives it",
    "quantization": "spec.model.quantization gives it",
    "enable-lora": "spec.model.adapters gives it",
    "lora-modules": "spec.model.adapters gives it",
    "api-key": "spec.access.apiKeysSecretRef gives it",
    "ssl-keyfile": "spec.access.tlsSecretRef gives it",
    "ssl-certfile": "spec.access.tlsSecretRef gives it",
    "ssl-ca-certs": "spec.access.tlsSecretRef gives it",
    "ssl-cert-reqs": "spec.access.tlsSecretRef gives it",
    "enable-ssl-refresh": "spec.access.tlsSecretRef gives it",
    "nnodes": "spec.nodes gives it",
    "node-rank": "each pod gets its own",
    "master-addr": "each pod gets it",
    "master-port": "each pod gets it",
    "headless": "the pods behind the first one get it",
    "data-parallel-address": "copies of the model are replicas: set spec.scaling",
    "data-parallel-rank": "copies of the model are replicas: set spec.scaling",
    "data-parallel-rpc-port": "copies of the model are replicas: set spec.scaling",
    "data-parallel-size-local": "copies of the model are replicas: set spec.scaling",
    "data-parallel-start-rank": "copies of the model are replicas: set spec.scaling",
    "data-parallel-external-lb": "copies of the model are replicas: set spec.scaling",
    "data-parallel-hybrid-lb": "copies of the model are replicas: set spec.scaling",
    "data-parallel-multi-port-external-lb": "copies of the model are replicas: set spec.scaling",
    "data-parallel-supervisor-port": "copies of the model are replicas: set spec.scaling",
    "config": "write its settings into spec.serving.engineArgs",
    "grpc": "clients, probes and scaling speak HTTP",
    "tokens-only": "clients and probes need the OpenAI API",
    "disable-log-stats": "scaling and status read the metrics that it takes away",
}
"""Options that may not be given again, and who sets them."""


def vllm_parts(given: EngineInput) -> EngineParts:
    """Return how vLLM-Ascend is started."""
    env = [*common_env(given), *group_env(given), value("OMP_PROC_BIND", "false")]
    return EngineParts(
        container={
            "name": names.CONTAINER_SERVER,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **_started(given, env),
            "env": env,
            **server_fields(given),
        },
        port=PORT,
        metrics=METRICS,
        pod_security=device_security(),
        grace_seconds=GRACE_SECONDS,
        needs_rank_table=given.nodes > 1,
    )


def server_fields(given: EngineInput) -> dict[str, Any]:
    """Return the container's ports, probes and end: the same for vLLM and for what speaks like it."""
    head = "$MASTER_ADDR" if given.nodes > 1 else "127.0.0.1"
    return {
        "ports": ports(http=PORT),
        **probes(given, PORT, ready=HEALTH, alive=HEALTH),
        "lifecycle": pre_stop(idle(head, METRICS)),
        "volumeMounts": [],
    }


def vllm_arguments_of(given: EngineInput) -> list[str]:
    """Return the arguments behind `vllm serve`, the user's own last."""
    serving = given.serving
    tensor, pipeline = parallelism(given)
    found = [
        literal(given.model_path),
        "--served-model-name",
        given.served_name,
        "--host",
        "0.0.0.0",
        "--port",
        str(PORT),
    ]
    found += ["--tensor-parallel-size", str(tensor)]
    if pipeline > 1:
        found += ["--pipeline-parallel-size", str(pipeline)]
    found += ["--max-model-len", str(serving.max_length), "--max-num-seqs", str(serving.max_concurrency)]
    found += _quantization(given)
    found += _adapters(given)
    return found + rendered(serving.engine_args, _known(given, _release(given)))


def vllm_problems(given: EngineInput) -> Iterator[Problem]:
    """Yield what vLLM would refuse."""
    wanted = release(given.version, newest(given.engine))
    if wanted is None:
        yield "spec.serving.engineVersion", f"{given.version} is no version of vLLM; write it like 0.23.0"
        return
    name = f"vLLM {wanted[0]}.{wanted[1]}"
    yield from argument_problems(given.serving.engine_args, _known(given, wanted), _OWN, name)
    if given.engine is Engine.VLLM_ASCEND:
        yield from _parallel_problems(given)
        yield from _executor_problems(given, wanted)
    yield from _quantization_problems(given)


def newest(engine: Engine) -> Release:
    """Return the release that is taken when the spec names none."""
    return VLLM_ASCEND_NEWEST if engine is Engine.VLLM_ASCEND else VLLM_NEWEST


def parallelism(given: EngineInput) -> tuple[int, int]:
    """Return (tensor, pipeline): pipeline is one stage a node unless given, tensor what it and copies leave."""
    asked = given.serving.parallelism
    pipeline = asked.pipeline or given.nodes
    share = pipeline * _copies(given.serving.engine_args)
    return asked.tensor or max(1, given.nodes * given.npus // share), pipeline


def _copies(arguments: Mapping[str, Any]) -> int:
    """Return --data-parallel-size (copies inside one pod, for mixture-of-experts models)."""
    size = arguments.get("data-parallel-size", 1)
    return size if isinstance(size, int) and size > 0 else 1


def _release(given: EngineInput) -> Release:
    return release(given.version, newest(given.engine)) or newest(given.engine)


def _known(given: EngineInput, wanted: Release) -> Mapping[str, str]:
    known = vllm_arguments(wanted)
    return {**known, **_OF_CPU} if given.engine is Engine.CPU else known


def _quantization(given: EngineInput) -> list[str]:
    if given.quantization is None:
        return []
    return ["--quantization", "ascend" if given.quantization is QuantizationMethod.W8A8 else given.quantization.value]


def _adapters(given: EngineInput) -> list[str]:
    if not given.adapters:
        return []
    found = ["--enable-lora"]
    asked = given.serving.engine_args
    highest = max((adapter.rank or 0 for adapter in given.adapters), default=0)
    rank = next((r for r in _LORA_RANKS if r >= highest), _LORA_RANKS[-1])
    if highest > 0 and "max-lora-rank" not in asked:
        found += ["--max-lora-rank", str(rank)]
    if "max-loras" not in asked:
        found += ["--max-loras", str(min(len(given.adapters), _MAX_LORAS))]
    return [*found, "--lora-modules", *(f"{adapter.name}={literal(adapter.path)}" for adapter in given.adapters)]


def _started(given: EngineInput, env: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return command and args; adds to env what the way over several nodes needs."""
    program = ["vllm", "serve", *vllm_arguments_of(given)]
    if given.nodes == 1:
        return with_set_env(program)
    env += [value("HCCL_CONNECT_TIMEOUT", "1800"), from_pod("VLLM_HOST_IP", "status.podIP")]
    if _executor(given) == "mp":
        program += [*joined_nodes(given), *_unless_given(given, "mp")]
        return with_set_env(program, 'if [ "$NODE_RANK" != 0 ]; then set -- "$@" --headless; fi')
    env.append(value("RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES", "1"))
    address = f"{given.head}:{_RAY_PORT}"
    join = f'exec ray start --block --address={address} --node-ip-address="$POD_IP"'
    others = f'if [ "$NODE_RANK" != 0 ]; then until ray health-check --address {address}; do sleep 2; done; {join}; fi'
    lead = f'ray start --head --port={_RAY_PORT} --node-ip-address="$POD_IP" --disable-usage-stats'
    return with_set_env([*program, *_unless_given(given, "ray")], f"{others}; {lead}")


def joined_nodes(given: EngineInput) -> list[str]:
    """Return the arguments by which pods of one replica find each other without Ray; each adds its own number."""
    group = ["--nnodes", str(given.nodes), "--node-rank", "$(NODE_RANK)"]
    return [*group, "--master-addr", given.head, "--master-port", str(names.MASTER_PORT)]


def _executor(given: EngineInput) -> str:
    """Return who joins the nodes: what the spec says, else mp where the release documents it, else ray."""
    asked = given.serving.engine_args.get("distributed-executor-backend")
    return str(asked) if asked else "mp" if _release(given) >= _WITHOUT_RAY else "ray"


def _unless_given(given: EngineInput, backend: str) -> list[str]:
    if "distributed-executor-backend" in given.serving.engine_args:
        return []
    return ["--distributed-executor-backend", backend]


def _parallel_problems(given: EngineInput) -> Iterator[Problem]:
    tensor, pipeline = parallelism(given)
    copies, all_npus = _copies(given.serving.engine_args), given.nodes * given.npus
    if copies > 1 and given.nodes > 1:
        yield (
            "spec.serving.engineArgs.data-parallel-size",
            f"is {copies}; over several nodes copies are replicas: leave it out and set spec.scaling.minReplicas",
        )
    elif tensor * pipeline * copies != all_npus:
        product = f"tensor {tensor} x pipeline {pipeline}" + (f" x data {copies}" if copies > 1 else "")
        yield (
            "spec.serving.parallelism",
            f"{product} = {tensor * pipeline * copies} NPUs; a replica has nodes {given.nodes} x npusPerNode "
            f"{given.npus} = {all_npus}: leave parallelism out or make both the same",
        )


def _executor_problems(given: EngineInput, wanted: Release) -> Iterator[Problem]:
    if given.nodes == 1:
        return
    field, backend = "spec.serving.engineArgs.distributed-executor-backend", _executor(given)
    if backend not in ("mp", "ray"):
        yield field, f"is {backend}; over several nodes mp or ray"
    elif backend == "mp" and "nnodes" not in vllm_arguments(wanted):
        yield field, f"vLLM {wanted[0]}.{wanted[1]} joins several nodes by ray only"


def _quantization_problems(given: EngineInput) -> Iterator[Problem]:
    field = "spec.model.quantization.method"
    if given.quantization is QuantizationMethod.Q8_0 and given.engine is not Engine.CPU:
        yield field, "q8_0 is for engine cpu; for NPUs quantize the weights with msModelSlim and set w8a8"
    elif given.quantization is QuantizationMethod.W8A8 and given.engine is Engine.CPU:
        yield field, "w8a8 weights are for NPUs; engine cpu takes the model as it was, or q8_0"
