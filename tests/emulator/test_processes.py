"""Finding processes: a made-up process table, and real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ascend_emulator.processes import parse_visible, scan_processes
from ascend_emulator.state import Process


def add_process(proc: Path, pid: int, comm: str = "python3", pages: int = 256, **environ: str) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "environ").write_bytes(b"".join(f"{k}={v}\0".encode() for k, v in environ.items()))
    (folder / "comm").write_text(comm + "\n")
    (folder / "statm").write_text(f"9999 {pages} 0 0 0 0 0\n")


@pytest.mark.parametrize(
    ("text", "chips"),
    [
        ("0,1", (0, 1)), ("3", (3,)), ("0-3", (0, 1, 2, 3)), ("Ascend910-0,Ascend910-11", (0, 11)),
        ("ascend-1980-4", (4,)), ("", ()), ("all", ()), ("1,x,2", (1, 2)), ("0-99999999999", ()), ("3-1", ()),
        ("1-", (1,)), ("-", ()), (" 1 , 2 ", (1, 2)), ("1,1", (1,)),
    ],
)  # fmt: skip
def test_parse_visible(text, chips):
    assert parse_visible(text) == chips


def test_scan(tmp_path):
    megabyte = (1 << 20) // os.sysconf("SC_PAGE_SIZE")
    add_process(tmp_path, 9, "launcher", ASCEND_VISIBLE_DEVICES="0,1")
    add_process(tmp_path, 10, pages=700 * megabyte, ASCEND_VISIBLE_DEVICES="0,1", LOCAL_RANK="0")
    add_process(tmp_path, 11, pages=800 * megabyte, ASCEND_VISIBLE_DEVICES="0,1", LOCAL_RANK="1")
    add_process(tmp_path, 12, ASCEND_VISIBLE_DEVICES="0,1", LOCAL_RANK="7")
    add_process(tmp_path, 30, "sleep", pages=megabyte, ASCEND_VISIBLE_DEVICES="4,5")
    add_process(tmp_path, 31, "npu-smi", ASCEND_VISIBLE_DEVICES="4,5")
    add_process(tmp_path, 40, ASCEND_VISIBLE_DEVICES="7")
    add_process(tmp_path, 50, PATH="/bin")
    (tmp_path / "60").mkdir()
    (tmp_path / "self").mkdir()
    assert scan_processes(tmp_path, {0, 1, 4, 5}) == {
        0: (Process(10, "python3", 700),),
        1: (Process(11, "python3", 800),),
        4: (Process(30, "sleep", 1),),
        5: (Process(30, "sleep", 1),),
    }


def test_scan_of_nothing(tmp_path):
    assert scan_processes(tmp_path / "absent", {0}) == {}


def test_scan_of_this_machine():
    code = "import sys; held = bytearray(64 << 20); print(1, flush=True); sys.stdin.read()"
    environ = os.environ | {"ASCEND_VISIBLE_DEVICES": "4001,4002", "LOCAL_RANK": "1"}
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdin=-1, stdout=-1) as child:
        child.stdout.readline()
        found = scan_processes(Path("/proc"), {4001, 4002})
        child.stdin.close()
    ((process,),) = found.values()
    assert list(found) == [4002]
    assert (process.pid, process.name.startswith("python")) == (child.pid, True)
    assert 64 < process.memory_mb < 200
