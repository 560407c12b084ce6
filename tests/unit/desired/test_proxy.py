"""The proxy's configuration and pods as golden files; HAProxy, where there is one, has to take every configuration."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ascend_jobs import names
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.desired.inference.proxy import config_digest, needs_proxy, proxy_configmap, proxy_deployment
from ascend_jobs.desired.inference.proxyconfig import ProxyConfig, Share, Upstream, haproxy_config
from ascend_jobs.desired.pods import PodSettings
from builders import make_body

GOLDEN = Path(__file__).parents[2] / "golden" / "proxy"
STABLE, OTHER = Upstream("10.96.0.10", 8000), Upstream("10.96.0.11", 1025)
SETTINGS = PodSettings("", "", "IfNotPresent", ("pull",), "huawei.com/Ascend910", {})
CASES = {
    "keys": ProxyConfig(STABLE, keys=True),
    "canary-sticky": ProxyConfig(STABLE, Share(OTHER, 20, "X-User")),
    "keys-tls-canary": ProxyConfig(STABLE, Share(OTHER, 5), keys=True, tls=True),
    "ipv6": ProxyConfig(Upstream("fd00:10:96::a", 8000), Share(Upstream("fd00:10:96::b", 8000), 0)),
}
ACCESS = {"apiKeysSecretRef": {"name": "faq-keys"}, "tlsSecretRef": {"name": "faq-tls"}}
PROGRAM = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")


def service(**spec):
    body = make_body()
    return InferenceService.parse({**body, "spec": {"model": {"uri": "pvc://models/faq"}, **spec}})


def golden(name, text):
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("case", CASES)
def test_configuration(case):
    golden(f"{case}.cfg", haproxy_config(CASES[case]))


@pytest.mark.skipif(PROGRAM is None, reason="needs haproxy (apt-get install haproxy)")
@pytest.mark.parametrize("case", CASES)
def test_haproxy_takes_it(case, tmp_path):
    config = replace(CASES[case], files=str(tmp_path))
    (tmp_path / names.PROXY_KEYS_FILE).write_text(f"{'0' * 64}\n")
    if config.tls:
        (tmp_path / names.PROXY_TLS_FILE).write_bytes(pem(tmp_path))
    (tmp_path / "haproxy.cfg").write_text(haproxy_config(config))
    command = [PROGRAM, "-c", "-f", str(tmp_path / "haproxy.cfg")]
    done = subprocess.run(command, env={"LISTEN": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr


def pem(folder):
    key, cert = folder / "k", folder / "c"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    made = [*command, "-keyout", str(key), "-out", str(cert), "-subj", "/CN=faq"]
    subprocess.run(made, capture_output=True, check=True)
    return cert.read_bytes() + key.read_bytes()


def test_children():
    faq = service(access=ACCESS, canary={"model": {"uri": "pvc://models/other"}})
    config = CASES["keys-tls-canary"]
    made = proxy_deployment(faq, config, SETTINGS, "registry.example.com/proxy:1", 2)
    made["spec"]["template"]["metadata"]["annotations"][names.PROXY_CONFIG] = "of template and configuration"
    golden("deployment.yaml", yaml.safe_dump(made, sort_keys=False, width=120))
    assert proxy_configmap(faq, config)["data"] == {"haproxy.cfg": haproxy_config(config)}


def test_the_digest_follows_all_that_a_proxy_is_made_of():
    faq = service(access=ACCESS)
    plain = ProxyConfig(STABLE, keys=True, tls=True)
    digests = [
        config_digest(proxy_deployment(faq, plain, SETTINGS, "a", 1)),
        config_digest(proxy_deployment(faq, replace(plain, canary=Share(OTHER, 1)), SETTINGS, "a", 1)),
        config_digest(proxy_deployment(faq, replace(plain, canary=Share(OTHER, 2)), SETTINGS, "a", 1)),
        config_digest(proxy_deployment(faq, plain, SETTINGS, "b", 1)),
        config_digest(proxy_deployment(service(access={**ACCESS, "tlsSecretRef": None}), plain, SETTINGS, "a", 1)),
    ]
    assert len(set(digests)) == len(digests)
    assert config_digest(proxy_deployment(faq, plain, SETTINGS, "a", 2)) == digests[0], "their number does not matter"


@pytest.mark.parametrize(
    ("spec", "needed"),
    [
        ({}, False),
        ({"access": {"service": {"type": "NodePort"}}}, False),
        ({"access": {"apiKeysSecretRef": {"name": "k"}}}, True),
        ({"access": {"tlsSecretRef": {"name": "k"}}}, True),
        ({"canary": {"model": {"uri": "pvc://models/other"}}}, True),
    ],
)
def test_who_needs_a_proxy(spec, needed):
    assert needs_proxy(service(**spec)) is needed
