"""MindIE's config.json: read, checked as MindIE checks it, turned into this engine's settings.

Keys, defaults, invariants and permissions are those of MindIE-LLM's repository of April 2026; no MindIE was at hand to
compare with.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ascend_jobs import names

from ascend_runtime.report import emit
from ascend_runtime.serve.failures import CannotServe, config_invalid, model_invalid
from ascend_runtime.serve.settings import Listen, ModelSettings

ENV_CONFIG_PATH = "MIES_CONFIG_JSON_PATH"
ENV_INSTALL_PATH = "MIES_INSTALL_PATH"
ENV_CONTAINER_IP = "MIES_CONTAINER_IP"
ENV_MANAGEMENT_IP = "MIES_CONTAINER_MANAGEMENT_IP"
ENV_CHECK_PERMISSION = "MINDIE_CHECK_INPUTFILES_PERMISSION"
INSTALL_PATH = "/usr/local/Ascend/mindie/latest/mindie-service"
_CONFIG_MODE = 0o640
_WEIGHTS_MODE = 0o750
_T = TypeVar("_T", int, bool, str)


@dataclass(frozen=True)
class MindieSettings:
    """What config.json and the environment say."""

    model: ModelSettings
    business: Listen
    management: Listen
    metrics: Listen
    usage_threshold: int
    """Percent of places taken from which the service calls itself busy; 0: it never does."""
    multi_node: bool
    document: Mapping[str, Any]
    """config.json as it is, for /v1/config."""


class Section:
    """A part of config.json; every reader raises CannotServe (ConfigInvalid) with the key's path."""

    def __init__(self, path: str, document: object) -> None:
        """Take the part and where it stands."""
        if not isinstance(document, dict):
            raise config_invalid(path, f"{path} is missing or no object")
        self.path = path
        self._document = document

    def part(self, key: str, *, optional: bool = False) -> Section:
        """Return a section within it."""
        return Section(self._at(key), self._document.get(key, {} if optional else None))

    def get(self, key: str, default: _T) -> _T:
        """Return a value of the default's type."""
        value = self._document.get(key, default)
        if type(value) is not type(default):
            raise config_invalid(self._at(key), f"{self._at(key)} is {value!r}, wanted is a {type(default).__name__}")
        return value

    def within(self, key: str, default: int, low: int, high: int) -> int:
        """Return a number between low and high, both included."""
        value = self.get(key, default)
        if not low <= value <= high:
            raise config_invalid(self._at(key), f"{self._at(key)} is {value}, wanted is {low} to {high}")
        return value

    def items(self, key: str) -> list[Any]:
        """Return a list with at least one entry."""
        value = self._document.get(key)
        if not isinstance(value, list) or not value:
            raise config_invalid(self._at(key), f"{self._at(key)} is missing or no list")
        return value

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}".lstrip(".")


def config_path(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Return where config.json is: as given, else the variable's, else conf/config.json of the installation."""
    named = environ.get(ENV_CONFIG_PATH)
    install = Path(environ.get(ENV_INSTALL_PATH) or INSTALL_PATH)
    return given or (Path(named) if named else install / "conf" / "config.json")


def read_mindie(path: Path, environ: Mapping[str, str], base: ModelSettings) -> MindieSettings:
    """Read and check config.json; `base` gives what it does not know (cache, threads). Raises CannotServe."""
    document = _document(path, environ)
    root = Section("", document)
    server, backend = root.part("ServerConfig"), root.part("BackendConfig")
    multi_node = backend.get("multiNodesInferEnabled", False)
    deploy = backend.part("ModelDeployConfig")
    models = deploy.items("ModelConfig")
    if len(models) != 1:
        raise config_invalid(f"{deploy.path}.ModelConfig", "more than one model: the CPU engine serves one")
    model = Section(f"{deploy.path}.ModelConfig[0]", models[0])
    if not multi_node:
        _check_devices(backend, model, environ)
    settings = _model(base, deploy, model, backend.part("ScheduleConfig", optional=True))
    _check_weights(settings.folder, environ)
    business, management, metrics = _listens(server, environ, path)
    health = server.part("HealthCheckConfig", optional=True)
    threshold = health.within("npuUsageThreshold", 0, 0, 100)
    return MindieSettings(settings, business, management, metrics, threshold, multi_node, document)


def _document(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        if _checks_permissions(environ):
            _check_mode("config.json", path, _CONFIG_MODE)
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise config_invalid("config.json", f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise config_invalid("config.json", f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise config_invalid("config.json", f"{path} holds no object")
    return document


def _checks_permissions(environ: Mapping[str, str]) -> bool:
    return environ.get(ENV_CHECK_PERMISSION, "1") != "0"


def _check_mode(field: str, path: Path, mode: int) -> None:
    """Raise CannotServe unless a file is its own user's, no link, and open to nobody beyond `mode`."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise config_invalid(field, f"{path} is a symbolic link, which MindIE refuses; copy the file")
    if stat.S_IMODE(found.st_mode) & ~mode:
        have = f"{stat.S_IMODE(found.st_mode):o}"
        raise config_invalid(field, f"{path} has mode {have}, at most {mode:o} is allowed: chmod {mode:o}")
    if found.st_uid != os.geteuid():
        raise config_invalid(
            field, f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}, who runs the server"
        )


def _check_weights(folder: Path, environ: Mapping[str, str]) -> None:
    """Refuse what MindIE refuses of weights; its mode only warns here, since nothing is loaded on NPUs."""
    if not _checks_permissions(environ) or not folder.is_dir():
        return
    if (folder / "config.json").is_symlink():
        raise model_invalid(f"{folder}/config.json is a symbolic link, which MindIE refuses; copy the file")
    try:
        _check_mode("modelWeightPath", folder, _WEIGHTS_MODE)
    except CannotServe as error:
        emit("warning", message=f"MindIE on NPUs refuses this folder of weights: {error}")


def _check_devices(backend: Section, model: Section, environ: Mapping[str, str]) -> None:
    world = model.within("worldSize", 1, 1, 64)
    for index, devices in enumerate(backend.items("npuDeviceIds")):
        field = f"{backend.path}.npuDeviceIds[{index}]"
        if not isinstance(devices, list) or len(devices) != world:
            raise config_invalid(field, f"{field} is {devices!r}, worldSize is {world}: they must be as many")
    visible = environ.get(names.ENV_VISIBLE_DEVICES)
    if visible and _count_devices(visible) != world:
        sentence = f"worldSize is {world}, the container has the NPUs {visible}: they must be as many"
        raise config_invalid(f"{model.path}.worldSize", sentence)


def _count_devices(text: str) -> int:
    """Count 0,1,4-7 and Ascend910-0,Ascend910-1."""
    total = 0
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        total += int(high) - int(low) + 1 if low.isdecimal() and high.isdecimal() else 1
    return total


def _model(base: ModelSettings, deploy: Section, model: Section, schedule: Section) -> ModelSettings:
    if model.get("modelInstanceType", "Standard") != "Standard":
        raise config_invalid(f"{model.path}.modelInstanceType", "only Standard is served")
    longest = deploy.within("maxSeqLen", 2560, 2, 4194304)
    most_input = deploy.within("maxInputTokenLen", 2048, 1, 4194304)
    batch = schedule.within("maxBatchSize", 200, 1, 5000)
    prefill_batch = schedule.within("maxPrefillBatchSize", 50, 1, 5000)
    prefill_tokens = schedule.within("maxPrefillTokens", 8192, 1, 4194304)
    answer = schedule.within("maxIterTimes", 512, 1, 4194304)
    rules: tuple[tuple[bool, str, str], ...] = (
        (most_input < longest, f"{deploy.path}.maxInputTokenLen", "must be below maxSeqLen"),
        (prefill_tokens >= most_input, f"{schedule.path}.maxPrefillTokens", "must be at least maxInputTokenLen"),
        (prefill_batch <= batch, f"{schedule.path}.maxPrefillBatchSize", "must be at most maxBatchSize"),
        (answer <= longest, f"{schedule.path}.maxIterTimes", "must be at most maxSeqLen"),
    )
    for holds, field, words in rules:
        if not holds:
            raise config_invalid(field, f"{field} {words}")
    return ModelSettings(
        folder=Path(_named(model, "modelWeightPath")),
        names=(_named(model, "modelName"),),
        precision=base.precision,
        max_length=longest,
        length_field=f"{deploy.path}.maxSeqLen",
        max_requests=batch,
        max_output=answer,
        max_input=most_input,
        prefix_caching="prefix_cache" in model.get("plugin_params", ""),
        cache_dir=base.cache_dir,
        threads=base.threads,
    )


def _named(section: Section, key: str) -> str:
    value = section.get(key, "")
    if not value:
        raise config_invalid(f"{section.path}.{key}", f"{section.path}.{key} is missing")
    return value


def _listens(server: Section, environ: Mapping[str, str], path: Path) -> tuple[Listen, Listen, Listen]:
    host = environ.get(ENV_CONTAINER_IP) or server.get("ipAddress", "127.0.0.1")
    manager = environ.get(ENV_MANAGEMENT_IP) or server.get("managementIpAddress", "127.0.0.2")
    if not server.get("allowAllZeroIpListening", False):
        for field, address in (("ipAddress", host), ("managementIpAddress", manager)):
            if address in ("0.0.0.0", "::"):
                raise config_invalid(
                    f"ServerConfig.{field}", f"{address} is refused unless allowAllZeroIpListening is true"
                )
    secure = server.get("httpsEnabled", True)

    def listen(address: str, key: str, default: int, prefix: Callable[[str], str]) -> Listen:
        port = server.within(key, default, 1024, 65535)
        if not secure:
            return Listen(address, port)
        return Listen(address, port, *(_file(server, path, prefix(name)) for name in ("tlsCert", "tlsPk")))

    own, managers = (lambda name: name), (lambda name: f"management{name[0].upper()}{name[1:]}")
    business = listen(host, "port", 1025, own)
    found = (
        business,
        listen(manager, "managementPort", 1026, managers),
        listen(manager, "metricsPort", 1027, managers),
    )
    if len({(one.host, one.port) for one in found}) < len(found):
        raise config_invalid("ServerConfig.managementPort", "port, managementPort and metricsPort must differ")
    return found


def _file(server: Section, path: Path, key: str) -> Path:
    """Return a certificate's or key's path, which may be relative to the installation (the parent of conf/)."""
    named = server.get(key, "")
    if not named:
        raise config_invalid(
            f"ServerConfig.{key}", f"httpsEnabled is true and {key} is missing; give it or switch off HTTPS"
        )
    return path.parent.parent / named
