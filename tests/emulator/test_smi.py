"""npu-smi: the table against a golden file, the script with every shell that is there."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from ascend_emulator import smi
from ascend_emulator.chips import Fault, Level
from ascend_emulator.state import Holder, Process
from emulator.builders import golden, make_settings, make_state

SHELLS = [shell for shell in (["sh"], ["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


@pytest.fixture
def data(settings):
    """The data folder of a node with two busy chips, one of them faulty."""
    state = make_state(settings)
    state.set_faults({2: Fault("80E01801", Level.RESTART_NPU, 0), 3: Fault("81078603", Level.SUB_HEALTH_FAULT, 0)})
    state.set_holders({1: Holder("team-a", "faq-0", "trainer"), 2: Holder("team-a", "faq-0", "trainer")})
    state.set_processes(
        {
            1: (Process(1915448, "python3", 1720),),
            2: (Process(471139, "python3", 1722), Process(471140, "a\tvery-long-name-of-a-process", 70000)),
        }
    )
    smi.install_tool(settings.data_dir)
    table = smi.render_table(settings, state)
    (settings.data_dir / smi.TABLE).write_text(table)
    return settings.data_dir


def run_tool(shell, data, *arguments, visible=None):
    environ = {"ASCEND_EMULATOR_DATA": str(data), "PATH": ""}
    if visible is not None:
        environ["ASCEND_VISIBLE_DEVICES"] = visible
    shell = [shutil.which(shell[0]), *shell[1:]]
    return subprocess.run([*shell, data / smi.TOOL, *arguments], env=environ, capture_output=True, text=True)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("name", "arguments", "visible"),
    [
        ("info-all", ["info"], None),
        ("info-1-2", ["info"], "2,1"),
        ("list-all", ["info", "-l"], None),
        ("list-1-2", ["info", "-l"], "1-2"),
        ("version", ["-v"], None),
        ("help", ["--help"], None),
        ("info-help", ["info", "-h"], "0"),
    ],
)
def test_output(shell, data, name, arguments, visible):
    done = run_tool(shell, data, *arguments, visible=visible)
    assert (done.returncode, done.stderr) == (0, "")
    golden(f"npu-smi-{name}.txt", done.stdout)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("visible", "chips"),
    [
        ("0,1", [0, 1]), ("0-2", [0, 1, 2]), ("Ascend910-3,Ascend910-5", [3, 5]), ("7", [7]), ("2,2", [2]),
        ("0,99", [0]), ("x,4", [4]), ("1,,3,", [1, 3]), ("6-99999999999,1", [1]), ("*", []), ("", []), ("-", []),
    ],
)  # fmt: skip
def test_visible_devices(shell, data, visible, chips):
    done = run_tool(shell, data, "info", "-l", visible=visible)
    found = [int(line.rpartition(":")[2]) for line in done.stdout.splitlines() if "NPU ID" in line]
    assert found == chips
    assert done.returncode == (0 if chips else 1)
    assert bool(chips) == (done.stderr == "")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("arguments", [[], ["what"], ["info", "-t", "board"], ["info", "watch"], ["set"], ["-v", "x"]])
def test_unknown_commands_give_the_usage(shell, data, arguments):
    done = run_tool(shell, data, *arguments)
    assert done.returncode == 1
    assert done.stdout.startswith("Usage: npu-smi")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_without_a_table(shell, data):
    (data / smi.TABLE).unlink()
    done = run_tool(shell, data, "info")
    assert done.returncode == 1
    assert "DaemonSet" in done.stderr
    assert run_tool(shell, data, "-h").returncode == 0


def test_all_lines_of_the_tables_are_equally_wide(data):
    lines = run_tool(SHELLS[0], data, "info").stdout.splitlines()
    assert {len(line) for line in lines} == {98}


def test_files(data):
    tool, table = data / smi.TOOL, data / smi.TABLE
    assert tool.stat().st_mode & 0o777 == 0o755
    inode = table.stat().st_ino
    smi.replace_file(table, b"new", 0o644)
    assert (table.read_bytes(), table.stat().st_mode & 0o777) == (b"new", 0o644)
    assert table.stat().st_ino != inode
    assert sorted(os.listdir(data)) == ["npu-smi", "table"]


def test_memory_is_capped_by_the_chip():
    settings = make_settings(HBM_GIB="32")
    state = make_state(settings)
    state.set_processes({0: (Process(1, "a", 20000), Process(2, "b", 20000))})
    assert smi.used_memory_mb(settings, state, state.chips[0]) == 32768
