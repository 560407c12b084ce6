"""config.json of MindIE: what the spec says, what follows from it, defaults for the rest; and what it would refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ascend_jobs.api.inferenceservice import QuantizationMethod
from ascend_jobs.desired.engines.arguments import FIELD
from ascend_jobs.desired.engines.shape import EngineInput, Problem
from ascend_jobs.domain.engines import MINDIE_NEWEST, MindieKey, Release, mindie_keys, nearest, release

_MAX_NODES = 60
"""Most servers in a rank table that MindIE reads (MindIE-LLM, ranktable_config.cpp)."""
_NAME = re.compile(r"^[A-Za-z0-9]([-._A-Za-z0-9]{0,254}[A-Za-z0-9])?$")
"""What modelName may be (service_parameter_configuration.md)."""
_ADAPTER_NAME = re.compile(r"^[A-Za-z0-9]([-_A-Za-z0-9]{0,254}[A-Za-z0-9])?$")
_LORA: Release = (2, 1)
"""First release that reads LoraModules."""
_COPIES = "copies of the model are replicas: set spec.scaling"
_INSIDE = "the operator's own"
_OWN = {
    "Version": _INSIDE,
    "ipAddress": "the daemon listens on the pod's address",
    "managementIpAddress": "the daemon listens on the pod's address",
    "allowAllZeroIpListening": "the daemon listens on the pod's address",
    "port": "the daemon always listens on 1025",
    "managementPort": "probes ask on 1026",
    "metricsPort": "scaling reads 1027",
    "httpsEnabled": "spec.access.tlsSecretRef gives it",
    "inferMode": "prefill and decode in different pods are not supported",
    "backendName": "there is only one",
    "modelInstanceNumber": _COPIES,
    "npuDeviceIds": "spec.npusPerNode gives it",
    "multiNodesInferEnabled": "spec.nodes gives it",
    "maxSeqLen": "spec.serving.maxLength gives it",
    "maxBatchSize": "spec.serving.maxConcurrency gives it",
    "LoraModules": "spec.model.adapters gives it",
    "modelName": "spec.model.servedName gives it",
    "modelWeightPath": "spec.model gives it",
    "worldSize": "spec.npusPerNode gives it",
    "tp": "spec.serving.parallelism.tensor gives it",
    "templateName": "there is only one",
}
"""Keys that may not be given, and who sets them."""
_WANTED = {
    "flag": "true or false",
    "integer": "an integer",
    "text": "a text",
    "list": "a list",
    "json": "an object",
    "truncation": "true, false, -1, 0 or 1",
}


def config_json(given: EngineInput) -> str:
    """Return the document."""
    settings = _settings(given)
    keys = _keys(given)

    def section(name: str) -> dict[str, Any]:
        return {key.name: settings[key.name] for key in keys.values() if key.section == name and key.name in settings}

    server = section("ServerConfig")
    if health := section("HealthCheckConfig"):
        server["HealthCheckConfig"] = health
    deploy = {**section("ModelDeployConfig"), "ModelConfig": [section("ModelConfig")]}
    backend = {**section("BackendConfig"), "ModelDeployConfig": deploy, "ScheduleConfig": section("ScheduleConfig")}
    logs = {"LogConfig": found} if (found := section("LogConfig")) else {}
    document = {**section("Root"), **logs, "ServerConfig": server, "BackendConfig": backend}
    return json.dumps(document, indent=1) + "\n"


def config_problems(given: EngineInput) -> Iterator[Problem]:
    """Yield what MindIE would refuse, before any pod is made."""
    if release(given.version, MINDIE_NEWEST) is None:
        yield "spec.serving.engineVersion", f"{given.version} is no version of MindIE; write it like 2.1.RC1"
        return
    wrong = list(_key_problems(given))
    yield from wrong
    yield from _name_problems(given)
    yield from _shape_problems(given)
    if not wrong:
        yield from _invariant_problems(given)


def mindie_parallelism(given: EngineInput) -> tuple[int, int]:
    """Return (tensor, pipeline): all NPUs that copies (dp) leave, and no pipeline."""
    copies = _factor(given.serving.engine_args, "dp")
    return given.serving.parallelism.tensor or max(1, given.nodes * given.npus // copies), 1


def _settings(given: EngineInput) -> dict[str, Any]:
    """Return all keys that are written and their values: defaults, what follows from the spec, the user's."""
    keys, serving = _keys(given), given.serving
    found = {key.name: key.default for key in keys.values() if key.default is not None}
    longest = max(1, serving.max_length - 1)
    found |= {
        "maxLinkNum": min(4096, max(1000, serving.max_concurrency)),
        "npuDeviceIds": [list(range(given.npus))],
        "multiNodesInferEnabled": given.nodes > 1,
        "maxSeqLen": serving.max_length,
        "maxInputTokenLen": longest,
        "modelName": given.served_name,
        "modelWeightPath": given.model_path,
        "worldSize": given.npus,
        "maxBatchSize": serving.max_concurrency,
        "maxPrefillBatchSize": min(50, serving.max_concurrency),
        "maxPrefillTokens": max(8192, longest),
        "maxIterTimes": serving.max_length,
    }
    if serving.parallelism.tensor is not None and "tp" in keys:
        found["tp"] = serving.parallelism.tensor
    if given.adapters and "LoraModules" in keys:
        found["LoraModules"] = [
            {"name": a.name, "path": a.path, "baseModelName": given.served_name} for a in given.adapters
        ]
    asked = {name: entry for name, entry in serving.engine_args.items() if name in keys and name not in _OWN}
    return {**found, **asked}


def _keys(given: EngineInput) -> Mapping[str, MindieKey]:
    return mindie_keys(release(given.version, MINDIE_NEWEST) or MINDIE_NEWEST)


def _key_problems(given: EngineInput) -> Iterator[Problem]:
    keys = _keys(given)
    for name, entry in given.serving.engine_args.items():
        key, field = keys.get(name), f"{FIELD}.{name}"
        if name in _OWN:
            yield field, f"may not be set: {_OWN[name]}"
        elif key is None:
            version = given.version or ".".join(map(str, MINDIE_NEWEST))
            yield field, f"config.json of MindIE {version} has no such key{_hint(name, keys)}"
        elif not _fits(entry, key):
            yield field, f"is {json.dumps(entry)[:60]}; give {_WANTED[key.kind]}{_range(key)}"


def _hint(name: str, keys: Mapping[str, MindieKey]) -> str:
    if name.endswith("Config"):
        return "; write the keys of its sections without the section, such as maxPrefillTokens: 16384"
    camel = re.sub(r"[-_]+([a-z])", lambda found: found[1].upper(), name.lstrip("-"))
    return nearest(camel, [key for key in keys if key not in _OWN])


def _fits(entry: Any, key: MindieKey) -> bool:  # noqa: ANN401 - a JSON value
    if key.kind == "truncation":
        return entry in (-1, 0, 1)  # True and False are 1 and 0
    if key.kind == "integer":
        sound = isinstance(entry, int) and not isinstance(entry, bool)
        return sound and (key.low is None or entry >= key.low) and (key.high is None or entry <= key.high)
    return isinstance(entry, {"flag": bool, "text": str, "list": list, "json": dict}[key.kind])


def _range(key: MindieKey) -> str:
    low, high = key.low, key.high
    if low is None:
        return ""
    return f" from {low} to {high}" if high is not None else f" from {low} on"


def _name_problems(given: EngineInput) -> Iterator[Problem]:
    if not _NAME.match(given.served_name):
        yield (
            "spec.model.servedName",
            f"{given.served_name} is no model name for MindIE: letters, digits, - . _ only, a letter or digit at both "
            "ends",
        )
    for index, adapter in enumerate(given.adapters):
        if not _ADAPTER_NAME.match(adapter.name):
            yield (
                f"spec.model.adapters[{index}].name",
                f"{adapter.name} is no adapter name for MindIE: letters, digits, - _ only, a letter or digit at both "
                "ends",
            )


def _shape_problems(given: EngineInput) -> Iterator[Problem]:
    if given.adapters and "LoraModules" not in _keys(given):
        version = ".".join(map(str, _LORA))
        yield "spec.model.adapters", f"MindIE {given.version} reads no LoraModules; take {version} or later"
    if given.adapters and given.quantization is not None:
        yield "spec.model.adapters", "MindIE serves no LoRA adapters on quantized weights; take one of the two away"
    if given.quantization is QuantizationMethod.Q8_0:
        yield (
            "spec.model.quantization.method",
            "q8_0 is for engine cpu; for NPUs quantize the weights with msModelSlim and set w8a8",
        )
    if given.nodes > _MAX_NODES:
        yield "spec.nodes", f"is {given.nodes}; MindIE joins at most {_MAX_NODES} nodes"
    yield from _parallel_problems(given)


def _parallel_problems(given: EngineInput) -> Iterator[Problem]:
    asked, total = given.serving.parallelism, given.nodes * given.npus
    if asked.pipeline not in (None, 1):
        yield (
            "spec.serving.parallelism.pipeline",
            f"is {asked.pipeline}; MindIE has no pipeline stages: leave it out",
        )
    arguments = given.serving.engine_args
    copies = _factor(arguments, "dp")
    tensor, _ = mindie_parallelism(given)
    if tensor * copies != total:
        product = f"tensor {tensor}" + (f" x dp {copies}" if copies > 1 else "")
        yield (
            "spec.serving.parallelism.tensor",
            f"{product} = {tensor * copies} NPUs; a replica has nodes {given.nodes} x npusPerNode {given.npus} = "
            f"{total}: leave it out or make both the same",
        )
    if "moe_tp" in arguments or "moe_ep" in arguments:
        experts = _factor(arguments, "moe_tp") * _factor(arguments, "moe_ep")
        if experts != total:
            yield f"{FIELD}.moe_ep", f"moe_tp x moe_ep is {experts}; it has to be the replica's {total} NPUs"


def _factor(arguments: Mapping[str, Any], name: str) -> int:
    size = arguments.get(name, 1)
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else 1


def _invariant_problems(given: EngineInput) -> Iterator[Problem]:
    """Yield what contradicts itself (service_parameter_configuration.md, column of ranges)."""
    s = _settings(given)
    if s["maxInputTokenLen"] >= s["maxSeqLen"]:
        yield f"{FIELD}.maxInputTokenLen", f"is {s['maxInputTokenLen']}; has to be below maxLength {s['maxSeqLen']}"
    if s["maxPrefillTokens"] < s["maxInputTokenLen"]:
        yield (
            f"{FIELD}.maxPrefillTokens",
            f"is {s['maxPrefillTokens']}; at least maxInputTokenLen {s['maxInputTokenLen']}",
        )
    if s["maxPrefillBatchSize"] > s["maxBatchSize"]:
        yield (
            f"{FIELD}.maxPrefillBatchSize",
            f"is {s['maxPrefillBatchSize']}; at most maxConcurrency {s['maxBatchSize']}",
        )
    if s["maxIterTimes"] > s["maxSeqLen"]:
        yield f"{FIELD}.maxIterTimes", f"is {s['maxIterTimes']}; at most maxLength {s['maxSeqLen']}"
    preempted = s.get("maxPreemptCount", 0)
    if preempted > s["maxBatchSize"]:
        yield f"{FIELD}.maxPreemptCount", f"is {preempted}; at most maxConcurrency {s['maxBatchSize']}"
    if preempted > 0 and s.get("cpuMemSize") == 0:
        yield f"{FIELD}.cpuMemSize", "is 0; preempted requests need room, so above 0 or maxPreemptCount 0"
    if s.get("maxN", 1) > s["maxBatchSize"]:
        yield f"{FIELD}.maxN", f"is {s['maxN']}; at most maxConcurrency {s['maxBatchSize']}"
    if s.get("cacheBlockSize", 16) % 16:
        yield f"{FIELD}.cacheBlockSize", f"is {s['cacheBlockSize']}; a multiple of 16 (128 is best)"
