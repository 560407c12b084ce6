"""The shell in the manifests does what it says: run here with the real shells, against a real server."""

import http.server
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ascend_jobs.desired.engines.engine import engine_parts
from ascend_jobs.desired.engines.pod import idle, request
from ascend_jobs.desired.engines.shape import MetricsSource

sys.path.insert(0, str(Path(__file__).parent))
from engine_inputs import make_input

SLEEP = "sleep 10; "


class Server(http.server.BaseHTTPRequestHandler):
    """Answers /metrics with the counts still in `loads`, the last one for ever; anything else with 200 or 503."""

    loads: list[int]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        load = self.loads.pop(0) if len(self.loads) > 1 else self.loads[0]
        text = f'# HELP vllm:num_requests_running x 9\nvllm:num_requests_running{{model="m"}} {load}.0\n'
        body = text + "vllm:num_requests_waiting 0.0\nother 5\n"
        self.send_response(503 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Server,), {"loads": [0], "asked": []})
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served.server_port, handler
    served.shutdown()


def run(script: str, **env: str) -> int:
    path = "/usr/local/bin:/usr/bin:/bin"
    proxy = "http://127.0.0.1:9"  # a proxy that does not exist: nothing may go through it
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": path, "http_proxy": proxy, **env}, timeout=30, check=False
    )
    return done.returncode


def source(port: int) -> MetricsSource:
    return MetricsSource(port, "/metrics", "vllm:num_requests_running", "vllm:num_requests_waiting", "x")


def test_idle_waits_for_the_last_request(server):
    port, handler = server
    handler.loads = [2, 1, 0]
    began = time.monotonic()
    assert run(idle("$POD_IP", source(port)), POD_IP="127.0.0.1") == 0
    assert time.monotonic() - began >= 2
    assert handler.asked == ["/metrics"] * 3


def test_idle_ends_when_nobody_answers(server):
    assert run(idle("127.0.0.1", source(1))) != 0


@pytest.mark.parametrize(
    ("path", "rank", "sound"), [("/health", "0", True), ("/broken", "0", False), ("/broken", "1", True)]
)
def test_probe_over_several_nodes(server, path, rank, sound):
    port, _ = server
    parts = engine_parts(make_input(nodes=2, npus=8))
    script = parts.container["readinessProbe"]["exec"]["command"][2].replace(":8000/health", f":{port}{path}")
    assert (run(script, NODE_RANK=rank, POD_IP="127.0.0.1") == 0) is sound


def test_stop_service_is_asked_for(server):
    port, handler = server
    assert run(request("$POD_IP", port, "/stopService", seconds=5), POD_IP="127.0.0.1") == 0
    assert handler.asked == ["/stopService"]


def test_config_of_mindie_gets_its_modes(tmp_path):
    parts = engine_parts(make_input(engine="mindie"))
    source_dir, target = tmp_path / "source", tmp_path / "engine"
    target.mkdir()
    (tmp_path / "..data").mkdir()
    source_dir.mkdir()
    (tmp_path / "..data" / "config.json").write_text(parts.files["config.json"])
    (source_dir / "config.json").symlink_to("../..data/config.json")
    script = parts.init_containers[0]["command"][2]
    script = script.replace("/ascendjobs/engine-files", str(source_dir)).replace("/ascendjobs/engine/", f"{target}/")
    assert run(script) == 0
    config = target / "conf" / "config.json"
    assert not config.is_symlink()
    assert config.stat().st_mode & 0o777 == 0o640
    assert config.parent.stat().st_mode & 0o777 == 0o750
    assert json.loads(config.read_text())["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0]["modelName"] == "faq"


@pytest.mark.parametrize("rank", ["0", "1"])
def test_vllm_of_several_nodes_is_headless_but_for_the_head(rank, tmp_path):
    parts = engine_parts(make_input(nodes=2, npus=8))
    (tmp_path / "vllm").write_text('#!/bin/sh\nfor a in "$@"; do echo "$a"; done\n')
    (tmp_path / "vllm").chmod(0o755)
    command = [*parts.container["command"], *parts.container["args"]]
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NODE_RANK": rank}
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0] == "serve"
    assert ("--headless" in told) is (rank != "0")


@pytest.mark.parametrize("layout", ["run-package", "wheel"])
def test_the_daemon_that_the_image_has_is_started(layout, tmp_path):
    parts = engine_parts(make_input(engine="mindie"))
    daemon = tmp_path / ("mindieservice_daemon" if layout == "run-package" else "mindie_llm_server")
    daemon.write_text('#!/bin/sh\necho "$0 ${RANK_TABLE_FILE-none}"\n')
    daemon.chmod(0o755)
    place = "/usr/local/Ascend/mindie/latest/mindie-service/bin/mindieservice_daemon"
    command = [part.replace(place, str(tmp_path / "mindieservice_daemon")) for part in parts.container["command"]]
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "RANK_TABLE_FILE": "/image/sets/it"}
    told = subprocess.run([*command, *parts.container["args"]], env=env, capture_output=True, text=True, check=True)
    assert told.stdout == f"{daemon} none\n"


def test_head_of_mindie_is_found_by_name(tmp_path):
    parts = engine_parts(make_input(engine="mindie", nodes=2, npus=8, head="localhost"))
    (tmp_path / "mindie_llm_server").write_text('#!/bin/sh\necho "$MASTER_IP ${http_proxy-none}"\n')
    (tmp_path / "mindie_llm_server").chmod(0o755)
    table = tmp_path / "hccl.json"
    table.write_text("{}")
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "MASTER_ADDR": "localhost",
        "RANK_TABLE_FILE": str(table),
        "http_proxy": "http://x",
    }
    command = [*parts.container["command"], *parts.container["args"]]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert told.stdout == "127.0.0.1 none\n"
    assert table.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("version", ["0.11.0", "0.23.0"])
def test_shell_is_sound(version):
    parts = engine_parts(make_input(version=version, nodes=2, npus=8))
    script = parts.container["command"][2]
    subprocess.run(["bash", "-n", "-c", script], check=True)
    end = parts.container["lifecycle"]["preStop"]["exec"]["command"][2]
    assert end.startswith(SLEEP)
    subprocess.run(["sh", "-n", "-c", end], check=True)
