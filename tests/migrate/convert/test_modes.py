"""The modes from folder to folder: trees, diffs, branches, hostile projects, the command line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
from ascend_jobs.cli import exits, migrate_convert
from ascend_runtime.migrate.convert.branch import BranchError
from ascend_runtime.migrate.convert.results import COLUMNS, REPORTS
from ascend_runtime.migrate.convert.run import InvalidOptions, Mode, Options, run

MAIN = 'import os\nimport torch\n\nif __name__ == "__main__":\n    torch.zeros(1).cuda()\n'


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, input=stdin, check=True
    )
    return done.stdout.decode()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "p"
    (root / "lib").mkdir(parents=True)
    (root / "main.py").write_text(MAIN)
    (root / "lib/net.py").write_bytes(b"import torch\r\nx = 'cuda'\r\ntorch.cuda.synchronize()")
    (root / "run.sh").write_text("CUDA_VISIBLE_DEVICES=0 python main.py\n")
    (root / "run.sh").chmod(0o755)
    (root / "data.bin").write_bytes(b"\0cuda\xff")
    return root


def tree(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_convert_writes_a_tree_and_change_list(project: Path, tmp_path: Path) -> None:
    before = tree(project)
    run(project, tmp_path / "o", Options(Mode.CONVERT))
    target = tmp_path / "o/p_msft"
    assert tree(project) == before
    assert (target / "lib/net.py").read_bytes() == (
        b"import torch_npu\r\nimport torch\r\nx = 'npu'\r\ntorch.npu.synchronize()"
    )
    assert (target / "run.sh").read_text() == "ASCEND_RT_VISIBLE_DEVICES=0 python main.py\n"
    assert os.access(target / "run.sh", os.X_OK)
    assert (target / "data.bin").read_bytes() == before["data.bin"]
    rows = list(csv.reader((target / REPORTS / "change_list.csv").open()))
    assert rows[0] == list(COLUMNS) == ["File", "Start Line", "End Line", "Operation Type", "Message"]
    assert ["lib/net.py", "1", "1", "INSERT", "import torch_npu"] in rows
    assert ["lib/net.py", "3", "3", "MODIFY", "change cuda to npu"] in rows


def test_second_conversion_changes_nothing(project: Path, tmp_path: Path) -> None:
    run(project, tmp_path / "o", Options(Mode.CONVERT))
    assert run(tmp_path / "o/p_msft", tmp_path / "o2", Options(Mode.CONVERT)).changed == []


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        ((2, 1), "import torch_npu\nfrom torch_npu.contrib import transfer_to_npu\n"),
        ((2, 4), "import torch_npu\nfrom torch_npu.contrib import transfer_to_npu\n"),
        ((2, 7), "from torch_npu.contrib import transfer_to_npu\n"),
    ],
)
def test_auto_by_version(project: Path, tmp_path: Path, version: tuple[int, int], lines: str) -> None:
    run(project, tmp_path / "o", Options(Mode.AUTO, torch_version=version))
    target = tmp_path / "o/p_msft"
    assert (target / "main.py").read_text() == MAIN.replace("import torch\n", "import torch\n" + lines)
    assert (target / "lib/net.py").read_bytes() == (project / "lib/net.py").read_bytes()
    assert "ASCEND_RT_VISIBLE_DEVICES" in (target / "run.sh").read_text()


@pytest.mark.parametrize(
    ("head", "want"),
    [
        ("import lib\nimport torch\n", "import torch\nFROM\nimport lib\nimport torch\n"),
        ("from __future__ import annotations\nimport os, torch\n",
         "from __future__ import annotations\nimport torch\nFROM\nimport os, torch\n"),
        ("import torch  # first\n", "import torch  # first\nFROM\n"),
        ("import torch; x = 1\n", "import torch; FROM; x = 1\n"),
    ],
)  # fmt: skip
def test_auto_place(tmp_path: Path, head: str, want: str) -> None:
    (tmp_path / "p").mkdir()
    guard = 'if __name__ == "__main__":\n    pass\n'
    (tmp_path / "p/a.py").write_text(head + guard)
    run(tmp_path / "p", tmp_path / "o", Options(Mode.AUTO))
    after = (tmp_path / "o/p_msft/a.py").read_text()
    assert after == want.replace("FROM", "from torch_npu.contrib import transfer_to_npu") + guard
    assert run(tmp_path / "o/p_msft", tmp_path / "o2", Options(Mode.AUTO)).changed == []


def test_auto_named_entry_alone(project: Path, tmp_path: Path) -> None:
    outcome = run(project, tmp_path / "o", Options(Mode.AUTO, entries=frozenset({"lib/net.py"})))
    assert {item.path for item in outcome.changed} == {"lib/net.py", "run.sh"}


def test_auto_finds_what_transfer_to_npu_does_not_see(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.py").write_text("import torch\nif b == 'nccl': pass\nm = torch.nn.DataParallel(m)\n")
    outcome = run(tmp_path / "p", tmp_path / "o", Options(Mode.AUTO))
    assert {finding.subject for finding in outcome.findings} == {"nccl", "torch.nn.DataParallel"}


def test_diff_gives_the_converted_tree(project: Path, tmp_path: Path) -> None:
    (project / "a b.py").write_text("d = 'cuda'")
    (project / "ü.py").write_text("d = 'cuda'\n")
    run(project, tmp_path / "o", Options(Mode.CONVERT))
    before = tree(project)
    run(project, tmp_path / "d", Options(Mode.PATCH))
    assert tree(project) == before
    git(project, "init", "-q")
    git(project, "apply", str(tmp_path / "d/p.diff"))
    want = {path: raw for path, raw in tree(tmp_path / "o/p_msft").items() if not path.startswith(REPORTS)}
    assert {path: raw for path, raw in tree(project).items() if not path.startswith(".git/")} == want


def test_branch_leaves_the_work_tree_alone(project: Path, tmp_path: Path) -> None:
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "first")
    head = git(project, "rev-parse", "HEAD")
    run(project, tmp_path / "o", Options(Mode.PATCH, branch="ascend"))
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "rev-parse", "ascend^") == head
    assert git(project, "diff", "--stat", "main", "ascend").count("|") == 3
    assert "torch.zeros(1).npu()" in git(project, "show", "ascend:main.py")
    with pytest.raises(BranchError, match="already"):
        run(project, tmp_path / "o2", Options(Mode.PATCH, branch="ascend"))


def test_branch_of_changed_files_is_refused(project: Path, tmp_path: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "first")
    (project / "main.py").write_text(MAIN + "x = 1\n")
    with pytest.raises(BranchError, match=r"main\.py differs"):
        run(project, tmp_path / "o", Options(Mode.PATCH, branch="ascend"))
    assert git(project, "branch", "--list", "ascend") == ""


def test_bad_files_do_not_stop_the_rest(project: Path, tmp_path: Path) -> None:
    (project / "old.py").write_text("print 'x'\n")
    (project / "wrong.py").write_bytes(b"x = '\xff'\n")
    (project / "deep.py").write_text("(" * 3000)
    (project / "long.py").write_text("x = [" + "1, " * 60_000 + "'cuda']\n")
    (project / "loop").symlink_to(".")
    (project / "out.py").symlink_to("/etc/passwd")
    (project / "in.py").symlink_to("main.py")
    (project / "-rf; $(x).py").write_text("d = 'cuda'\n")
    os.mkfifo(project / "pipe.py")
    outcome = run(project, tmp_path / "o", Options(Mode.CONVERT))
    assert {"old.py", "wrong.py", "deep.py", "out.py", "pipe.py"} <= set(outcome.skipped)
    target = tmp_path / "o/p_msft"
    assert (target / "old.py").read_text() == "print 'x'\n"
    assert "npu" in (target / "-rf; $(x).py").read_text()
    assert (target / "in.py").is_symlink() and not (target / "out.py").is_symlink()
    assert json.loads((target / REPORTS / "findings.json").read_text())["skipped"]["old.py"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(Mode.AUTO, main="main.py"), "--distributed"),
        (Options(Mode.CONVERT, main="../x.py"), "not a file"),
        (Options(Mode.CONVERT, entries=frozenset({"none.py"})), "not a file"),
        (Options(Mode.CONVERT, branch="b"), "--branch"),
    ],
)
def test_options_that_do_not_go_together(project: Path, tmp_path: Path, options: Options, message: str) -> None:
    with pytest.raises(InvalidOptions, match=message):
        run(project, tmp_path / "o", options)
    assert not (tmp_path / "o").exists()


def test_output_inside_or_there_already(project: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptions, match="inside"):
        run(project, project / "o", Options(Mode.CONVERT))
    (tmp_path / "o/p_msft").mkdir(parents=True)
    with pytest.raises(InvalidOptions, match="exists"):
        run(project, tmp_path / "o", Options(Mode.CONVERT))


def command(*arguments: str) -> int:
    import argparse

    parser = argparse.ArgumentParser()
    migrate_convert.add_parser(parser.add_subparsers())
    args = parser.parse_args(["convert", *arguments])
    return int(args.func(args))


def test_command(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(project), "--output", str(tmp_path / "o"), "--torch-version", "2.7.1") == exits.OK
    assert "3 files read, 3 changed by" in capsys.readouterr().out
    assert command(str(project), "--output", str(tmp_path / "o")) == exits.USAGE
    assert command(str(project), "--output", str(tmp_path / "x"), "--distributed") == exits.USAGE
