"""Lives of services behind a proxy: HAProxy's pods, too, do what the test says, and requests must always find a way."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ascend_jobs import names
from ascend_jobs.cluster.store import Key
from ascend_jobs.cluster.verbs import CHILDREN, PODS
from ascend_jobs.decide.inference.observed import LoadView, ProbeView, TrafficView
from ascend_jobs.decide.plan import Kind
from flow.harness import NAMESPACE
from flow.services import DEPLOYMENTS, ServiceLife

SERVICES, CONFIG_MAPS = CHILDREN[Kind.SERVICE], CHILDREN[Kind.CONFIG_MAP]
BASE, PROXY, STABLE = "faq-aisvc", "faq-aisvc-proxy", "faq-aisvc-stable"


class CanaryLife(ServiceLife):
    """A life with the hands that run proxies."""

    def __init__(self, **world: Any) -> None:
        self.configs: dict[str, str] = {}
        self.made = 0
        self._was_proxied: bool | None = None
        super().__init__(**world)

    def _start(self) -> None:
        super()._start()
        defaults = replace(self.cluster.defaults, proxy_image="registry.example.com/proxy:1")
        self.cluster = replace(self.cluster, defaults=defaults)

    def _roll_one(self, found: dict[str, Any]) -> None:
        if found["metadata"]["name"] != PROXY:
            super()._roll_one(found)

    async def roll_proxies(self, *, ready: bool = True, reap: bool = True) -> None:
        """Replace the proxies by those that the Deployment asks for, new ones first; `reap`: old ones have drained."""
        await self.settle()
        found = self.api.find(DEPLOYMENTS, NAMESPACE, PROXY)
        template = found["spec"]["template"] if found else {"metadata": {"labels": {}, "annotations": {}}}
        digest = template["metadata"]["annotations"].get(names.PROXY_CONFIG)
        fresh = [p for p in self.proxies() if p["metadata"]["annotations"].get(names.PROXY_CONFIG) == digest]
        for _ in range((found["spec"]["replicas"] if found else 0) - len(fresh)):
            self.made += 1
            meta = {**template["metadata"], "name": f"{PROXY}-{digest[:8]}-{self.made}", "namespace": NAMESPACE}
            self.api.add(PODS, NAMESPACE, {"metadata": meta, "spec": template["spec"], "status": {"phase": "Pending"}})
            self.schedule(meta["name"])
            if ready:
                self.run(meta["name"])
            await self.settle()
        for pod in self.proxies():
            if ready and pod["metadata"]["annotations"].get(names.PROXY_CONFIG) != digest:
                self.api.remove(PODS, NAMESPACE, pod["metadata"]["name"], grace_seconds=3600)
        await self.settle()
        if reap:
            self.reap()
            await self.settle()

    def proxies(self) -> list[dict[str, Any]]:
        """Return the proxies that are not on their way out."""
        return [p for p in self.pods(names.ROLE_PROXY) if "deletionTimestamp" not in p["metadata"]]

    async def turn(self) -> None:
        """Let everybody do what there is to do: looks, engines, proxies, completions."""
        await self.inspect()
        await self.roll()
        await self.roll_proxies()
        await self.answer_all()

    async def fail(self, name: str, failures: int) -> None:
        """Let this many completions in a row have failed."""
        uid = self.service()["metadata"]["uid"]
        self.prober.views[uid][name] = ProbeView(self.now, False, "HTTP 500: boom", failures=failures)
        self._wake(Key(names.INFERENCE_SHORT, NAMESPACE, "faq"))
        await self.settle()

    async def count(self, **versions: tuple[int, int, float]) -> None:
        """Let every proxy tell (requests, errors, milliseconds) of each version."""
        traffic = {version: TrafficView(*told) for version, told in versions.items()}
        uid = self.service()["metadata"]["uid"]
        self.scraper.views[uid] = {
            p["metadata"]["name"]: LoadView(self.now, traffic=traffic) for p in self.pods(names.ROLE_PROXY)
        }
        self._wake(Key(names.INFERENCE_SHORT, NAMESPACE, "faq"))
        await self.settle()

    def config(self) -> str:
        """Return haproxy.cfg, "" when there is none."""
        found = self.api.find(CONFIG_MAPS, NAMESPACE, PROXY)
        return found["data"][names.PROXY_CONFIG_FILE] if found else ""

    def weight(self) -> int | None:
        """Return the canary's weight in haproxy.cfg, None when it is not there."""
        found = re.search(r"use_backend canary .* lt (\d+)", self.config())
        return int(found[1]) // 100 if found else None

    def selector(self, name: str = BASE) -> dict[str, str]:
        """Return whom a Service selects."""
        found = self.api.find(SERVICES, NAMESPACE, name)
        return found["spec"]["selector"] if found else {}

    def is_proxied(self) -> bool:
        """Whether the public Service selects the proxy."""
        return self.selector().get(names.ROLE) == names.ROLE_PROXY

    def check(self) -> None:
        """Assert what holds after every pass, of proxies too."""
        super().check()
        self._check_entrance()
        self._check_upstreams()

    def _check_entrance(self) -> None:
        """The public Service changes to a proxy that is ready, and back while the proxy is still there."""
        service = self.api.find(SERVICES, NAMESPACE, BASE)
        if service is None:
            return
        proxied = self.is_proxied()
        if self._was_proxied is False and proxied:
            assert any(_is_ready(p) for p in self.proxies()), "requests go to a proxy that is not ready"
        if self._was_proxied and not proxied:
            assert self.api.find(DEPLOYMENTS, NAMESPACE, PROXY), "the proxy went before requests went elsewhere"
        self._was_proxied = proxied

    def _check_upstreams(self) -> None:
        """Whatever a proxy may send requests to is there: of proxies on their way out, too."""
        found = self.api.find(DEPLOYMENTS, NAMESPACE, PROXY)
        if found is not None and self.config():
            digest = found["spec"]["template"]["metadata"]["annotations"][names.PROXY_CONFIG]
            self.configs.setdefault(digest, self.config())
        services = {s["spec"].get("clusterIP"): s["metadata"]["name"] for s in self.api.all(SERVICES)}
        for pod in self.pods(names.ROLE_PROXY):
            config = self.configs.get(pod["metadata"]["annotations"].get(names.PROXY_CONFIG), "")
            for address in re.findall(r"server \w+ ([\d.]+):", config):
                assert address in services, f"{pod['metadata']['name']} sends requests to a Service that is gone"
                number = services[address].rpartition("-")[2]
                if number.isdecimal():
                    pods = [
                        p for p in self.pods(names.ROLE_SERVER) if p["metadata"]["labels"][names.REVISION] == number
                    ]
                    asked = self.replicas().get(services[address], 0) or self.service()["spec"].get("suspend")
                    assert asked or not pods, "a version's pods go before the proxies have forgotten it"


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions") or ())
