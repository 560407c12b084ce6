"""MindIE: config.json made from the spec, put where the daemon takes it with the permissions that it insists on.

Sources: MindIE-LLM's documentation of April 2026 (service_parameter_configuration.md, environment_variable.md,
service_APIs_usage_guidance.md, multi_loRA.md) and the same chapters of 1.0, 2.0.RC1 and 2.3.0; keys by release in
domain/mindie_keys.csv.
"""

from __future__ import annotations

from typing import Any

from ascend_jobs import names
from ascend_jobs.desired.engines.mindieconfig import config_json
from ascend_jobs.desired.engines.pod import (
    GRACE_SECONDS,
    REQUEST_SECONDS,
    common_env,
    device_security,
    from_pod,
    group_env,
    idle,
    ports,
    pre_stop,
    probes,
    request,
    value,
    with_set_env,
)
from ascend_jobs.desired.engines.shape import EngineInput, EngineParts, MetricsSource

PORT = 1025
MANAGEMENT_PORT = 1026
METRICS = MetricsSource(1027, "/metrics", "num_requests_running", "num_requests_waiting", "npu_cache_usage_perc")
_DAEMON = "/usr/local/Ascend/mindie/latest/mindie-service/bin/mindieservice_daemon"
"""Of the run package (all releases); the wheel of 2026 brings mindie_llm_server on the path instead."""
_WHEEL_DAEMON = "mindie_llm_server"
_FILE = "config.json"
_SOURCE_DIR = "/ascendjobs/engine-files"
_CONFIG_DIR = "/ascendjobs/engine"
_CONFIG = f"{_CONFIG_DIR}/conf/{_FILE}"


def mindie_parts(given: EngineInput) -> EngineParts:
    """Return how MindIE's daemon is started."""
    return EngineParts(
        container={
            "name": names.CONTAINER_SERVER,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **with_set_env([_WHEEL_DAEMON], _launch(given)),
            "env": _env(given),
            "ports": ports(http=PORT, management=MANAGEMENT_PORT, metrics=METRICS.port),
            **probes(given, MANAGEMENT_PORT, ready="/v2/health/ready", alive="/v2/health/live"),
            "lifecycle": pre_stop(_end(given)),
            "volumeMounts": [{"name": "engine", "mountPath": _CONFIG_DIR}],
        },
        port=PORT,
        metrics=METRICS,
        init_containers=(_copy_config(),),
        volumes=(
            {"name": "engine-files", "configMap": {"name": given.files_name}},
            {"name": "engine", "emptyDir": {}},
        ),
        files={_FILE: config_json(given)},
        pod_security=device_security(),
        grace_seconds=GRACE_SECONDS,
        needs_rank_table=given.nodes > 1,
    )


def _env(given: EngineInput) -> list[dict[str, Any]]:
    """Return the daemon's environment.

    Both addresses are the pod's: probes come from the node and would not reach the shipped 127.0.0.x. The check of
    file permissions is off for what cannot be changed, the weights on a claim that is mounted read-only; config.json
    and the rank table are as it wants them all the same.
    """
    env = [
        *common_env(given),
        value("MIES_CONFIG_JSON_PATH", _CONFIG),
        from_pod("MIES_CONTAINER_IP", "status.podIP"),
        from_pod("MIES_CONTAINER_MANAGEMENT_IP", "status.podIP"),
        value("MIES_SERVICE_MONITOR_MODE", "1"),
        value("MINDIE_CHECK_INPUTFILES_PERMISSION", "0"),
        value("MINDIE_LOG_TO_STDOUT", "1"),
    ]
    if given.nodes > 1:
        env += [
            *group_env(given),
            value("WORLD_SIZE", str(given.nodes * given.npus)),
            value("HCCL_CONNECT_TIMEOUT", "7200"),
            value("HCCL_DETERMINISTIC", "true"),
        ]
    return env


def _launch(given: EngineInput) -> str:
    """Return the shell steps before exec: which daemon the image has; with several nodes what it reads of the group.

    The file mode of the rank table is that of config.json, and MASTER_IP has to be an address, not a name. On one node
    there must be no rank table at all, wherever the image sets the variable.
    """
    find = f"if [ -x {_DAEMON} ]; then exec {_DAEMON}; fi"
    if given.nodes == 1:
        return f"unset {names.ENV_RANK_TABLE_FILE}; {find}"
    wait = (
        'until MASTER_IP=$(getent ahostsv4 "$MASTER_ADDR" | { read -r ip _ && echo "$ip"; }); do sleep 1; done;'
        " export MASTER_IP"
    )
    return f'chmod 640 "${names.ENV_RANK_TABLE_FILE}"; unset http_proxy https_proxy; {wait}; {find}'


def _copy_config() -> dict[str, Any]:
    """Return the init container that makes config.json a file of mode 640 in a folder of mode 750.

    A mounted ConfigMap is a tree of symlinks with mode 644, which the daemon refuses.
    """
    steps = f"mkdir -p -m 750 {_CONFIG_DIR}/conf && install -m 640 {_SOURCE_DIR}/{_FILE} {_CONFIG}"
    return {
        "name": "engine-files",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "command": ["/bin/sh", "-c", steps],
        "volumeMounts": [
            {"name": "engine-files", "mountPath": _SOURCE_DIR, "readOnly": True},
            {"name": "engine", "mountPath": _CONFIG_DIR},
        ],
    }


def _end(given: EngineInput) -> str:
    """Return the command that lets running requests end: /stopService answers when all have.

    Only the head takes requests; the other pods stay until it has nothing to do any more.
    """
    stop = request("$POD_IP", MANAGEMENT_PORT, "/stopService", seconds=REQUEST_SECONDS)
    if given.nodes == 1:
        return stop
    return f'if [ "$NODE_RANK" = 0 ]; then {stop}; else {idle("$MASTER_ADDR", METRICS)}; fi'
