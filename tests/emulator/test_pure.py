"""Settings, chips, faults, annotations, device information, node labels: tables and golden files."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import replace

import pytest
from ascend_emulator import deviceinfo, nodeinfo, nodes
from ascend_emulator.annotations import PodIdentity, desired_annotations
from ascend_emulator.chips import Fault, Level, device_ip, is_healthy, make_chips
from ascend_emulator.faults import parse_faults
from ascend_emulator.settings import SettingsError, describe_settings, read_settings
from ascend_emulator.state import Holder
from emulator.builders import golden, make_node, make_settings, make_state, vectors

NOW = 1760000000
RESTART = Fault("80E01801", Level.RESTART_NPU, NOW)


@pytest.mark.parametrize(
    ("variables", "field", "want"),
    [
        pytest.param({}, "resource_name", "huawei.com/Ascend910", id="mindcluster"),
        pytest.param({"PROFILE": "cce"}, "resource_name", "huawei.com/ascend-1980", id="cce"),
        pytest.param({"PROFILE": "cce", "RESOURCE_NAME": "example.com/npu"}, "kind", "npu", id="own-resource"),
        pytest.param({"NPU_COUNT": "16"}, "npu_count", 16, id="count"),
        pytest.param({"NPU_COUNT": ""}, "npu_count", 8, id="empty-is-default"),
        pytest.param({"PREFER_DEVICES": "True"}, "prefer_devices", True, id="switch"),
        pytest.param({"NODE_IP": "fd00::3"}, "node_ip", "fd00::3", id="ipv6"),
    ],
)
def test_settings(variables, field, want):
    assert getattr(make_settings(**variables), field) == want


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NODE_NAME", ""), ("NODE_IP", ""), ("NODE_IP", "here"), ("PROFILE", "gpu"), ("NPU_COUNT", "0"),
        ("NPU_COUNT", "65"), ("NPU_COUNT", "eight"), ("LIST_WATCH_SECONDS", "nan"), ("LIST_WATCH_SECONDS", "0"),
        ("PREFER_DEVICES", "yes"), ("RESOURCE_NAME", "Ascend910"), ("CHIP_NAME", "9 10"), ("METRICS_PORT", "70000"),
    ],
)  # fmt: skip
def test_settings_refused(variable, value):
    with pytest.raises(SettingsError, match=f"^{variable} is "):
        make_settings(**{variable: value})


def test_settings_are_described():
    assert describe_settings().count("default") == len(make_settings().__dataclass_fields__) - 2
    with pytest.raises(SettingsError, match="NODE_NAME is not set"):
        read_settings({})


def test_device_ips_are_unique_in_a_large_cluster():
    addresses = [str(address) for address in ipaddress.ip_network("172.18.0.0/18")]
    found = {device_ip(node, number) for node in addresses for number in (0, 7, 63)}
    assert len(found) == len(addresses) * 3
    assert all(ipaddress.ip_address(ip) in ipaddress.ip_network("100.64.0.0/10") for ip in list(found)[:1000])
    assert (device_ip("172.18.0.3", 0), device_ip("172.18.1.3", 7)) == ("100.64.3.1", "100.65.3.8")
    assert device_ip("fd00::3", 0) == "100.64.3.1"


def test_chips():
    chips = make_chips(make_settings(NPU_COUNT="16"))
    assert chips[0].device == "Ascend910-0"
    assert [chip.bus for chip in chips[6:10]] == ["0000:41:00.0", "0000:42:00.0", "0000:08:00.0", "0000:09:00.0"]
    assert len({(chip.ip, chip.bus, chip.die) for chip in chips}) == 16


@pytest.mark.parametrize(
    ("level", "used", "want"),
    [
        (None, False, True), (Level.NOT_HANDLE_FAULT, False, True), (Level.SUB_HEALTH_FAULT, True, True),
        (Level.RESTART_REQUEST, False, False), (Level.RESTART_BUSINESS, True, False),
        (Level.FREE_RESTART_NPU, False, False), (Level.RESTART_NPU, True, False),
        (Level.PRE_SEPARATE_NPU, True, True), (Level.PRE_SEPARATE_NPU, False, False),
        (Level.SEPARATE_NPU, True, False), (Level.MANUALLY_SEPARATE_NPU, False, False),
    ],
)  # fmt: skip
def test_is_healthy(level, used, want):
    assert is_healthy(level and Fault("80E01801", level, 0), used=used) is want


@pytest.mark.parametrize(
    ("text", "faults", "problems"),
    [
        pytest.param("{}", {}, 0, id="none"),
        pytest.param('{"3":{"code":"80E01801","level":"RestartNPU"}}', {3: RESTART}, 0, id="one"),
        pytest.param(
            '{"7":{"code":"80E01801","level":"SeparateNPU","time":5},"0":{"code":"81078603","level":"SubHealthFault"}}',
            {0: Fault("81078603", Level.SUB_HEALTH_FAULT, NOW), 7: Fault("80E01801", Level.SEPARATE_NPU, 5)},
            0,
            id="two",
        ),
        pytest.param(
            '{"3":{"code":"80E01801","level":"RestartNPU"},"8":{}}', {3: RESTART}, 1, id="one-of-two-is-wrong"
        ),
        pytest.param("[1]", {}, 1, id="no-object"),
        pytest.param("{", {}, 1, id="no-json"),
        pytest.param("[" * 100_000, {}, 1, id="deep"),
        pytest.param('{"3": "broken"}', {}, 1, id="no-entry"),
        pytest.param('{"03":{"code":"80E01801","level":"RestartNPU"}}', {}, 1, id="leading-zero"),
        pytest.param('{"-1":{"code":"80E01801","level":"RestartNPU"}}', {}, 1, id="negative"),
        pytest.param('{"3":{"code":"80e01801","level":"RestartNPU"}}', {}, 1, id="small-letters"),
        pytest.param('{"3":{"code":80,"level":"RestartNPU"}}', {}, 1, id="code-is-a-number"),
        pytest.param('{"3":{"code":"80E01801","level":"Broken"}}', {}, 1, id="unknown-level"),
        pytest.param('{"3":{"code":"80E01801","level":["RestartNPU"]}}', {}, 1, id="level-is-a-list"),
        pytest.param('{"3":{"code":"80E01801","level":"RestartNPU","time":true}}', {}, 1, id="time-is-a-bool"),
        pytest.param('{"3":{"code":"80E01801","level":"RestartNPU","time":1e300}}', {}, 1, id="time-is-a-float"),
        pytest.param('{"3":{"code":"80E01801","level":"RestartNPU","time":-1}}', {}, 1, id="time-is-negative"),
    ],
)
def test_parse_faults(text, faults, problems):
    found, told = parse_faults(text, 8, NOW)
    assert (found, len(told)) == (faults, problems)


@pytest.mark.parametrize("profile", ["mindcluster", "cce"])
def test_annotations(profile):
    settings = make_settings(PROFILE=profile, NPU_COUNT="16")
    chips = make_chips(settings)
    pod = PodIdentity("team-a", "faq-ftj-0-worker-1", "5f0c1b7e-1111-4222-8333-944445555666")
    found = desired_annotations(settings, pod, (chips[10], chips[2], chips[9]))
    golden(f"annotations-{profile}.json", json.dumps(found, indent=1) + "\n")


@pytest.mark.parametrize("vector", vectors()["checkCodes"])
def test_check_code_is_gos(vector):
    info = vector["info"]
    ordered = {"DeviceList": dict(sorted(info["DeviceList"].items())), "UpdateTime": info["UpdateTime"]}
    assert deviceinfo.go_json(ordered) == vector["encoded"]
    assert deviceinfo.check_code(ordered) == vector["sha256"]


def test_device_list():
    settings = make_settings()
    state = make_state(settings)
    state.set_faults({2: RESTART, 3: Fault("81078603", Level.SUB_HEALTH_FAULT, NOW), 5: replace(RESTART, time=NOW + 1)})
    state.set_holders({0: Holder("team-a", "faq-0", "trainer"), 2: Holder("team-a", "faq-0", "trainer")})
    config_map = deviceinfo.desired_config_map(settings, deviceinfo.device_list(settings, state), NOW)
    golden("deviceinfo.json", json.dumps(config_map, indent=1) + "\n")


def test_device_list_matches_the_go_vectors():
    settings = make_settings(NPU_COUNT="3")
    state = make_state(settings)
    state.set_faults({2: RESTART})
    config = json.loads(deviceinfo.device_info_cfg(deviceinfo.device_list(settings, state), NOW))
    assert config["CheckCode"] == vectors()["checkCodes"][2]["sha256"]
    assert config["DeviceInfo"] == vectors()["checkCodes"][2]["info"]
    encoded = deviceinfo.go_json(config["DeviceInfo"]).encode()
    assert hashlib.sha256(encoded).hexdigest() == config["CheckCode"]


@pytest.mark.parametrize(
    ("variables", "machine"),
    [
        pytest.param({}, "aarch64", id="mindcluster"),
        pytest.param({"PROFILE": "cce"}, "x86_64", id="cce"),
        pytest.param({"NPU_COUNT": "4", "CHIP_NAME": "910B4", "HBM_GIB": "32"}, "riscv64", id="small"),
    ],
)
def test_node_labels(variables, machine, request):
    settings = make_settings(**variables)
    found = {
        "labels": nodeinfo.desired_labels(settings, machine),
        "annotations": nodeinfo.desired_node_annotations(settings, make_chips(settings)),
    }
    golden(f"node-{request.node.callspec.id}.json", json.dumps(found, indent=1) + "\n")


@pytest.mark.parametrize(
    ("present", "patched"),
    [
        pytest.param({}, {"accelerator", "servertype", "host-arch"}, id="new"),
        pytest.param({"accelerator": "wrong", "servertype": "mine", "host-arch": "mine"}, {"accelerator"}, id="kept"),
        pytest.param({"accelerator": "a", "servertype": "s", "host-arch": "h"}, set(), id="complete"),
    ],
)
def test_node_patch(present, patched):
    node = make_node() | {"metadata": {"labels": present}}
    patch = nodes.node_patch(node, {"accelerator": "a", "servertype": "s", "host-arch": "h"}, {})
    assert set(patch.get("labels", {})) == patched
