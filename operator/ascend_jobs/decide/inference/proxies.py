"""The proxy of a service: when it stands between people and the versions, and what is said of it.

On: a Service in front of the versions, the proxy's Deployment, and only when one of its pods is ready does the public
Service select them. From then on it selects nothing else while a proxy is wanted, for what is behind asks for no key.
Off: the public Service selects the versions again, then the proxy goes, then the Service that it asked.
"""

from __future__ import annotations

from typing import Any

from ascend_jobs import names
from ascend_jobs.api.conditions import ConditionStatus, Reason
from ascend_jobs.api.inferenceservice_status import RevisionStatus
from ascend_jobs.decide.decision import Verdict
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.decide.inference.profile import server_settings
from ascend_jobs.decide.observed import ChildView, PodView
from ascend_jobs.decide.plan import Action, Create, Delete, Kind, ScrapeTarget, Update
from ascend_jobs.decide.words import last_words, reason_of
from ascend_jobs.desired.inference.proxy import (
    config_digest,
    needs_proxy,
    proxy_configmap,
    proxy_deployment,
    proxy_selector,
)
from ascend_jobs.desired.inference.proxyconfig import ProxyConfig, Share, Upstream
from ascend_jobs.desired.inference.workloads import service_manifest


def service_address(observed: ServiceObserved, name: str) -> str:
    """Return the cluster IP of a Service, "" before it is there."""
    found = next((s for s in observed.services if s.name == name and not s.deleting), None)
    return str(found.manifest["spec"].get("clusterIP") or "") if found is not None else ""


def proxies(observed: ServiceObserved, *, ready: bool = False) -> tuple[PodView, ...]:
    """Return the proxy's pods, also those on their way out; with `ready` those that take requests."""
    found = (p for p in observed.pods if p.role == names.ROLE_PROXY and not p.finished)
    return tuple(p for p in found if not ready or (p.ready and not p.deleting))


def is_proxied(observed: ServiceObserved) -> bool:
    """Say whether the public Service selects the proxy now."""
    found = next((s for s in observed.services if s.name == observed.service.base), None)
    selector = (found.manifest["spec"].get("selector") or {}) if found is not None else {}
    return bool(selector.get(names.ROLE) == names.ROLE_PROXY)


def front_services(observed: ServiceObserved, selector: dict[str, str], port: int) -> tuple[dict[str, Any], ...]:
    """Return the public Service, and the one behind the proxy while there is one; `selector` is of the versions."""
    service = observed.service
    public = service_manifest(service, service.base, selector, port, public=True)
    is_there = any(s.name == service.base for s in observed.services)
    if not needs_proxy(service):
        behind = _deployment(observed) is not None or bool(proxies(observed))
        return (service_manifest(service, names.stable_name(service.base), selector, port), public)[not behind :]
    if not is_there or is_proxied(observed) or proxies(observed, ready=True):
        public["spec"]["selector"] = proxy_selector(service)
        public["spec"]["ports"][0]["targetPort"] = names.PROXY_PORT
    return service_manifest(service, names.stable_name(service.base), selector, port), public


def proxy_actions(
    observed: ServiceObserved, serving: RevisionStatus | None, share: Share | None, replicas: int
) -> tuple[Action, ...]:
    """Return what brings the proxy to what it is to be, or away."""
    if not needs_proxy(observed.service):
        return () if is_proxied(observed) else _removed(observed)
    wanted = _config(observed, serving, share)
    if wanted is None:
        return ()
    made = _made(observed, wanted, min(max(replicas, 1), 2))
    return (*_configured(observed, wanted), *_deployed(observed, made))


def suspended_proxy(observed: ServiceObserved) -> tuple[Action, ...]:
    """Return what takes the proxy's pods away while the service is suspended."""
    found = _deployment(observed)
    return (Delete(Kind.DEPLOYMENT, found.name, found.uid),) if found is not None else ()


def is_everywhere(observed: ServiceObserved, serving: RevisionStatus | None, share: Share | None) -> bool:
    """Say whether every proxy that may still have requests under way runs with this share for the canary."""
    config = _config(observed, serving, share) if needs_proxy(observed.service) else None
    digest = config_digest(_made(observed, config, 1)) if config is not None else None
    found = _deployment(observed)
    if found is not None and config_digest(found.manifest) != digest:
        return False
    return all(pod.annotations.get(names.PROXY_CONFIG) == digest for pod in proxies(observed))


def proxy_verdict(observed: ServiceObserved) -> Verdict | None:
    """Return why nothing comes through the proxy, None when it does or nothing has to."""
    if not needs_proxy(observed.service) or not is_proxied(observed) or proxies(observed, ready=True):
        return None
    return Verdict(ConditionStatus.FALSE, *_trouble(proxies(observed)))


def proxy_note(observed: ServiceObserved) -> str:
    """Return what keeps proxies from their newest configuration although others serve, "" when nothing."""
    stuck = tuple(
        p for p in proxies(observed) if not p.ready and not p.deleting and any(c.restarts for c in p.containers)
    )
    switched_on = needs_proxy(observed.service) and not is_proxied(observed)
    return f"proxy: {_trouble(stuck)[1]}" if stuck or switched_on else ""


def proxy_targets(observed: ServiceObserved) -> tuple[ScrapeTarget, ...]:
    """Return the proxies whose counts are read: those of a service with a canary."""
    if observed.service.spec.canary is None:
        return ()
    ready = (pod for pod in proxies(observed, ready=True) if pod.ip)
    return tuple(
        ScrapeTarget(pod.name, pod.ip, names.PROXY_METRICS_PORT, names.PROXY_STATS_PATH, proxy=True) for pod in ready
    )


def _config(observed: ServiceObserved, serving: RevisionStatus | None, share: Share | None) -> ProxyConfig | None:
    """Return what the proxy is to do, None while the Service behind it has no address."""
    service, access = observed.service, observed.service.spec.access
    address = service_address(observed, names.stable_name(service.base))
    if serving is None or not address:
        return None
    keys, tls = access.api_keys_secret_ref is not None, access.tls_secret_ref is not None
    return ProxyConfig(Upstream(address, serving.port), share, keys=keys, tls=tls)


def _made(observed: ServiceObserved, config: ProxyConfig, replicas: int) -> dict[str, Any]:
    image = observed.defaults.proxy_image
    return proxy_deployment(observed.service, config, server_settings(observed), image, replicas)


def _deployment(observed: ServiceObserved) -> ChildView | None:
    name = names.proxy_name(observed.service.base)
    return next((d for d in observed.deployments if d.name == name and not d.deleting), None)


def _configured(observed: ServiceObserved, config: ProxyConfig) -> tuple[Action, ...]:
    manifest = proxy_configmap(observed.service, config)
    found = next((c for c in observed.config_maps if c.name == manifest["metadata"]["name"]), None)
    if found is None:
        return (Create(Kind.CONFIG_MAP, manifest),)
    if found.manifest.get("data") == manifest["data"] or found.deleting:
        return ()
    return (Update(Kind.CONFIG_MAP, found.name, found.uid, {"data": manifest["data"]}),)


def _deployed(observed: ServiceObserved, made: dict[str, Any]) -> tuple[Action, ...]:
    found = _deployment(observed)
    if found is None:
        return (Create(Kind.DEPLOYMENT, made),)
    patch: dict[str, Any] = {}
    if found.manifest["spec"].get("replicas") != made["spec"]["replicas"]:
        patch["replicas"] = made["spec"]["replicas"]
    if config_digest(found.manifest) != config_digest(made):
        patch["template"] = made["spec"]["template"]
    return (Update(Kind.DEPLOYMENT, found.name, found.uid, {"spec": patch}),) if patch else ()


def _removed(observed: ServiceObserved) -> tuple[Action, ...]:
    """Return the proxy's end; the Service that it asks stays until its last pod has ended."""
    base = observed.service.base
    found, maps = _deployment(observed), (c for c in observed.config_maps if c.name == names.proxy_name(base))
    gone = found is None and not proxies(observed)
    behind = (s for s in observed.services if s.name == names.stable_name(base) and gone)
    return (
        *((Delete(Kind.DEPLOYMENT, found.name, found.uid),) if found is not None else ()),
        *(Delete(Kind.CONFIG_MAP, c.name, c.uid) for c in maps if gone and not c.deleting),
        *(Delete(Kind.SERVICE, s.name, s.uid) for s in behind if not s.deleting),
    )


def _trouble(pods: tuple[PodView, ...]) -> tuple[str, str]:
    """Return reason and sentence of why proxies do not serve."""
    for pod in pods:
        container = pod.container(names.CONTAINER_PROXY)
        words = last_words(container)
        if container is not None and (container.restarts or container.exit_code) and words.get("message"):
            return reason_of(words, Reason.PROXY_STARTING), str(words["message"])[:500]
        if container is not None and container.waiting_reason not in ("", "PodInitializing", "ContainerCreating"):
            return Reason.PROXY_STARTING, f"{pod.name}: {container.waiting_reason} {container.waiting_message}".strip()
        if pod.scheduling_message:
            return Reason.PROXY_STARTING, f"{pod.name}: {pod.scheduling_message}"
    return Reason.PROXY_STARTING, "waits for a proxy to be ready"
