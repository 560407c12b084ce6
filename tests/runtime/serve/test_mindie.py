"""MindIE: config.json and its invariants, three ports, health, bodies and metrics, the end by /stopService."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.request

import pytest
from ascend_runtime.serve.failures import CannotServe
from ascend_runtime.serve.mindie import BROKEN, BUSY, HEALTHY, health
from ascend_runtime.serve.mindie_config import config_path, read_mindie
from ascend_runtime.serve.settings import ModelSettings
from runtime.builders import make_table
from runtime.ranks import free_port
from runtime.serve.servers import Server, sum_metric, until
from runtime.serve.shape import differences, metric_kinds, read_shapes

SHAPES = read_shapes("mindie")
BASE = ModelSettings(folder="", names=())


def make_config(folder, model, **changes):
    """Write a valid config.json; changes by dotted path."""
    document = {
        "ServerConfig": {
            **{"ipAddress": "127.0.0.1", "managementIpAddress": "127.0.0.2", "port": free_port()},
            **{"managementPort": free_port(), "metricsPort": free_port(), "httpsEnabled": False},
            **{"allowAllZeroIpListening": False, "HealthCheckConfig": {"npuUsageThreshold": 0}},
        },
        "BackendConfig": {
            **{"backendName": "mindieservice_llm_engine", "npuDeviceIds": [[0]], "multiNodesInferEnabled": False},
            "ModelDeployConfig": {
                **{"maxSeqLen": 4096, "maxInputTokenLen": 64},
                "ModelConfig": [{"modelName": "faq", "modelWeightPath": str(model), "worldSize": 1}],
            },
            "ScheduleConfig": {
                "maxPrefillBatchSize": 2,
                "maxPrefillTokens": 64,
                "maxBatchSize": 2,
                "maxIterTimes": 4000,
            },
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for parent in parents:
            place = place[int(parent) if parent.isdecimal() else parent]
        place[last] = value
    file = folder / "conf" / "config.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document))
    file.chmod(0o640)
    return file


@contextlib.contextmanager
def serving(folder, config, **environ):
    """Run MindIE's facade; its ports are those of config.json."""
    ports = json.loads(config.read_text())["ServerConfig"]
    variables = {"MIES_CONFIG_JSON_PATH": str(config), "MIES_SERVICE_MONITOR_MODE": "1", **environ}
    server = Server("mindie", ["--threads", "1", "--cache-dir", str(folder / "cache")], folder, variables)
    server.url = f"http://127.0.0.1:{ports['port']}"
    server.management = f"http://127.0.0.2:{ports['managementPort']}"
    server.monitor = f"http://127.0.0.2:{ports['metricsPort']}"
    try:
        server.wait_started()
        yield server
    finally:
        server.stop(9)


@pytest.fixture(scope="module")
def mindie(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mindie")
    with serving(folder, make_config(folder, model)) as server:
        yield server


PARAMETERS = {"max_new_tokens": 4}


@pytest.mark.parametrize(
    ("shape", "path", "body"),
    [
        pytest.param("generate", "/generate", {"inputs": "Where"}, id="tgi"),
        pytest.param(
            "generate_details", "/generate", {"inputs": "Where", "parameters": {"details": True}}, id="tgi-details"
        ),
        pytest.param("generate", "/infer", {"inputs": "Where", "stream": False}, id="native"),
        pytest.param("generate", "/infer_token", {"input_id": [30, 31]}, id="native-tokens"),
        pytest.param("triton_generate", "/v2/models/faq/generate", {"text_input": "Where"}, id="triton"),
        pytest.param(
            "triton_infer", "/v2/models/faq/infer", {"inputs": [{"name": "input0", "data": [30]}]}, id="tensors"
        ),
        pytest.param("tokenizer", "/v1/tokenizer", {"inputs": "Where"}, id="tokenizer"),
    ],
)
def test_bodies(mindie, shape, path, body):
    status, answer = mindie.post(path, {"parameters": PARAMETERS, **body})
    assert status == 200
    assert differences(SHAPES[shape], answer) == []


def test_root_answers_with_a_list(mindie):
    answer = mindie.post("/", {"inputs": "Where", "parameters": PARAMETERS})[1]
    assert differences([SHAPES["generate"]], answer) == []


@pytest.mark.parametrize("path", ["/generate_stream", "/infer"])
def test_stream(mindie, path):
    body = json.dumps({"inputs": "Where", "stream": True, "parameters": PARAMETERS}).encode()
    with urllib.request.urlopen(mindie.url + path, data=body) as answer:
        *events, end = answer.read().decode().split("\n\n")
    assert end == ""
    tokens = [json.loads(event.removeprefix("data: ")) for event in events]
    assert differences([SHAPES["stream_token"]], tokens[:-1]) == []
    assert differences(SHAPES["stream_last"], tokens[-1]) == []
    assert tokens[-1]["generated_text"] == "".join(token["token"]["text"] for token in tokens)
    assert tokens[-1]["generated_text"] == mindie.post("/generate", json.loads(body))[1]["generated_text"]


def test_openai_protocol(mindie):
    body = {"model": "faq", "messages": [{"role": "user", "content": "Where?"}], "max_tokens": 3, "temperature": 0}
    status, answer = mindie.post("/v1/chat/completions", body)
    assert status == 200
    assert differences(SHAPES["chat"], answer) == []


@pytest.mark.parametrize(
    ("path", "body", "shape"),
    [
        pytest.param("/generate", {"inputs": ""}, "invalid", id="empty"),
        pytest.param("/generate", {"inputs": 7}, "invalid", id="type"),
        pytest.param("/generate", {"inputs": "x", "parameters": {"max_new_tokens": 0}}, "invalid", id="no-tokens"),
        pytest.param("/generate", {"inputs": "x " * 65}, "invalid", id="more-than-maxInputTokenLen"),
        pytest.param("/infer_token", {"input_id": [99999]}, "invalid", id="token"),
        pytest.param("/", b"{", "invalid", id="no-json"),
    ],
)
def test_wrong_requests(mindie, path, body, shape):
    status, answer = mindie.post(path, body)
    assert status == 400
    assert differences(SHAPES[shape], answer) == []


def test_unknown_model(mindie):
    assert mindie.post("/v2/models/other/generate", {"text_input": "x"})[0] == 404


def test_management(mindie):
    paths = ("/v2/health/live", "/v2/health/ready", "/health", "/health/timed-5", "/v2/models/faq/ready")
    assert [mindie.get(path, mindie.management)[0] for path in paths] == [200] * 5
    assert mindie.get("/v2/models/other/ready", mindie.management)[0] == 404
    for path, shape in (("/v1/config", "config"), ("/v1/status", "status")):
        assert differences(SHAPES[shape], json.loads(mindie.get(path, mindie.management)[1])) == []
    assert mindie.get("/generate", mindie.management)[0] == 404, "requests come in on the business port alone"
    assert mindie.get("/v2/health/live")[0] == 404, "and health is on the other"


def test_metrics(mindie):
    before = sum_metric(mindie.get("/metrics", mindie.monitor)[1], "request_received_total", {})
    mindie.post("/generate", {"inputs": "Where", "parameters": PARAMETERS})
    text = mindie.get("/metrics", mindie.monitor)[1]
    assert metric_kinds(text) == {kind: set(names) for kind, names in SHAPES["metrics"].items()}
    assert sum_metric(text, "request_received_total", {}) == before + 1
    flat = json.loads(mindie.get("/metrics-json", mindie.management)[1])
    assert flat["request_received_total"] == before + 1
    assert flat["avg_generation_throughput_toks_per_s"] > 0


def test_stop_service_lets_requests_end(tmp_path, model):
    with serving(tmp_path, make_config(tmp_path, model)) as server:
        body = json.dumps({"inputs": "Where", "parameters": {"max_new_tokens": 1500, "ignore_eos": True}}).encode()
        with urllib.request.urlopen(f"{server.url}/generate_stream", data=body) as stream:
            stream.readline()
            assert server.get("/stopService", server.management)[0] == 200
            until(lambda: server.get("/v2/health/ready", server.management)[0] == 503)
            assert server.get("/v2/health/live", server.management)[0] == 200
            assert server.post("/generate", {"inputs": "x"})[0] == 503
            last = stream.read().decode().strip().split("\n\n")[-1]
        assert json.loads(last.removeprefix("data: "))["details"]["generated_tokens"] == 1500
        assert server.ended() == (0, None)


def test_busy_and_broken(tmp_path, model):
    """With a threshold: a place of two taken is busy; an engine that hangs is found out by its virtual token."""
    config = make_config(tmp_path, model, ServerConfig__HealthCheckConfig={"npuUsageThreshold": 50})

    def statuses():
        return [server.get(f"/v2/health/{what}", server.management)[0] for what in ("live", "ready")]

    with serving(tmp_path, config) as server:
        assert statuses() == [200, 200]
        body = json.dumps({"inputs": "Where", "parameters": {"max_new_tokens": 3900, "ignore_eos": True}}).encode()
        with urllib.request.urlopen(f"{server.url}/generate_stream", data=body) as stream:
            stream.readline()
            assert statuses() == [200, 503]
        until(lambda: statuses() == [200, 200])
        engine = server.engine_pid()
        os.kill(engine, signal.SIGSTOP)
        try:
            assert server.get("/health/timed-1", server.management)[0] == 503
        finally:
            os.kill(engine, signal.SIGCONT)


def test_metrics_only_in_monitor_mode(tmp_path, model):
    config = make_config(tmp_path, model)
    with serving(tmp_path, config, MIES_SERVICE_MONITOR_MODE="0") as server, pytest.raises(OSError, match="refused"):
        server.get("/metrics", server.monitor)


def test_followers_of_several_nodes(tmp_path, model):
    """Only the head loads and takes requests; npuDeviceIds and worldSize come from the rank table there."""
    table = tmp_path / "hccl.json"
    table.write_text(make_table(("127.0.0.9", (0, 1)), ("127.0.0.1", (2, 3))))
    config = make_config(
        tmp_path, model, BackendConfig__multiNodesInferEnabled=True, BackendConfig__npuDeviceIds=[[0, 1]]
    )
    environ = {"RANK_TABLE_FILE": str(table), "MIES_CONTAINER_IP": "127.0.0.1"}
    with serving(tmp_path, config, **environ) as server:
        assert server.get("/health", server.management)[0] == 200
        with pytest.raises(OSError, match="refused"):
            server.get("/v1/models")
        assert server.stop() == 0


class Engine:
    """What health looks at of an engine."""

    sequences = 4

    def __init__(self, alive=True):
        self.is_alive = alive


class Core:
    """A core that answers a probe as told; what health looks at of it."""

    def __init__(self, *, alive=True, running=0, draining=False, answer=True):
        self.engine, self.draining, self._answer = Engine(alive), draining, answer
        self.load = type("Load", (), {"running": running})

    async def probe(self):
        if not self._answer:
            raise TimeoutError
        return True


@pytest.mark.parametrize(
    ("core", "threshold", "want"),
    [
        pytest.param(Core(), 0, HEALTHY, id="off"),
        pytest.param(Core(running=4), 0, HEALTHY, id="off-and-full"),
        pytest.param(Core(answer=False), 0, HEALTHY, id="off-asks-nothing"),
        pytest.param(Core(running=3), 80, HEALTHY, id="below"),
        pytest.param(Core(running=3), 75, BUSY, id="at-the-threshold"),
        pytest.param(Core(answer=False), 80, BROKEN, id="no-answer"),
        pytest.param(Core(alive=False), 0, BROKEN, id="engine-gone"),
        pytest.param(Core(draining=True), 0, BUSY, id="draining"),
    ],
)
async def test_health(core, threshold, want):
    assert await health(core, threshold) is want


DEPLOY, SCHEDULE = "BackendConfig__ModelDeployConfig", "BackendConfig__ScheduleConfig"


@pytest.mark.parametrize(
    ("changes", "environ", "field"),
    [
        pytest.param({f"{DEPLOY}__maxInputTokenLen": 4096}, {}, "maxInputTokenLen", id="input-below-sequence"),
        pytest.param({f"{SCHEDULE}__maxPrefillTokens": 63}, {}, "maxPrefillTokens", id="prefill-holds-a-prompt"),
        pytest.param({f"{SCHEDULE}__maxPrefillBatchSize": 3}, {}, "maxPrefillBatchSize", id="prefill-within-batch"),
        pytest.param({f"{SCHEDULE}__maxIterTimes": 4097}, {}, "maxIterTimes", id="answer-within-sequence"),
        pytest.param({"BackendConfig__npuDeviceIds": [[0, 1]]}, {}, "npuDeviceIds[0]", id="devices-and-world-size"),
        pytest.param({}, {"ASCEND_VISIBLE_DEVICES": "0,1"}, "worldSize", id="devices-of-the-container"),
        pytest.param({}, {"ASCEND_VISIBLE_DEVICES": "Ascend910-0,Ascend910-1"}, "worldSize", id="devices-by-name"),
        pytest.param({"ServerConfig__ipAddress": "0.0.0.0"}, {}, "ServerConfig.ipAddress", id="all-addresses"),
        pytest.param({}, {"MIES_CONTAINER_IP": "0.0.0.0"}, "ServerConfig.ipAddress", id="all-addresses-by-environment"),
        pytest.param({"ServerConfig__httpsEnabled": True}, {}, "ServerConfig.tlsCert", id="https-without-certificate"),
        pytest.param({"ServerConfig__port": 80}, {}, "ServerConfig.port", id="port"),
        pytest.param({"ServerConfig__port": "1025"}, {}, "ServerConfig.port", id="port-as-text"),
        pytest.param(
            {"ServerConfig__managementPort": 7000, "ServerConfig__metricsPort": 7000}, {}, "managementPort", id="same"
        ),
        pytest.param({f"{DEPLOY}__ModelConfig": []}, {}, "ModelConfig", id="no-model"),
        pytest.param({f"{DEPLOY}__ModelConfig__0__modelName": ""}, {}, "modelName", id="no-name"),
        pytest.param(
            {f"{DEPLOY}__ModelConfig__0__modelInstanceType": "StandardMock"}, {}, "modelInstanceType", id="mock"
        ),
        pytest.param(
            {"ServerConfig__HealthCheckConfig": {"npuUsageThreshold": 101}}, {}, "npuUsageThreshold", id="threshold"
        ),
        pytest.param({"BackendConfig": None}, {}, "BackendConfig", id="no-backend"),
    ],
)
def test_invariants(tmp_path, changes, environ, field):
    with pytest.raises(CannotServe) as caught:
        read_mindie(make_config(tmp_path, "/m", **changes), environ, BASE)
    assert caught.value.message["field"].endswith(field)
    assert (caught.value.code, caught.value.message["reason"]) == (65, "ConfigInvalid")


def test_addresses_by_environment(tmp_path):
    environ = {"MIES_CONTAINER_IP": "10.1.2.3", "MIES_CONTAINER_MANAGEMENT_IP": "10.1.2.4"}
    found = read_mindie(make_config(tmp_path, "/m"), environ, BASE)
    assert (found.business.host, found.management.host, found.metrics.host) == ("10.1.2.3", "10.1.2.4", "10.1.2.4")


def test_settings(tmp_path):
    model = read_mindie(make_config(tmp_path, "/m"), {}, BASE).model
    assert (model.max_length, model.max_input, model.max_output, model.max_requests) == (4096, 64, 4000, 2)
    assert not model.prefix_caching
    plugin = {f"{DEPLOY}__ModelConfig__0__plugin_params": '{"plugin_type": "prefix_cache"}'}
    assert read_mindie(make_config(tmp_path, "/m", **plugin), {}, BASE).model.prefix_caching


@pytest.mark.parametrize(
    ("mode", "fine"), [(0o640, True), (0o600, True), (0o400, True), (0o644, False), (0o660, False)]
)
def test_permissions(tmp_path, mode, fine):
    config = make_config(tmp_path, "/m")
    config.chmod(mode)
    assert read_mindie(config, {"MINDIE_CHECK_INPUTFILES_PERMISSION": "0"}, BASE)
    if fine:
        assert read_mindie(config, {}, BASE)
        return
    with pytest.raises(CannotServe, match="chmod 640"):
        read_mindie(config, {}, BASE)


def test_links_are_refused(tmp_path, model):
    config = make_config(tmp_path, "/m")
    (tmp_path / "link").symlink_to(config)
    with pytest.raises(CannotServe, match="symbolic link"):
        read_mindie(tmp_path / "link", {}, BASE)
    (tmp_path / "weights").mkdir(mode=0o750)
    (tmp_path / "weights" / "config.json").symlink_to(model / "config.json")
    with pytest.raises(CannotServe, match="symbolic link") as caught:
        read_mindie(make_config(tmp_path, tmp_path / "weights"), {}, BASE)
    assert caught.value.message["reason"] == "ModelInvalid"


def test_where_the_file_is(tmp_path):
    assert str(config_path(None, {})) == "/usr/local/Ascend/mindie/latest/mindie-service/conf/config.json"
    assert config_path(None, {"MIES_INSTALL_PATH": "/opt/m"}).as_posix() == "/opt/m/conf/config.json"
    assert config_path(None, {"MIES_CONFIG_JSON_PATH": "/c.json"}).as_posix() == "/c.json"
    with pytest.raises(CannotServe, match="cannot be read"):
        read_mindie(tmp_path / "absent", {}, BASE)
