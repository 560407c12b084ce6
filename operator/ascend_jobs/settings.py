"""The operator's settings: environment → frozen values. Each tells its unit, its default and why that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

PREFIX = "ASCENDJOBS_"
"""Every variable is PREFIX and the field's name in capitals, such as ASCENDJOBS_WORKERS."""


class SettingsInvalid(ValueError):
    """A variable holds what its setting cannot be."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("true or false is wanted")
    return text.lower() in ("true", "1")


def _within(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not low <= int(text) <= high:
            raise ValueError(f"a number from {low} to {high} is wanted")
        return int(text)

    return parse


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)} is wanted")
        return text

    return parse


def _setting(default: Any, parse: Callable[[str], Any] = str) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True)
class Settings:
    """All settings of one operator process."""

    namespaces: tuple[str, ...] = _setting((), _words)
    """Namespaces that are served; empty: all. Named ones need no ClusterRole, but nodes cannot be read then."""
    own_namespace: str = _setting("default")
    """Where the Lease is: the namespace of the operator's pod."""
    identity: str = _setting("")
    """Name of this process in the Lease; the host's name, which is the pod's, when empty."""
    workers: int = _setting(8, _within(1, 256))
    """Passes at the same time. A pass waits for the API server most of its time; 8 keep one core busy."""
    image: str = _setting("")
    """Image of training pods that name none."""
    prepare_image: str = _setting("")
    """Image of the phases without NPUs; `image` when empty. An NPU image may not start on a pod without a device."""
    serve_image: str = _setting("")
    """Image of services that name none; `image` when empty."""
    proxy_image: str = _setting("")
    """Image of the proxies in front of services with API keys, TLS or a canary; such services stall when empty."""
    engine: str = _setting("", _one_of("", "vllm-ascend", "mindie", "cpu"))
    """Engine of services that name none; vllm-ascend when empty."""
    reach: str = _setting("direct", _one_of("direct", "proxy"))
    """How services and their pods are asked: direct from inside the cluster, proxy through the API server (laptop)."""
    pull_policy: str = _setting("", _one_of("", "Always", "IfNotPresent", "Never"))
    """imagePullPolicy of job pods; Kubernetes decides by the tag when empty."""
    pull_secrets: tuple[str, ...] = _setting((), _words)
    """Names of Secrets for these images' registry; they have to be in the jobs' namespaces."""
    host: str = _setting("0.0.0.0")
    """Address on which /livez, /readyz and /metrics answer; the kubelet asks from outside of the pod."""
    port: int = _setting(8080, _within(0, 65535))
    """Port of these; 0 takes a free one."""
    log_level: str = _setting("info", _one_of("debug", "info", "warning", "error"))
    """info tells every change of the world, debug also passes without one."""
    log_format: str = _setting("json", _one_of("json", "console"))
    """json for machines, console for a terminal."""
    leader_election: bool = _setting(True, _switch)
    """Wait for the Lease before the first pass; false only where a single process is certain."""
    lease_name: str = _setting("ascend-jobs")
    """Name of the Lease; operators that serve different namespaces from one namespace need different ones."""
    drain_seconds: int = _setting(20, _within(1, 600))
    """Longest wait for passes in work at the end; below the pod's terminationGracePeriodSeconds (30)."""
    kubeconfig: str = _setting("")
    """Path of a kubeconfig, for a laptop; in a pod its service account is used when empty."""
    context: str = _setting("")
    """Context of the kubeconfig; the current one when empty."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read ASCENDJOBS_... variables; raises SettingsInvalid with the variable's name."""
        found: dict[str, Any] = {}
        for setting in fields(cls):
            name = PREFIX + setting.name.upper()
            if name in environ:
                try:
                    found[setting.name] = setting.metadata["parse"](environ[name].strip())
                except ValueError as error:
                    raise SettingsInvalid(f"{name}: {error}") from error
        return cls(**found)
