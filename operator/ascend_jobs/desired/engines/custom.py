"""The user's own server: command, port and readiness path from the spec; it speaks OpenAI's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ascend_jobs import names
from ascend_jobs.desired.engines.pod import (
    GRACE_SECONDS,
    HEALTH,
    common_env,
    device_security,
    group_env,
    ports,
    pre_stop,
    probes,
    value,
)
from ascend_jobs.desired.engines.shape import EngineInput, EngineParts, Problem


def custom_parts(given: EngineInput) -> EngineParts:
    """Return how the server is started; its command finds model, name and port in $(MODEL_PATH) and so on."""
    port = given.serving.port or 0
    env = [
        *common_env(given),
        *group_env(given),
        value(names.ENV_MODEL_PATH, given.model_path),
        value(names.ENV_SERVED_NAME, given.served_name),
        value(names.ENV_PORT, str(port)),
    ]
    return EngineParts(
        container={
            "name": names.CONTAINER_SERVER,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "command": list(given.serving.command),
            "env": env,
            "ports": ports(http=port),
            **_probes(given, port),
            "lifecycle": pre_stop(),
            "volumeMounts": [],
        },
        port=port,
        metrics=None,
        pod_security=device_security(),
        grace_seconds=GRACE_SECONDS,
    )


def custom_problems(given: EngineInput) -> Iterator[Problem]:
    """Yield what only the user's command could do."""
    serving = given.serving
    if not serving.command:
        yield "spec.serving.command", "is missing: engine custom needs the command of the server"
    if serving.port is None:
        yield "spec.serving.port", "is missing: engine custom needs the port of its OpenAI API"
    if given.nodes > 1:
        yield (
            "spec.nodes",
            f"is {given.nodes}; a replica of engine custom is one pod, since only its maker could join several",
        )
    for name in serving.engine_args:
        yield f"spec.serving.engineArgs.{name}", "write it into spec.serving.command: engine custom has no arguments"
    if given.adapters:
        yield "spec.model.adapters", "write them into spec.serving.command: engine custom has no arguments"
    if given.quantization is not None:
        yield "spec.model.quantization", "write it into spec.serving.command: engine custom has no arguments"


def _probes(given: EngineInput, port: int) -> dict[str, Any]:
    """Return probes by the readiness path; without one by the port alone.

    Only the port tells that it is alive: what a path means for readiness need not mean that a restart would help.
    """
    by_port = probes(given, port, ready=HEALTH, alive=HEALTH)
    for probe in by_port.values():
        probe["tcpSocket"] = {"port": probe.pop("httpGet")["port"]}
    if given.serving.readiness_path is None:
        return by_port
    by_path = probes(given, port, ready=given.serving.readiness_path, alive=HEALTH)
    return {**by_path, "livenessProbe": by_port["livenessProbe"]}
