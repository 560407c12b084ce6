"""The HTTP client: what it sends, what it makes of answers, and who it says it is."""

from __future__ import annotations

import asyncio
import ssl

import orjson
import pytest
import yaml
from ascend_jobs import names
from ascend_jobs.cluster.calls import Call, parse_call
from ascend_jobs.cluster.client import Query
from ascend_jobs.cluster.connection import find_endpoint, in_cluster_endpoint, kubeconfig_endpoint
from ascend_jobs.cluster.verbs import JOBS, NODES, PODS, RULES, Scope
from ascend_jobs.errors import ApiError
from unit.cluster.source import Source, pod, serving, status
from yarl import URL

FTJ = JOBS[names.FINE_TUNE_SHORT]
OK = (200, {}, b"{}")


def answer(code: int, body: dict | bytes = b"{}", **headers: str):
    return (code, headers, body if isinstance(body, bytes) else orjson.dumps(body))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("ascend_jobs.cluster.client._THROTTLED", (0.01, 0.01))


@pytest.mark.parametrize(
    ("call", "method", "path", "query", "body"),
    [
        pytest.param(lambda api: api.get(PODS, "a", "p"), "GET", "/api/v1/namespaces/a/pods/p", {}, b"", id="get"),
        pytest.param(lambda api: api.get(NODES, "", "n"), "GET", "/api/v1/nodes/n", {}, b"", id="get-cluster"),
        pytest.param(
            lambda api: api.create(PODS, "a", {"x": 1}),
            "POST",
            "/api/v1/namespaces/a/pods",
            {"fieldManager": "ascend-jobs"},
            b'{"x":1}',
            id="create",
        ),
        pytest.param(
            lambda api: api.patch(FTJ, "a", "j", {"status": {}}, status=True),
            "PATCH",
            "/apis/ascendjobs.io/v1alpha1/namespaces/a/finetunejobs/j/status",
            {"fieldManager": "ascend-jobs-status"},
            b'{"status":{}}',
            id="patch-status",
        ),
        pytest.param(
            lambda api: api.delete(PODS, "a", "p", "u", grace_seconds=0),
            "DELETE",
            "/api/v1/namespaces/a/pods/p",
            {},
            b'{"propagationPolicy":"Background","preconditions":{"uid":"u"},"gracePeriodSeconds":0}',
            id="delete",
        ),
        pytest.param(
            lambda api: api.delete_collection(Query(PODS, "a", labels="k=v")),
            "DELETE",
            "/api/v1/namespaces/a/pods",
            {"labelSelector": "k=v"},
            b'{"propagationPolicy":"Background"}',
            id="deletecollection",
        ),
    ],
)
async def test_what_is_sent(call, method, path, query, body):
    source = Source(answers=[OK])
    async with serving(source) as api:
        await call(api)
    (request,) = source.asked
    assert (request.method, request.path, dict(request.query)) == (method, path, query)
    assert source.bodies == [body]
    if method == "PATCH":
        assert request.headers["Content-Type"] == "application/merge-patch+json"


async def test_a_refusal_has_the_words_of_the_server():
    source = Source(answers=[answer(409, status(409, "exists", "AlreadyExists")), answer(502, b"<html>bad gateway")])
    async with serving(source) as api:
        with pytest.raises(ApiError) as refused:
            await api.get(PODS, "a", "p")
        assert (refused.value.status, refused.value.message, refused.value.reason) == (409, "exists", "AlreadyExists")
        with pytest.raises(ApiError) as refused:
            await api.get(PODS, "a", "p")
        assert (refused.value.status, refused.value.message) == (502, "<html>bad gateway")


async def test_a_throttled_call_is_repeated_when_the_server_says():
    source = Source(answers=[answer(429, **{"Retry-After": "0.2"}), answer(429), answer(200, {"a": 1})])
    async with serving(source) as api:
        started = asyncio.get_running_loop().time()
        assert await api.create(PODS, "a", {}) == {"a": 1}
        assert asyncio.get_running_loop().time() - started >= 0.2


async def test_a_call_that_is_throttled_for_ever_fails():
    source = Source(answers=[answer(429, status(429, "slow down"))] * 5)
    async with serving(source) as api:
        with pytest.raises(ApiError, match="slow down"):
            await api.get(PODS, "a", "p")


async def test_no_answer_has_status_zero():
    async with serving(Source()) as api:
        pass
    source = Source(answers=[OK])
    async with serving(source) as api:
        api._server = "http://127.0.0.1:1"
        with pytest.raises(ApiError) as failed:
            await api.get(PODS, "a", "p")
        assert failed.value.status == 0
        with pytest.raises(ApiError) as failed:
            async for _ in api.watch(Query(PODS), "1"):
                pass
        assert failed.value.status == 0


async def test_an_unreadable_answer_is_an_error():
    async with serving(Source(answers=[answer(200, b"no json")])) as api:
        with pytest.raises(ApiError, match="unreadable"):
            await api.get(PODS, "a", "p")


async def test_calls_at_the_same_time_are_bounded():
    source = Source([pod(0, 1)])
    async with serving(source) as api:
        api._slots = asyncio.Semaphore(3)
        await asyncio.gather(*(api.page(Query(PODS)) for _ in range(20)))
        assert api._slots._value == 3
    assert len(source.asked) == 20


async def test_the_token_of_the_moment_is_sent(tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    source = Source(answers=[OK, answer(401), OK, answer(401, status(401, "Unauthorized"))])
    async with serving(source, token) as api:
        await api.get(PODS, "a", "p")
        token.write_text("second\n")
        await api.get(PODS, "a", "p")
        with pytest.raises(ApiError, match="401"):
            await api.get(PODS, "a", "p")
    sent = [request.headers["Authorization"] for request in source.asked]
    assert sent == ["Bearer first", "Bearer first", "Bearer second", "Bearer second"]


async def test_what_is_discovered():
    found = {"resources": [{"name": "finetunejobs"}, {"name": "finetunejobs/status"}]}
    async with serving(Source(answers=[answer(200, found), answer(404, status(404))])) as api:
        assert "finetunejobs" in await api.discover(FTJ.prefix)
        assert await api.discover(FTJ.prefix) == frozenset()


async def test_a_log_comes_in_chunks():
    source = Source(answers=[answer(200, b"one\ntwo\n"), answer(400, status(400, "ContainerCreating"))])
    async with serving(source) as api:
        chunks = [chunk async for chunk in api.read_log("a", "p", "c", tail=7)]
        assert b"".join(chunks) == b"one\ntwo\n"
        with pytest.raises(ApiError, match="ContainerCreating"):
            async for _ in api.read_log("a", "p", "c", tail=7):
                pass
    assert dict(source.asked[0].query) == {"container": "c", "follow": "true", "tailLines": "7"}


@pytest.mark.parametrize(
    ("method", "url", "call"),
    [
        ("GET", "/api/v1/pods?watch=true", Call("watch", "", "pods")),
        ("GET", "/api/v1/pods", Call("list", "", "pods")),
        ("GET", "/api/v1/namespaces/a/pods", Call("list", "", "pods")),
        ("GET", "/api/v1/namespaces/a/pods/p", Call("get", "", "pods")),
        ("GET", "/api/v1/namespaces/a/pods/p/log?follow=true", Call("get", "", "pods/log")),
        ("GET", "/api/v1/namespaces/a", Call("get", "", "namespaces")),
        ("DELETE", "/api/v1/namespaces/a/pods", Call("deletecollection", "", "pods")),
        ("PATCH", "/apis/g.io/v1/namespaces/a/things/t/status", Call("patch", "g.io", "things/status")),
        ("PUT", "/apis/g.io/v1/things/t", Call("update", "g.io", "things")),
        ("POST", "/apis/g.io/v1/namespaces/a/things", Call("create", "g.io", "things")),
        ("GET", "/apis/g.io/v1", Call("get")),
        ("GET", "/apis", Call("get")),
        ("GET", "/version", Call("get")),
    ],
)
def test_parse_call(method, url, call):
    assert parse_call(method, URL("http://server" + url)) == call


def test_rules_give_no_right_on_secrets_and_write_nothing_that_has_no_namespace():
    assert not any(rule.resource.startswith("secrets") for rule in RULES)
    for rule in RULES:
        if rule.scope is Scope.CLUSTER:
            assert set(rule.verbs) <= {"get", "list", "watch"}


def test_a_pod_finds_its_cluster(tmp_path, monkeypatch):
    from apiserver.certificates import Authority

    Authority(tmp_path)
    (tmp_path / "token").write_text("t")
    found = in_cluster_endpoint({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}, tmp_path)
    assert found.server == "https://[fd00::1]:6443"
    assert asyncio.run(found.tokens.token()) == "t"
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED


def write_kubeconfig(path, *, user: dict, **cluster) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [
            {"name": "one", "cluster": {"server": "https://one.example.com:6443/base/", **cluster}},
            {"name": "two", "cluster": {"server": "http://two.example.com"}},
        ],
        "users": [{"name": "me", "user": user}],
        "contexts": [
            {"name": "one", "context": {"cluster": "one", "user": "me"}},
            {"name": "two", "context": {"cluster": "two", "user": "me"}},
        ],
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


async def test_a_kubeconfig_with_a_token_and_a_proxy(tmp_path):
    path = write_kubeconfig(tmp_path / "config", user={"token": "abc"}, **{"proxy-url": "http://proxy:3128"})
    found = kubeconfig_endpoint(path)
    assert (found.server, found.proxy) == ("https://one.example.com:6443/base", "http://proxy:3128")
    assert await found.tokens.token() == "abc"
    two = kubeconfig_endpoint(path, "two")
    assert (two.server, two.tls, two.proxy) == ("http://two.example.com", None, None)


def test_proxies_of_the_environment_and_who_is_asked_without(tmp_path, monkeypatch):
    path = write_kubeconfig(tmp_path / "config", user={"token": "abc"})
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert kubeconfig_endpoint(path).proxy == "http://proxy:3128"
    monkeypatch.setenv("NO_PROXY", "localhost,.example.com")
    assert kubeconfig_endpoint(path).proxy is None


async def test_a_kubeconfig_with_an_exec_plugin_that_renews_its_token(tmp_path):
    count, plugin = tmp_path / "count", tmp_path / "plugin"
    count.write_text("")
    plugin.write_text(
        f"""#!/bin/sh
echo x >> {count}
echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status":
 {{"token": "'$(wc -l < {count})'", "expirationTimestamp": "2020-01-01T00:00:00Z"}}}}'
"""
    )
    plugin.chmod(0o755)
    run = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    found = kubeconfig_endpoint(write_kubeconfig(tmp_path / "config", user={"exec": run}))
    first, second = await found.tokens.token(), await found.tokens.token()
    assert int(second) > int(first) >= 1


async def test_a_kubeconfig_with_a_certificate_of_another_name(tmp_path):
    from apiserver.certificates import Authority

    authority = Authority(tmp_path)
    authority.client("me")
    files = {"client-certificate": f"{tmp_path}/me.crt", "client-key": f"{tmp_path}/me.key"}
    extra = {"certificate-authority": f"{tmp_path}/ca.crt", "tls-server-name": "kubernetes.default.svc"}
    found = kubeconfig_endpoint(write_kubeconfig(tmp_path / "config", user=files, **extra))
    assert await found.tokens.token() == ""
    assert found.tls is not None
    assert found.tls.check_hostname
    tls = found.tls.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="one.example.com")
    assert tls.server_hostname == "kubernetes.default.svc"


def test_which_endpoint_is_taken(tmp_path, monkeypatch):
    path = write_kubeconfig(tmp_path / "config", user={"token": "abc"})
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert find_endpoint(path).server.startswith("https://one"), "what was named comes first"
    with pytest.raises(OSError):
        find_endpoint()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", path)
    assert find_endpoint().server.startswith("https://one")
