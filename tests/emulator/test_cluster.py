"""The side of the API server: pods, the node, the ConfigMap, against a test API server and a test kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import pytest
from ascend_emulator import devices, kube, nodes, pods
from ascend_emulator.chips import Fault, Level
from ascend_emulator.kube import ApiError, Kube
from ascend_emulator.state import Holder
from ascend_jobs import names
from emulator.builders import RESOURCE, eventually, make_node, make_pod, make_settings, make_state

RESTART = Fault("80E01801", Level.RESTART_NPU, 5)
TRAINER = ("team-a", "faq-0", "trainer", RESOURCE)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for module in (kube, devices, nodes):
        monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.02,))
    monkeypatch.setattr(devices, "SHORTEST_SECONDS", 0.05)


@pytest.fixture
async def client(api):
    async with Kube(api.url) as found:
        yield found


@contextlib.asynccontextmanager
async def running(*coroutines):
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def keeping_pods(client, settings):
    state = make_state(settings)
    keeper = pods.PodKeeper(client, settings, state)
    async with running(keeper.follow(), keeper.run()):
        yield keeper, state


def annotations_of(api, name="faq-0"):
    return api.get("pods", name, "team-a")["metadata"]["annotations"]


def pod_patches(api):
    return [path for verb, path, _ in api.writes if verb == "PATCH" and "/pods/" in path]


async def test_a_pod_is_annotated_after_its_allocation(client, api, kubelet, settings):
    api.put("pods", make_pod())
    async with keeping_pods(client, settings) as (_, state):
        await asyncio.sleep(0.2)
        assert annotations_of(api) == {}
        kubelet.pods[TRAINER] = ["Ascend910-4", "Ascend910-1"]
        await eventually(lambda: names.MINDCLUSTER_DEVICES in annotations_of(api))
        found = annotations_of(api)
        assert found[names.ASCEND_REAL] == found[names.KUBELET_DEVICES] == "Ascend910-1,Ascend910-4"
        document = json.loads(found[names.MINDCLUSTER_DEVICES])
        assert (document["server_id"], document["host_ip"]) == ("uid-faq-0", "172.18.0.3")
        assert [device["device_id"] for device in document["devices"]] == ["1", "4"]
        assert set(state.holders) == {1, 4}
        assert api.writes[-1][2]["metadata"]["uid"] == "uid-faq-0"
        calls = kubelet.list_calls
        await asyncio.sleep(0.3)
        assert kubelet.list_calls == calls  # nobody waits: nothing is polled
    assert len(pod_patches(api)) == 1


async def test_the_cce_profile(client, api, kubelet, folder):
    settings = make_settings(folder, PROFILE="cce")
    api.put("pods", make_pod(resource=settings.resource_name, annotations={names.ASCEND_REAL: "Ascend910-0"}))
    kubelet.pods["team-a", "faq-0", "trainer", settings.resource_name] = ["ascend-1980-6"]
    async with keeping_pods(client, settings):
        await eventually(lambda: names.CCE_DEVICES in annotations_of(api))
    found = json.loads(annotations_of(api)[names.CCE_DEVICES])
    assert found == {
        "pod_name": "faq-0",
        "server_id": "172.18.0.3",
        "devices": [{"device_id": "6", "device_ip": "100.64.3.7"}],
    }
    assert names.MINDCLUSTER_DEVICES not in annotations_of(api)


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({"annotations": {names.ASCEND_REAL: "Ascend910-7"}}, id="has-the-mark-though-wrong"),
        pytest.param({"deleted": True}, id="is-terminating"),
        pytest.param({"phase": "Failed"}, id="has-failed"),
        pytest.param({"phase": "Succeeded"}, id="has-succeeded"),
        pytest.param({"node": "worker-2"}, id="is-on-another-node"),
        pytest.param({"npus": 0}, id="requests-none"),
    ],
)
async def test_pods_that_are_left_alone(client, api, kubelet, settings, pod):
    kubelet.pods[TRAINER] = ["Ascend910-0"]
    kubelet.pods["team-a", "faq-1", "trainer", RESOURCE] = ["Ascend910-1"]
    api.put("pods", make_pod(**pod))
    api.put("pods", make_pod("faq-1"))
    async with keeping_pods(client, settings):
        await eventually(lambda: names.ASCEND_REAL in annotations_of(api, "faq-1"))
        await asyncio.sleep(0.2)
    assert pod_patches(api) == ["/api/v1/namespaces/team-a/pods/faq-1"]


async def test_another_pod_of_that_name_is_not_annotated(client, api, kubelet, settings):
    """The pod is replaced between the look and the write: the server refuses by uid, the new pod waits for its own."""
    api.put("pods", make_pod())
    state = make_state(settings)
    keeper = pods.PodKeeper(client, settings, state)
    keeper.observe(kube.Change("LISTED", {"items": [api.get("pods", "faq-0", "team-a")]}))
    api.put("pods", make_pod(uid="uid-new"))
    kubelet.pods[TRAINER] = ["Ascend910-0"]
    await keeper.look()
    assert annotations_of(api) == {}
    assert keeper.pods == {}


async def test_an_allocation_older_than_the_pod_is_an_earlier_pods(client, api, kubelet, settings):
    kubelet.pods[TRAINER] = ["Ascend910-0"]
    async with keeping_pods(client, settings) as (_, state):
        state.allocated = {0: time.time() - 60}
        api.put("pods", make_pod())
        await asyncio.sleep(0.3)
        assert annotations_of(api) == {}
        state.allocated = {0: time.time()}
        await eventually(lambda: annotations_of(api))


async def test_holders_follow_the_pods(client, api, kubelet, settings):
    kubelet.pods[TRAINER] = ["Ascend910-0", "Ascend910-1"]
    async with keeping_pods(client, settings) as (_, state):
        api.put("pods", make_pod())
        await eventually(lambda: state.holders.get(0) == Holder("team-a", "faq-0", "trainer"))
        marked = annotations_of(api)
        api.put("pods", make_pod(phase="Running", container_id="c0ffee", annotations=marked))
        await eventually(lambda: state.holders[1] == Holder("team-a", "faq-0", "trainer", "c0ffee"))
        api.put("pods", make_pod(phase="Running", deleted=True, annotations=marked))
        await asyncio.sleep(0.1)
        assert set(state.holders) == {0, 1}
        api.delete("pods", "faq-0", "team-a")
        await eventually(lambda: state.holders == {})


async def test_a_restart_finds_the_holders_again(client, api, kubelet, settings):
    kubelet.pods[TRAINER] = ["Ascend910-2"]
    api.put("pods", make_pod(phase="Running", annotations={names.ASCEND_REAL: "Ascend910-2"}))
    async with keeping_pods(client, settings) as (_, state):
        await eventually(lambda: set(state.holders) == {2})
    assert pod_patches(api) == []


async def test_failing_writes_and_a_kubelet_that_is_away_are_waited_out(client, api, kubelet, settings):
    await kubelet.stop()
    api.put("pods", make_pod())
    api.fail = {"PATCH": 3}
    async with keeping_pods(client, settings):
        await asyncio.sleep(0.2)
        await kubelet.start()
        kubelet.pods[TRAINER] = ["Ascend910-0"]
        await eventually(lambda: annotations_of(api))
    assert api.fail == {"PATCH": 0}


async def test_watches_are_taken_up_again(client, api, kubelet, settings):
    async with keeping_pods(client, settings) as (keeper, _):
        api.put("pods", make_pod("a"))
        await eventually(lambda: len(keeper.pods) == 1)
        api.drop_watches()
        api.put("pods", make_pod("b"))
        await eventually(lambda: len(keeper.pods) == 2)
        api.fail = {"GET": 2}
        api.delete("pods", "a", "team-a")
        api.forget_history()
        api.drop_watches()
        await eventually(lambda: set(keeper.pods) == {"uid-b"})
    assert api.fail == {"GET": 0}


async def test_the_node_is_described_and_kept_so(client, api, settings):
    state = make_state(settings)
    api.fail = {"PATCH": 2}
    async with running(nodes.NodeKeeper(client, settings, state).run()):
        await eventually(lambda: api.get("nodes", "worker-1")["metadata"]["labels"]["accelerator"])
        found = api.get("nodes", "worker-1")["metadata"]
        assert found["labels"]["kubernetes.io/hostname"] == "worker-1"
        assert len(json.loads(found["annotations"][names.BASE_DEVICE_INFOS])) == 8
        api.put("nodes", make_node())
        await eventually(lambda: "accelerator" in api.get("nodes", "worker-1")["metadata"]["labels"])
        await asyncio.sleep(0.1)
    assert len(api.writes) == 2


async def test_faults_are_read_from_the_node(client, api, settings):
    state = make_state(settings)
    one = {names.EMULATED_FAULTS: '{"3":{"code":"80E01801","level":"RestartNPU","time":5}}'}
    api.put("nodes", make_node(**one))
    api.put("nodes", make_node("worker-2", **{names.EMULATED_FAULTS: '{"0":{"code":"80E01801","level":"RestartNPU"}}'}))
    async with running(nodes.NodeKeeper(client, settings, state).run()):
        await asyncio.wait_for(state.node_read.wait(), 5)
        assert state.faults == {3: RESTART}
        api.annotate("nodes", "worker-1", **{names.EMULATED_FAULTS: None})
        await eventually(lambda: state.faults == {})
        api.annotate("nodes", "worker-1", **{names.EMULATED_FAULTS: '{"0":{"code":"80E01801","level":"RestartNPU"}}'})
        await eventually(lambda: state.faults)
        first = state.faults
        api.annotate("nodes", "worker-1", heartbeat="1")
        await asyncio.sleep(0.1)
        assert state.faults is first  # the time of a fault without one does not move


async def test_a_wrong_annotation_is_told_once(client, api, settings, capsys):
    state = make_state(settings)
    wrong = '{"3":{"code":"80E01801","level":"RestartNPU"},"9":{}}'
    api.put("nodes", make_node(**{names.EMULATED_FAULTS: wrong}))
    async with running(nodes.NodeKeeper(client, settings, state).run()):
        (event,) = await eventually(lambda: [body for verb, _, body in api.writes if verb == "POST"])
        assert set(state.faults) == {3}
        api.annotate("nodes", "worker-1", heartbeat="1")
        await asyncio.sleep(0.1)
    async with running(nodes.NodeKeeper(client, settings, make_state(settings)).run()):
        await asyncio.sleep(0.2)
    assert [verb for verb, _, _ in api.writes].count("POST") == 1
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "worker-1", "uid": "uid-worker-1"}
    assert event["metadata"]["namespace"] == "default"
    assert "'9': no chip of this node (0 to 7)" in event["message"]


async def test_the_config_map(client, api, settings):
    state = make_state(settings)

    def read():
        return api.get("configmaps", "mindx-dl-deviceinfo-worker-1", "kube-system")["data"]

    def info():
        return json.loads(read()["DeviceInfoCfg"])["DeviceInfo"]["DeviceList"]

    async with running(devices.publish_device_info(client, settings, state)):
        await asyncio.sleep(0.2)
        assert not api.writes  # nothing is said before faults and holders are known
        state.set_faults({3: RESTART})
        state.node_read.set()
        state.pods_read.set()
        await eventually(lambda: info()[f"{RESOURCE}-Unhealthy"] == "Ascend910-3")
        assert "80E01801" in info()[f"{RESOURCE}-Fault"]
        assert read()["ManuallySeparateNPU"] == ""
        api.get("configmaps", "mindx-dl-deviceinfo-worker-1", "kube-system")["data"]["ManuallySeparateNPU"] = "mine"
        state.set_holders({0: Holder("team-a", "faq-0", "trainer")})
        await eventually(lambda: "Ascend910-0" not in info()[RESOURCE])
        assert read()["ManuallySeparateNPU"] == "mine"
        state.set_processes({0: ()})
        api.fail = {"PATCH": 2}
        state.set_faults({})
        await eventually(lambda: info()[f"{RESOURCE}-Fault"] == "[]")
        writes = len(api.writes)
        await asyncio.sleep(0.2)
        assert len(api.writes) == writes
        api.delete("configmaps", "mindx-dl-deviceinfo-worker-1", "kube-system")
        state.set_faults({1: RESTART})
        await eventually(lambda: info()[f"{RESOURCE}-Unhealthy"] == "Ascend910-1")


async def test_the_config_map_is_written_again_without_a_change(client, api, settings, monkeypatch):
    monkeypatch.setattr(devices, "PERIOD_SECONDS", 0.2)
    state = make_state(settings)
    state.node_read.set()
    state.pods_read.set()
    async with running(devices.publish_device_info(client, settings, state)):
        await eventually(lambda: len(api.writes) >= 3)


async def test_in_cluster_settings(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    found = Kube.in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    assert found.url == "https://[fd00::1]:443"
    with pytest.raises(KeyError):
        Kube.in_cluster({}, tmp_path)


async def test_the_token_is_sent_and_read_again(api, tmp_path):
    (tmp_path / "token").write_text("one\n")
    async with Kube(api.url, token_file=tmp_path / "token") as client:
        await client.get("/api/v1/nodes")
        (tmp_path / "token").write_text("two\n")
        await client.get("/api/v1/nodes")
    assert {"Bearer one", "Bearer two"} <= api.authorizations


async def test_no_answer_and_no_json_are_errors(api):
    async with Kube("http://127.0.0.1:1") as client:
        with pytest.raises(ApiError, match=r"^0: "):
            await client.get("/api/v1/nodes")
    async with Kube(api.url) as client:
        with pytest.raises(ApiError) as error:
            await client.get("/api/v1/nodes/absent")
    assert error.value.status == 404
