from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from ascend_runtime.ranktable import parse_rank_table
from ascend_runtime.wait import Published, Wanted, master_obstacle, table_obstacle
from runtime.builders import make_table

MINE, OTHER = ("127.0.0.1", (0,)), ("10.1.0.2", (1,))


def wanted(**changes):
    values = {
        "attempt": "2",
        "pod": "faq-ftj-2-worker-0",
        "address": "127.0.0.1",
        "master": "localhost",
        "source": "/x",
        "destination": "/y",
        "seconds": 5.0,
    }
    return Wanted(**{**values, **changes})


def published(text, **changes):
    values = {"attempt": "2", "version": "5", "text": text, "table": parse_rank_table(text)}
    return Published(**{**values, **changes})


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        pytest.param(Published(), "field attempt is absent, not 2", id="nothing-yet"),
        pytest.param(published(make_table(MINE), attempt="1"), "field attempt is 1, not 2", id="earlier-attempt"),
        pytest.param(Published("1", skip="no addresses"), "field attempt is 1, not 2", id="earlier-attempts-skip"),
        pytest.param(Published("2", defect="hccl.json is not JSON"), "no rank table yet: hccl.json is not", id="torn"),
        pytest.param(published('{"status":"initializing"}'), "status of the rank table is initializing", id="initial"),
        pytest.param(
            published(make_table(OTHER)),
            "no entry of server_list has container_ip 127.0.0.1, pod faq-ftj-2-worker-0",
            id="not-listed",
        ),
        pytest.param(
            published(make_table(MINE, server_count="2")), "server_count is 2, server_list has 1 entries", id="count"
        ),
        pytest.param(published(make_table(("127.0.0.1", (1,)))), "no device of server_list has rank_id 0", id="rank-0"),
    ],
)
def test_what_the_table_lacks(found, sentence):
    assert sentence in table_obstacle(wanted(), found)


@pytest.mark.parametrize(
    ("want", "found"),
    [
        pytest.param(wanted(), published(make_table(MINE, OTHER)), id="whole"),
        pytest.param(wanted(), Published("2", skip="no addresses"), id="skip"),
        pytest.param(wanted(source=None), Published(), id="no-table-at-all"),
    ],
)
def test_nothing_missing(want, found):
    assert table_obstacle(want, found) is None


@pytest.mark.parametrize(
    ("found", "addresses", "sentence"),
    [
        pytest.param(published(make_table(MINE)), (), "MASTER_ADDR localhost does not resolve", id="no-name"),
        pytest.param(
            published(make_table(MINE)),
            ("10.9.9.9",),
            "MASTER_ADDR localhost resolves to 10.9.9.9, container_ip of rank 0 is 127.0.0.1",
            id="old-pods-address",
        ),
        pytest.param(published(make_table(MINE)), ("127.0.0.1",), None, id="rank-0"),
        pytest.param(Published("2", skip="why"), ("10.9.9.9",), None, id="any-address-without-a-table"),
    ],
)
def test_master(found, addresses, sentence):
    assert master_obstacle(wanted(), found, frozenset(addresses)) == sentence


class Mount:
    """A ConfigMap volume as the kubelet keeps it: files are links through `..data`, which is swapped by a rename."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        folder.mkdir()

    def publish(self, **keys):
        self.count += 1
        new = self.folder / f"..{self.count}"
        new.mkdir()
        for key, text in keys.items():
            (new / key.replace("hccl", "hccl.json")).write_text(text)
        (self.folder / "..new").symlink_to(new.name)
        os.replace(self.folder / "..new", self.folder / "..data")
        for link in self.folder.iterdir():
            if not link.name.startswith("..") and not (new / link.name).exists():
                link.unlink()
        for file in new.iterdir():
            if not (self.folder / file.name).is_symlink():
                (self.folder / file.name).symlink_to(f"..data/{file.name}")


class Waiter:
    """The real command, waiting."""

    def __init__(self, tmp_path, **environ):
        self.log, self.destination = tmp_path / "termination-log", tmp_path / "config"
        variables = {
            "PYTHONPATH": ":".join(sys.path),
            "ASCENDJOBS_ATTEMPT": "2",
            "ASCENDJOBS_RANK_TABLE_SOURCE": str(tmp_path / "mount"),
            "ASCENDJOBS_WAIT_SECONDS": "60",
            "POD_NAME": "faq-ftj-2-worker-0",
            "POD_IP": "127.0.0.1",
            "MASTER_ADDR": "localhost",
            **environ,
        }
        command = [sys.executable, "-m", "ascend_runtime", "wait"]
        command += ["--termination-log", str(self.log), "--destination", str(self.destination)]
        self.process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)

    def line(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        code = self.process.wait(30)
        self.process.stdout.close()
        return code


@pytest.fixture
def mount(tmp_path):
    return Mount(tmp_path / "mount")


@pytest.fixture
def start(tmp_path):
    started = []

    def start_one(**environ):
        started.append(Waiter(tmp_path, **environ))
        return started[-1]

    yield start_one
    for waiter in started:
        if waiter.process.poll() is None:
            waiter.process.kill()
            waiter.process.wait()
        waiter.process.stdout.close()


def test_the_whole_course_under_swaps(mount, start):
    mount.publish(hccl='{"status":"initializing"}', version="1", attempt="1")
    waiter = start()
    assert waiter.line()["missing"] == "field attempt is 1, not 2"
    mount.publish(hccl='{"status":"initializing"}', version="2", attempt="2")
    assert "is initializing" in waiter.line()["missing"]
    mount.publish(hccl='{"status":"comple', version="3", attempt="2")
    assert "not JSON" in waiter.line()["missing"]
    mount.publish(hccl=make_table(OTHER), version="4", attempt="2")
    assert "container_ip 127.0.0.1" in waiter.line()["missing"]
    table = make_table(MINE, OTHER)
    changed = time.monotonic()
    mount.publish(hccl=table, version="5", attempt="2")
    assert waiter.line()["delivered"] == "5"
    assert time.monotonic() - changed < 2
    assert waiter.end() == 0
    assert (waiter.destination / "hccl.json").read_text() == table
    assert (waiter.destination / "version").read_text() == "5"
    assert sorted(path.name for path in waiter.destination.iterdir()) == ["hccl.json", "version"]


def test_a_file_written_in_place_is_read_when_it_is_whole(mount, start):
    mount.publish(hccl="", version="1", attempt="2")
    waiter = start()
    assert "not JSON" in waiter.line()["missing"]
    table = make_table(MINE)
    for end in (10, 50, len(table)):
        (mount.folder / "..data" / "hccl.json").write_text(table[:end])
        time.sleep(0.15)
    assert waiter.end() == 0
    assert json.loads((waiter.destination / "hccl.json").read_text())["status"] == "completed"


def test_without_a_table_a_name_is_enough(mount, start):
    mount.publish(hccl='{"status":"initializing"}', version="1", attempt="2", skip="device addresses are missing")
    waiter = start()
    assert waiter.end() == 0
    assert not waiter.destination.exists()


def test_at_the_deadline_pod_and_field_are_named(mount, start):
    mount.publish(hccl=make_table(OTHER), version="1", attempt="2")
    waiter = start(ASCENDJOBS_WAIT_SECONDS="0.3")
    assert waiter.end() == 1
    message = json.loads(waiter.log.read_text())
    assert message["reason"] == "Error"
    assert "after 0.3 s faq-ftj-2-worker-0 still waits: no entry of server_list" in message["message"]


def test_a_name_that_does_not_resolve(mount, start):
    mount.publish(hccl=make_table(MINE), version="1", attempt="2")
    waiter = start(ASCENDJOBS_WAIT_SECONDS="0.3", MASTER_ADDR="no-such-name.invalid")
    assert waiter.end() == 1
    assert "MASTER_ADDR no-such-name.invalid does not resolve" in json.loads(waiter.log.read_text())["message"]


def test_sigterm_ends_it_at_once(mount, start):
    waiter = start()
    waiter.line()
    waiter.process.terminate()
    assert waiter.end() == 143


def test_it_starts_without_heavy_modules():
    code = "import sys; import ascend_runtime.__main__, ascend_runtime.wait\n"
    code += "assert {'torch', 'numpy', 'transformers', 'tokenizers', 'asyncio'}.isdisjoint(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
