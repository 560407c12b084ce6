"""Starting, ending, failing: processes, exit codes, last words; clients that go away; draining."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import openai
import pytest
from ascend_runtime.serve.failures import CannotServe
from openai import OpenAI
from runtime.builders import make_table
from runtime.ranks import free_port
from runtime.serve.servers import Server, fetch, serving_vllm, until

LONG = {"model": "faq", "prompt": "The red pod", "max_tokens": 8000, "temperature": 0, "stream": True}
LONG["extra_body"] = {"ignore_eos": True}


@pytest.fixture
def own(model, cache, tmp_path):
    """A server for one test, which may end it."""
    words = ["--served-model-name", "faq", "--max-num-seqs", "1", "--cache-dir", str(cache), "--shutdown-timeout", "20"]
    with serving_vllm(tmp_path, str(model), *words) as server:
        yield server


def client_of(server: Server, **changes: object) -> OpenAI:
    return OpenAI(**{"base_url": f"{server.url}/v1", "api_key": "none", "max_retries": 0, **changes})


def test_client_that_goes_away_frees_its_place(own):
    stream = client_of(own).completions.create(**LONG)
    next(iter(stream))
    assert own.metric("vllm:num_requests_running") == 1
    stream.close()
    until(lambda: own.metric("vllm:num_requests_running") == 0)
    assert own.metric("vllm:request_success_total", finished_reason="abort") == 1
    answer = client_of(own).completions.create(model="faq", prompt="The", max_tokens=2)
    assert answer.usage.completion_tokens == 2


def test_client_that_goes_away_without_streaming(own):
    """It is cancelled too, in the queue and while it is computed."""
    with pytest.raises(openai.APITimeoutError):
        client_of(own, timeout=0.5).completions.create(**{**LONG, "stream": False})
    until(lambda: own.metric("vllm:request_success_total", finished_reason="abort") == 1, 3)


def test_queue_and_cache_are_measured(own):
    streams = [client_of(own).completions.create(**LONG) for _ in range(1)]
    threading.Thread(
        target=lambda: client_of(own).completions.create(**{**LONG, "stream": False, "max_tokens": 1})
    ).start()
    until(lambda: own.metric("vllm:num_requests_waiting") == 1)
    assert 0 < own.metric("vllm:kv_cache_usage_perc") <= 1
    assert json.loads(own.get("/load")[1]) == {"server_load": 2}
    streams[0].close()
    until(lambda: own.metric("vllm:request_success_total", finished_reason="length") == 1)
    assert own.metric("vllm:request_queue_time_seconds_sum") > 0


def test_drain_lets_requests_end_and_takes_no_new_ones(own):
    chunks: list = []
    usage = {"include_usage": True}
    stream = client_of(own).completions.create(**{**LONG, "max_tokens": 1200, "stream_options": usage})
    thread = threading.Thread(target=lambda: chunks.extend(stream))
    thread.start()
    until(lambda: own.metric("vllm:num_requests_running") == 1)
    own.process.send_signal(signal.SIGTERM)
    until(lambda: own.get("/health")[0] == 503)
    status, body = own.post("/v1/completions", {"model": "faq", "prompt": "x"})
    assert (status, body["error"]["code"]) == (503, 503)
    thread.join(30)
    assert own.ended() == (0, None)
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 1200
    assert own.events("stopped")[0]["running"] == 0


def test_drain_ends_at_its_deadline(model, cache, tmp_path):
    words = ["--served-model-name", "faq", "--cache-dir", str(cache), "--shutdown-timeout", "0.2"]
    with serving_vllm(tmp_path, str(model), *words) as server:
        stream = client_of(server).completions.create(**LONG)
        next(iter(stream))
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.ended()[0] == 0
        assert time.monotonic() - began < 5
        with pytest.raises(Exception, match=r"peer closed|incomplete|closed|Connection"):
            list(stream)


def test_engine_that_dies_is_reported(own):
    child = own.engine_pid()
    stream = client_of(own).completions.create(**LONG)
    next(iter(stream))
    os.kill(child, signal.SIGKILL)
    code, message = own.ended()
    assert (code, message["reason"]) == (1, "OutOfMemory")
    assert own.lines[-1].startswith("ascend_runtime: llama.cpp was ended for memory")


def test_engine_ends_with_its_facade(own):
    child = own.engine_pid()
    own.process.kill()
    until(lambda: not os.path.exists(f"/proc/{child}/fd"))


def failed(engine: str, words: list[str], folder, **environ: str):
    server = Server(engine, words, folder, environ)
    code, message = server.ended()
    assert message is not None, server.lines
    assert not any("Traceback" in line for line in server.lines)
    assert server.lines[-1].strip() == f"ascend_runtime: {message['message']}"
    return code, message


def test_port_in_use(model, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, message = failed("vllm", [str(model), "--host", "127.0.0.1", "--port", str(port)], tmp_path)
    assert (code, message["reason"], message["field"]) == (1, "PortInUse", "port")


def test_too_little_memory(model, tmp_path, monkeypatch):
    """Said before a process is started that the kernel would have to kill."""
    from ascend_runtime.serve.loading import _prepare
    from runtime.serve.test_convert import settings

    monkeypatch.setattr("ascend_runtime.serve.loading.memory_limit", lambda: 300 << 20)
    with pytest.raises(CannotServe, match="MiB for weights") as caught:
        _prepare(settings(model, tmp_path))
    assert (caught.value.code, caught.value.message["reason"]) == (1, "OutOfMemory")


@pytest.mark.parametrize(
    ("words", "reason", "code"),
    [
        pytest.param(["--nonsense"], "ConfigInvalid", 65, id="unknown-argument"),
        pytest.param(["--max-model-len", "99999"], "ConfigInvalid", 65, id="length"),
        pytest.param(["--enable-lora", "--lora-modules", "a=/absent"], "AdapterInvalid", 65, id="adapter"),
        pytest.param(["--host", "192.0.2.1"], "ConfigInvalid", 65, id="address-of-another"),
    ],
)
def test_wrong_arguments(model, tmp_path, words, reason, code):
    found = failed("vllm", [str(model), "--port", str(free_port()), *words], tmp_path)
    assert (found[0], found[1]["reason"]) == (code, reason)


def test_bad_model(tmp_path):
    code, message = failed("vllm", [str(tmp_path), "--port", str(free_port())], tmp_path)
    assert (code, message["reason"]) == (65, "ModelInvalid")
    assert "Traceback" not in message["message"]


def test_file_that_llama_cpp_cannot_load(model, tmp_path):
    """A converted file that was damaged on disk: its own complaint is told."""
    words = [str(model), "--port", str(free_port()), "--cache-dir", str(tmp_path / "cache")]
    from ascend_runtime.serve.loading import _prepare
    from runtime.serve.test_convert import settings

    file = _prepare(settings(model, tmp_path / "cache"))[0].model
    file.write_bytes(b"XXXX" + file.read_bytes()[4:])
    code, message = failed("vllm", words, tmp_path)
    assert (code, message["reason"]) == (65, "ModelInvalid")
    assert message["message"].startswith("llama.cpp cannot load the model: ")


def test_keys(model, cache, tmp_path):
    words = ["--served-model-name", "faq", "--cache-dir", str(cache), "--api-key", "one", "two"]
    with serving_vllm(tmp_path, str(model), *words) as server:
        assert server.get("/health")[0] == 200
        assert server.get("/metrics")[0] == 200
        status, body = server.get("/v1/models")
        assert (status, json.loads(body)) == (401, {"error": "Unauthorized"})
        with pytest.raises(openai.AuthenticationError):
            client_of(server, api_key="three").models.list()
        assert [len(client_of(server, api_key=key).models.list().data) for key in ("one", "two")] == [1, 1]


def test_key_from_the_environment(model, cache, tmp_path):
    with serving_vllm(tmp_path, str(model), "--cache-dir", str(cache), environ={"VLLM_API_KEY": "k"}) as server:
        assert server.get("/v1/models")[0] == 401


def test_tls(model, cache, tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    words = ["--cache-dir", str(cache), "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    with serving_vllm(tmp_path, str(model), *words) as server:
        trusted = ssl.create_default_context(cafile=str(certificate))
        trusted.check_hostname = False
        url = server.url.replace("http:", "https:")
        with urllib.request.urlopen(f"{url}/health", context=trusted) as answer:
            assert answer.status == 200


def test_pod_that_is_not_the_head_only_lives(model, tmp_path):
    table = tmp_path / "hccl.json"
    table.write_text(make_table(("10.1.0.1", (0, 1)), ("10.1.0.2", (2, 3))))
    environ = {"RANK_TABLE_FILE": str(table), "POD_IP": "10.1.0.2"}
    with serving_vllm(tmp_path, str(model), environ=environ) as server:
        assert fetch(f"{server.url}/health")[0] == 200
        assert fetch(f"{server.url}/v1/models")[0] == 404
        assert server.stop() == 0


def test_rank_table_without_this_pod(model, tmp_path):
    table = tmp_path / "hccl.json"
    table.write_text(make_table(("10.1.0.1", (0,))))
    words = [str(model), "--port", str(free_port())]
    code, message = failed("vllm", words, tmp_path, RANK_TABLE_FILE=str(table), POD_IP="10.9.9.9")
    assert (code, message["reason"]) == (65, "RankTableInvalid")
    assert "10.9.9.9" in message["message"]


def test_signal_while_loading(model, tmp_path):
    """Nothing runs yet: the end is at once, and no half conversion is taken for whole later."""
    server = Server("vllm", [str(model), "--port", str(free_port()), "--cache-dir", str(tmp_path / "cache")], tmp_path)
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    assert server.ended()[0] in (0, 143, -15)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
