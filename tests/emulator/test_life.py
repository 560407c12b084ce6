"""The whole emulator of a node between a test kubelet and a test API server: a life, and its metrics."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from ascend_emulator import devices, kube, metrics, processes, registrar, smi
from ascend_emulator.kube import Kube
from ascend_emulator.metrics import Endpoints
from ascend_emulator.run import emulate
from ascend_jobs import names
from emulator.builders import RESOURCE, eventually, make_pod, make_settings, make_state
from emulator.test_processes import add_process
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
FAULT = json.dumps({"1": {"code": "80E01801", "level": "RestartNPU", "time": 5}})


@pytest.fixture
async def node(folder, kubelet, api, monkeypatch):
    """A running emulator: its settings, state and URL."""
    monkeypatch.setattr(registrar, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(smi, "RENDER_SECONDS", 0.05)
    monkeypatch.setattr(processes, "SCAN_SECONDS", 0.1)
    monkeypatch.setattr(devices, "SHORTEST_SECONDS", 0.05)
    monkeypatch.setattr(kube, "BACKOFF_SECONDS", (0.05,))
    endpoints = []
    monkeypatch.setattr(Endpoints, "__init__", _recording(Endpoints.__init__, endpoints))
    (folder / "proc").mkdir()
    settings = make_settings(folder, PROC_DIR=str(folder / "proc"))
    state, stop = make_state(settings), asyncio.Event()
    async with Kube(api.url) as client:
        task = asyncio.create_task(emulate(settings, client, state, stop))
        await eventually(lambda: kubelet.devices and endpoints[0].listening.is_set())
        yield settings, state, f"http://127.0.0.1:{endpoints[0].port}"
        stop.set()
        await asyncio.wait_for(task, 5)
    assert list(kubelet.folder.iterdir()) == [kubelet.folder / "kubelet.sock"]


def _recording(method, seen):
    def record(self, *arguments):
        seen.append(self)
        method(self, *arguments)

    return record


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def read(url, path="/metrics", status=200):
    async with aiohttp.ClientSession() as session, session.get(url + path) as response:
        assert response.status == status
        return await response.text()


def samples(text, name):
    """The samples of one metric: (value, labels)."""
    found = {family.name: family for family in text_string_to_metric_families(text)}
    return [(sample.value, sample.labels) for sample in found[name].samples]


async def test_a_life(node, kubelet, api):
    settings, state, url = node
    api.put("pods", make_pod(container_id="c0ffee"))
    await kubelet.allocate("Ascend910-0", "Ascend910-1")
    kubelet.pods["team-a", "faq-0", "trainer", RESOURCE] = ["Ascend910-0", "Ascend910-1"]
    await eventually(lambda: names.ASCEND_REAL in api.get("pods", "faq-0", "team-a")["metadata"]["annotations"])
    add_process(settings.proc_dir, 4242, pages=51200, ASCEND_VISIBLE_DEVICES="0,1")
    table = settings.data_dir / "table"
    await eventually(lambda: "| 0       0                 | 4242          | python3" in table.read_text())

    api.annotate("nodes", "worker-1", **{names.EMULATED_FAULTS: FAULT})
    await eventually(lambda: kubelet.devices[-1]["Ascend910-1"] == "Unhealthy")
    await eventually(lambda: "| 1     910B3               | Critical" in table.read_text())
    config_map = ("mindx-dl-deviceinfo-worker-1", "kube-system")
    await eventually(lambda: "80E01801" in api.get("configmaps", *config_map)["data"]["DeviceInfoCfg"])
    found = json.loads(api.get("configmaps", *config_map)["data"]["DeviceInfoCfg"])["DeviceInfo"]["DeviceList"]
    assert found[RESOURCE] == ",".join(f"Ascend910-{number}" for number in range(2, 8))
    assert found[f"{RESOURCE}-Unhealthy"] == "Ascend910-1"

    text = await read(url)
    assert samples(text, "machine_npu_nums") == [(8, {})]
    assert samples(text, "machine_healthy_npu_nums") == [(7, {})]
    assert [value for value, _ in samples(text, "npu_chip_info_health_status")] == [1, 0, 1, 1, 1, 1, 1, 1]
    assert [value for value, _ in samples(text, "npu_chip_info_process_info_num")] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert samples(text, "npu_chip_info_hbm_used_memory")[0][0] == 3379 + 200
    assert samples(text, "npu_chip_info_hbm_total_memory")[0][0] == 65536
    value, labels = samples(text, "npu_container_info")[1]
    assert (value, labels["npuID"], labels["containerID"]) == (1, "1", "c0ffee")
    assert labels["containerName"] == "team-a_faq-0_trainer"
    assert (labels["namespace"], labels["pod_name"], labels["container_name"]) == ("team-a", "faq-0", "trainer")
    assert samples(text, "npu_chip_info_process_info")[0][1]["process_id"] == "4242"
    ((code, labels),) = samples(text, "npu_chip_info_error_code")
    assert (code, labels["id"]) == (0x80E01801, "1")

    api.delete("pods", "faq-0", "team-a")
    api.annotate("nodes", "worker-1", **{names.EMULATED_FAULTS: None})
    await eventually(lambda: state.holders == {} and state.processes == {} and state.faults == {})
    await eventually(lambda: "No running processes found in NPU 0" in table.read_text())
    await eventually(lambda: kubelet.devices[-1]["Ascend910-1"] == "Healthy")


async def test_labels_of_the_metrics(node):
    _, _, url = node
    _, labels = samples(await read(url), "npu_chip_info_power")[7]
    vdie = labels.pop("vdie_id")
    assert labels == {
        "id": "7",
        "model_name": "910B3-Ascend-V1",
        "pcie_bus_info": "0000:42:00.0",
        "namespace": "",
        "pod_name": "",
        "container_name": "",
    }
    assert re.fullmatch(r"([0-9A-F]{8}-){4}[0-9A-F]{8}", vdie)


async def test_probes(node, kubelet, monkeypatch):
    _, state, url = node
    await eventually(lambda: state.registered and state.node_read.is_set())
    assert await read(url, "/healthz") == "ok\n"
    assert await read(url, "/readyz") == "ok\n"
    await kubelet.stop()
    for path in kubelet.folder.iterdir():
        path.unlink()
    await eventually(lambda: not state.registered)
    assert await read(url, "/healthz") == "ok\n"
    assert await read(url, "/readyz", 503) == "not registered with the kubelet\n"
    monkeypatch.setattr(metrics, "UNREGISTERED_SECONDS", 0.0)
    assert "not registered" in await read(url, "/healthz", 503)
    await kubelet.start()
    await eventually(lambda: state.registered)


async def test_the_program_stops_on_sigterm(folder, kubelet, api):
    """The real process: JSON lines, memory, and a socket that is gone within seconds."""
    code = (
        "import os, sys; from ascend_emulator import __main__ as m;"
        "m.Kube.in_cluster = classmethod(lambda cls: cls(os.environ['API_URL']));"
        "sys.exit(m.main())"
    )
    environ = {
        "PYTHONPATH": str(ROOT / "operator"), "PATH": os.environ["PATH"], "NODE_NAME": "worker-1",
        "NODE_IP": "172.18.0.3", "METRICS_PORT": "0", "DEVICE_PLUGIN_DIR": str(kubelet.folder),
        "POD_RESOURCES_SOCKET": str(kubelet.pod_resources_socket), "DATA_DIR": str(folder / "data"),
        "API_URL": api.url,
    }  # fmt: skip
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=environ, stdout=-1)
    try:
        await eventually(lambda: kubelet.devices, 30)
        await eventually(lambda: api.objects["configmaps", "kube-system", "mindx-dl-deviceinfo-worker-1"])
        api.annotate("nodes", "worker-1", **{names.EMULATED_FAULTS: FAULT})
        api.put("pods", make_pod())
        kubelet.pods["team-a", "faq-0", "trainer", RESOURCE] = ["Ascend910-0"]
        await kubelet.allocate("Ascend910-0")
        await eventually(lambda: names.ASCEND_REAL in api.get("pods", "faq-0", "team-a")["metadata"]["annotations"])
        await eventually(lambda: kubelet.devices[-1]["Ascend910-1"] == "Unhealthy")
        memory = resident_bytes(child.pid)
        child.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(child.communicate(), 10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    lines = [json.loads(line) for line in output.splitlines()]
    assert child.returncode == 0
    assert {line["node"] for line in lines} == {"worker-1"}
    assert {"registered", "faults read", "devices allocated", "pod annotated"} <= {line["event"] for line in lines}
    assert (lines[0]["event"], lines[-1]["event"]) == ("started", "stopped")
    assert not (kubelet.folder / "Ascend910.sock").exists()
    assert memory < 150 << 20


async def test_an_error_is_told_as_one_line(folder):
    (folder / "data").write_text("in the way")
    environ = {"PYTHONPATH": str(ROOT / "operator"), "PATH": os.environ["PATH"], "NODE_NAME": "worker-1"}
    environ |= {"NODE_IP": "172.18.0.3", "DATA_DIR": str(folder / "data"), "METRICS_PORT": "0"}
    code = (
        "from ascend_emulator import __main__ as m;"
        "m.Kube.in_cluster = lambda: m.Kube('http://127.0.0.1:1');"
        "raise SystemExit(m.main())"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=environ, stdout=-1)
    output, _ = await asyncio.wait_for(child.communicate(), 30)
    last = json.loads(output.splitlines()[-1])
    assert (child.returncode, last["event"]) == (1, "ended by an error")
    assert "FileExistsError" in last["exception"]


def test_wrong_settings_end_with_a_sentence():
    environ = {"PYTHONPATH": str(ROOT / "operator"), "PATH": os.environ["PATH"], "NODE_NAME": "a", "NODE_IP": "::1"}
    command = [sys.executable, "-m", "ascend_emulator"]
    done = subprocess.run(command, env=environ | {"NPU_COUNT": "x"}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("ascend_emulator: NPU_COUNT is 'x': ")
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert (done.returncode, "KUBERNETES_SERVICE_HOST" in done.stderr) == (2, True)
    done = subprocess.run([*command, "--help"], env=environ, capture_output=True, text=True)
    assert (done.returncode, "LIST_WATCH_SECONDS (default 1)" in done.stdout) == (0, True)
