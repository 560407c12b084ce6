"""The proxy in front of a service: HAProxy in pods of its own, with its configuration, and the Service behind it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.desired.engines.pod import ENDPOINT_SECONDS, value
from ascend_jobs.desired.inference.pods import pull_secrets
from ascend_jobs.desired.inference.proxyconfig import LONGEST_SECONDS, ProxyConfig, haproxy_config
from ascend_jobs.desired.metadata import child_metadata, job_labels
from ascend_jobs.desired.pods import PodSettings, pull_policy

_GRACE_SECONDS = ENDPOINT_SECONDS + LONGEST_SECONDS + 20
"""It ends as soon as the last request has; that may take as long as a request may."""
_USER = 65532


def needs_proxy(service: InferenceService) -> bool:
    """Say whether requests have to go through a proxy."""
    access = service.spec.access
    return bool(access.api_keys_secret_ref or access.tls_secret_ref or service.spec.canary)


def proxy_selector(service: InferenceService) -> dict[str, str]:
    """Return the labels of the proxy's pods."""
    return {names.JOB_UID: service.metadata.uid, names.ROLE: names.ROLE_PROXY}


def proxy_configmap(service: InferenceService, config: ProxyConfig) -> dict[str, Any]:
    """Return the ConfigMap with haproxy.cfg."""
    metadata = child_metadata(service, names.proxy_name(service.base))
    data = {names.PROXY_CONFIG_FILE: haproxy_config(config)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def proxy_deployment(
    service: InferenceService, config: ProxyConfig, settings: PodSettings, image: str, replicas: int
) -> dict[str, Any]:
    """Return the Deployment; its pods carry the digest of template and configuration, so a change replaces them.

    A new pod has to be ready before an old one goes.
    """
    template = _template(service, config, settings, image)
    digest = _digest([template, haproxy_config(config)])
    template["metadata"]["annotations"] = {names.PROXY_CONFIG: digest}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(service, names.proxy_name(service.base)),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": proxy_selector(service)},
            "template": template,
        },
    }


def config_digest(deployment: dict[str, Any]) -> str:
    """Return the digest that a proxy's Deployment gives its pods, "" when it gives none."""
    metadata = deployment["spec"]["template"].get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(names.PROXY_CONFIG, ""))


def _template(service: InferenceService, config: ProxyConfig, settings: PodSettings, image: str) -> dict[str, Any]:
    labels = {**job_labels(service), names.ROLE: names.ROLE_PROXY}
    term = {"labelSelector": {"matchLabels": proxy_selector(service)}, "topologyKey": "kubernetes.io/hostname"}
    apart = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
    return {
        "metadata": {"labels": labels},
        "spec": {
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "imagePullSecrets": pull_secrets(service, settings),
            "affinity": {"podAntiAffinity": apart},
            "volumes": _volumes(service),
            "containers": [_container(service, config, settings, image)],
        },
    }


def _container(service: InferenceService, config: ProxyConfig, settings: PodSettings, image: str) -> dict[str, Any]:
    secrets = _secrets(service)
    variables = {"keys": names.ENV_PROXY_KEYS, "tls": names.ENV_PROXY_TLS}
    folders = {"keys": names.PROXY_KEYS_DIR, "tls": names.PROXY_TLS_DIR}
    mounted = {"config": names.PROXY_CONFIG_DIR, **{kind: folders[kind] for kind in secrets}}
    check = {"httpGet": {"path": "/healthz", "port": config.metrics_port}, "timeoutSeconds": 3}
    return {
        "name": names.CONTAINER_PROXY,
        "image": image,
        **pull_policy(settings),
        "command": ["python", "-m", "ascend_runtime", "proxy"],
        "args": ["--leave-seconds", str(ENDPOINT_SECONDS)],
        "env": [value(variables[kind], secret) for kind, secret in secrets.items()],
        "ports": [
            {"name": "http", "containerPort": config.port},
            {"name": "metrics", "containerPort": config.metrics_port},
        ],
        "readinessProbe": {**check, "periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**check, "periodSeconds": 10, "failureThreshold": 6, "initialDelaySeconds": 90},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            *({"name": name, "mountPath": path, "readOnly": True} for name, path in mounted.items()),
            {"name": "files", "mountPath": names.PROXY_FILES_DIR},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _volumes(service: InferenceService) -> list[dict[str, Any]]:
    """Return the volumes; Secrets may be missing: the container says so, the kubelet would only let the pod hang."""
    return [
        {"name": "config", "configMap": {"name": names.proxy_name(service.base)}},
        *(
            {"name": kind, "secret": {"secretName": secret, "optional": True}}
            for kind, secret in _secrets(service).items()
        ),
        {"name": "files", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]


def _secrets(service: InferenceService) -> dict[str, str]:
    """Return the names of the Secrets by what they are for."""
    access = service.spec.access
    found = {"keys": access.api_keys_secret_ref, "tls": access.tls_secret_ref}
    return {kind: secret.name for kind, secret in found.items() if secret is not None}


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]
