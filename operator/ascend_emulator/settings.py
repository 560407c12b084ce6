"""Environment -> frozen Settings; each field gives unit, range, default and reason in the text that --help prints."""

# ruff: noqa: RUF009 - fields are made by a function so that a variable stands in one place
from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from ascend_jobs import names


class Profile(StrEnum):
    """Whose device plugin is imitated."""

    MINDCLUSTER = "mindcluster"
    CCE = "cce"


RESOURCES = {Profile.MINDCLUSTER: names.ASCEND_910, Profile.CCE: names.CCE_ASCEND_1980}
_QUALIFIED_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class SettingsError(ValueError):
    """A variable is missing or has a value out of range; the message names it."""


def _text(value: str) -> str:
    return value


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _label_value(value: str) -> str:
    if not _LABEL_VALUE.fullmatch(value):
        raise ValueError("no label value")
    return value


def _resource(value: str) -> str:
    if value and not _QUALIFIED_NAME.fullmatch(value):
        raise ValueError("want <domain>/<name>")
    return value


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"want {low} to {high}")
        return number

    return parse


def _seconds(value: str) -> float:
    number = float(value)
    if not 0.05 <= number <= 1800:
        raise ValueError("want 0.05 to 1800")
    return number


def _switch(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("want true or false")
    return value.lower() == "true"


def _variable(parse: Callable[[str], Any], help_: str, default: str | None = None) -> Any:  # noqa: ANN401
    return field(metadata={"parse": parse, "help": help_, "default": default})


@dataclass(frozen=True)
class Settings:
    """What the emulator of one node is told; the variable of a field is its name in capitals."""

    node_name: str = _variable(_text, "name of the node this runs on (fieldRef spec.nodeName)")
    node_ip: str = _variable(_address, "the node's IP (fieldRef status.hostIP); host_ip of the annotations")
    profile: Profile = _variable(Profile, "whose plugin is imitated: mindcluster or cce", "mindcluster")
    resource_name: str = _variable(
        _resource, "extended resource; empty: huawei.com/Ascend910 (mindcluster), huawei.com/ascend-1980 (cce)", ""
    )
    npu_count: int = _variable(_whole(1, 64), "chips of the node, 1 to 64", "8")
    chip_name: str = _variable(_label_value, "node label node.kubernetes.io/npu.chip.name and npu-smi's Name", "910B3")
    hbm_gib: int = _variable(_whole(1, 1024), "HBM of a chip in GiB", "64")
    server_type: str = _variable(
        _label_value, "node label servertype, <type>-<AI cores>; goes with CHIP_NAME", "Ascend910B-20"
    )
    accelerator_type: str = _variable(
        _label_value, "node label accelerator-type; empty: module-910b-<count> where 910B servers have that count", ""
    )
    driver_version: str = _variable(_label_value, "version that npu-smi and the node labels report", "24.1.rc3")
    list_watch_seconds: float = _variable(
        _seconds,
        "seconds between two looks at the kubelet's pod resources while a pod waits for its annotation, 0.05 to 1800; "
        "the real plugin's listWatchPeriod is 5 at least 3; short here so that kind is no slower than need be",
        "1",
    )
    prefer_devices: bool = _variable(
        _switch, "answer GetPreferredAllocation (the real plugin does not): fill groups of four", "false"
    )
    metrics_port: int = _variable(_whole(0, 65535), "TCP port of /metrics and /healthz; npu-exporter's is 8082", "8082")
    device_plugin_dir: Path = _variable(
        Path, "folder of kubelet.sock and our socket", "/var/lib/kubelet/device-plugins"
    )
    pod_resources_socket: Path = _variable(
        Path, "socket of the kubelet's pod resources API", "/var/lib/kubelet/pod-resources/kubelet.sock"
    )
    data_dir: Path = _variable(
        Path,
        "folder on the node that containers get mounted, at the same path as on the node",
        "/var/lib/ascend-emulator",
    )
    proc_dir: Path = _variable(Path, "the node's process table (hostPID makes it /proc)", "/proc")

    @property
    def kind(self) -> str:
        """Return the resource's own name, the stem of device ids: Ascend910."""
        return self.resource_name.partition("/")[2]


def _parse(variable: Field[Any], environ: Mapping[str, str]) -> Any:  # noqa: ANN401
    name = variable.name.upper()
    text = environ.get(name, "") or variable.metadata["default"]
    if text is None:
        _refuse(name, "is not set", variable)
    try:
        return variable.metadata["parse"](text)
    except ValueError as error:
        _refuse(name, f"is {text!r}: {error}", variable)


def _refuse(name: str, what: str, variable: Field[Any]) -> NoReturn:
    raise SettingsError(f"{name} {what} ({variable.metadata['help']})")


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings, or raise SettingsError naming the first variable that is missing or wrong."""
    values = {variable.name: _parse(variable, environ) for variable in fields(Settings)}
    values["resource_name"] = values["resource_name"] or RESOURCES[values["profile"]]
    return Settings(**values)


def describe_settings() -> str:
    """Return one line a variable: name, default, meaning."""
    lines = []
    for variable in fields(Settings):
        default = variable.metadata["default"]
        shown = "required" if default is None else f"default {default or 'empty'}"
        lines.append(f"  {variable.name.upper()} ({shown})\n      {variable.metadata['help']}")
    return "\n".join(lines)
