"""What a pod event costs by four ways, measured in one run against one source on the loopback.

    floor     read the stream with aiohttp, split it, decode it with orjson, keep nothing
    ours      the informer and store of ascend_jobs.cluster
    official  kubernetes.informer.SharedInformer of the official client (threads, models)
    kopf      a kopf.on.event handler with null storages, as the operator watches its jobs

Each way runs in a process of its own; what counts is its CPU time per event, as a ratio to the floor and to ours.
Usage: python3 hack/bench_informer.py [--events 5000] [--pods 200]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession, web

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "operator"))

from ascend_jobs import names
from ascend_jobs.cluster.cache import Cache
from ascend_jobs.cluster.client import HttpApi, Query
from ascend_jobs.cluster.connection import Endpoint, Pool
from ascend_jobs.cluster.informer import Informer
from ascend_jobs.cluster.lines import LineSplitter
from ascend_jobs.cluster.verbs import PODS
from ascend_jobs.handlers.jobs import make_settings
from ascend_jobs.metrics import Metrics

Way = Callable[[str, int, Connection], None]


def make_pod(number: int, version: int) -> dict[str, Any]:
    """Return a pod of some 6.5 KB, managed fields included, as a running worker has it."""
    managed = {f"f:field-{i}": {"f:name": {}, "f:value": {}, ".": {}} for i in range(55)}
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    env = [{"name": f"VARIABLE_{i}", "value": "some value that a trainer needs"} for i in range(25)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"job-ftj-0-worker-{number}",
            "namespace": "team-a",
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                names.JOB_UID: f"uid-{number % 10}",
                names.JOB_NAME: f"job-{number % 10}",
                names.JOB_KIND: names.FINE_TUNE_SHORT,
                names.ROLE: names.ROLE_WORKER,
                names.ATTEMPT: "0",
                names.RANK_INDEX: str(number),
            },
            "annotations": {names.RANK_TABLE_TOUCH: str(version)},
            "managedFields": [{"manager": m, "operation": "Update", "fieldsV1": managed} for m in ("a", "b")],
        },
        "spec": {
            "nodeName": f"node-{number}",
            "containers": [{"name": "trainer", "image": "registry.example.com/trainer:1", "env": env}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.244.0.5",
            "hostIP": "10.0.0.1",
            "conditions": [
                {"type": t, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                for t in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ],
            "containerStatuses": [
                {"name": "trainer", "state": state, "ready": True, "restartCount": 0, "image": "i", "imageID": "i"}
            ],
        },
    }


def serve(pods: int, events: int, ready: Connection) -> None:
    """Serve a list of pods, then a watch that sends all events as fast as they are taken, and stays open."""
    listed = orjson.dumps(
        {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "1000"},
            "items": [make_pod(n, n + 1) for n in range(pods)],
        }
    )
    lines = [orjson.dumps({"type": "MODIFIED", "object": make_pod(n % pods, 1001 + n)}) + b"\n" for n in range(events)]

    async def list_or_watch(request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") not in ("true", "True", "1"):
            return web.Response(body=listed, content_type="application/json")
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        for start in range(0, events, 20):
            await answer.write(b"".join(lines[start : start + 20]))
        await asyncio.sleep(600)
        return answer

    async def described(request: web.Request) -> web.Response:
        return web.json_response(_DISCOVERY[request.path])

    async def main() -> None:
        app = web.Application()
        for path in _DISCOVERY:
            app.router.add_get(path, described)
        app.router.add_get("/api/v1/pods", list_or_watch)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await asyncio.sleep(3600)

    asyncio.run(main())


def _resource(name: str, kind: str, *, namespaced: bool) -> dict[str, Any]:
    return {
        "name": name,
        "singularName": "",
        "kind": kind,
        "namespaced": namespaced,
        "verbs": ["list", "watch", "patch"],
    }


_CRDS = "apiextensions.k8s.io"
_DISCOVERY: dict[str, Any] = {
    "/api": {"versions": ["v1"]},
    "/apis": {
        "groups": [
            {
                "name": _CRDS,
                "versions": [{"groupVersion": f"{_CRDS}/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": f"{_CRDS}/v1", "version": "v1"},
            }
        ]
    },
    "/api/v1": {
        "resources": [
            _resource("pods", "Pod", namespaced=True),
            _resource("namespaces", "Namespace", namespaced=False),
            _resource("events", "Event", namespaced=True),
        ]
    },
    f"/apis/{_CRDS}/v1": {
        "resources": [_resource("customresourcedefinitions", "CustomResourceDefinition", namespaced=False)]
    },
}


class Count:
    """Counts events; measures the CPU time of this process from the first to the last."""

    def __init__(self, events: int, result: Connection) -> None:
        self._left, self._events, self._result = events, events, result
        self._started = 0.0

    def reset(self) -> None:
        """Count from the beginning."""
        self._left = self._events

    def one(self) -> None:
        """Count an event; the last one sends the result."""
        if self._left == self._events:
            self._started = time.process_time()
        self._left -= 1
        if self._left == 0:
            self._result.send((time.process_time() - self._started) / (self._events - 1) * 1e6)


def floor(server: str, events: int, result: Connection) -> None:
    """Read and decode, nothing else."""

    async def main() -> None:
        count, splitter = Count(events, result), LineSplitter(1 << 24)
        async with ClientSession() as session, session.get(f"{server}/api/v1/pods?watch=true") as answer:
            async for chunk in answer.content.iter_any():
                for line in splitter.feed(chunk):
                    orjson.loads(line)
                    count.one()

    asyncio.run(main())


def ours(server: str, events: int, result: Connection) -> None:
    """Run the operator's informer."""

    async def main() -> None:
        count = Count(events, result)
        cache = Cache(lambda _: count.one())
        api = HttpApi(Pool(Endpoint(server)))
        informer = Informer(api, Query(PODS), cache.pods, Metrics())
        task = asyncio.create_task(informer.run())
        await informer.listed.wait()
        count.reset()  # the list woke as well
        await task

    asyncio.run(main())


def official(server: str, events: int, result: Connection) -> None:
    """Run the official client's informer."""
    from kubernetes import client
    from kubernetes.informer import MODIFIED, SharedInformer

    count = Count(events, result)
    api = client.CoreV1Api(client.ApiClient(client.Configuration(host=server)))
    informer = SharedInformer(api.list_pod_for_all_namespaces)
    informer.add_event_handler(MODIFIED, lambda _: count.one())
    informer.start()
    time.sleep(3600)


def kopf_event(server: str, events: int, result: Connection) -> None:
    """Run a Kopf handler."""
    import kopf

    count, registry = Count(events, result), kopf.OperatorRegistry()

    async def login(**_: object) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=server)

    async def seen(type: str | None, **_: object) -> None:
        if type == "MODIFIED":
            count.one()

    kopf.on.login(registry=registry)(login)
    kopf.on.event("", "v1", "pods", registry=registry)(seen)
    asyncio.run(kopf.operator(registry=registry, settings=make_settings(), clusterwide=True, standalone=True))


WAYS: dict[str, Way] = {"floor": floor, "ours": ours, "official": official, "kopf": kopf_event}


def measure(way: Way, server: str, events: int) -> float:
    """Return microseconds of CPU per event."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=way, args=(server, events, there), daemon=True)
    process.start()
    if not here.poll(600):
        raise SystemExit(f"{way.__name__} did not see all events within 600 s")
    result: float = here.recv()
    process.kill()
    return result


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=200)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    source = multiprocessing.get_context("spawn").Process(
        target=serve, args=(options.pods, options.events, there), daemon=True
    )
    source.start()
    server = f"http://127.0.0.1:{here.recv()}"
    size = len(orjson.dumps(make_pod(0, 1)))
    print(f"{options.events} events of {size} bytes, {options.pods} pods; CPU of the watching process")
    costs = {name: measure(way, server, options.events) for name, way in WAYS.items()}
    for name, cost in costs.items():
        print(
            f"{name:9} {cost:8.1f} us/event  {cost / costs['floor']:6.1f} x floor  {cost / costs['ours']:6.1f} x ours"
        )


if __name__ == "__main__":
    main()
