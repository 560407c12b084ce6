"""Whatever stands in a folder, the rest of it is analysed, and what was left out is named."""

import ast
import json
import os
import random

import pytest
from ascend_runtime.migrate.analyse import analyse
from ascend_runtime.migrate.scan import scan_tree
from ascend_runtime.migrate.tree import LARGEST
from ascend_runtime.migrate.write import write_analysis
from migrate.analyse.projects import analyse_files, make_project

GOOD = "import torch\ntorch.std_mean(1)\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"print 'two'\n", id="python-2"),
        pytest.param(b"\xff\xfe\x00bad", id="no-utf-8"),
        pytest.param(b"# coding: nonsense\n", id="unknown-coding"),
        pytest.param(b"x = 1\x00\n", id="nul"),
        pytest.param(b"x = " + b"(" * 5000 + b")" * 5000, id="brackets"),
        pytest.param(b"x = " + b"-" * 200_000 + b"1", id="signs"),
        pytest.param(b"x" * (LARGEST + 1), id="too-large"),
    ],
)
def test_bad_file_is_named_and_left_out(tmp_path, content):
    result = analyse_files(tmp_path, {"bad.py": content, "good.py": GOOD})
    assert [one.name for one in result.skipped] == ["bad.py"]
    assert len(result.rows.unsupported) == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + GOOD.encode(), id="bom"),
        pytest.param(b"# coding: latin-1\n# \xe9\n" + GOOD.encode(), id="latin-1"),
        pytest.param(GOOD.replace("\n", "\r\n").encode(), id="crlf"),
        pytest.param(GOOD.encode() + b"y = [" + b"1, " * 300_000 + b"]\n", id="one-long-line"),
        pytest.param(GOOD.encode() + b"x = torch.rand(1)\n" + b"x = x.a().b()\n" * 3000, id="growing-path"),
        pytest.param(GOOD.encode() + b"if 0:\n  pass\n" + b"elif 1:\n  x = 1\n" * 900, id="elif-chain"),
        pytest.param(GOOD.encode() + b"y = x" + b".a()" * 300 + b"\n", id="long-chain"),
    ],
)
def test_odd_file_is_analysed(tmp_path, content):
    result = analyse_files(tmp_path, {"odd.py": content})
    assert not result.skipped
    assert [row[3] for row in result.rows.unsupported] == ["torch.std_mean"]


def test_links_are_not_followed(tmp_path):
    root = make_project(tmp_path / "in", {"good.py": GOOD})
    (root / "loop").symlink_to(root)
    (root / "out.py").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe.py")
    result = analyse(root, "2.7.1")
    assert {one.name for one in result.skipped} == {"out.py", "pipe.py"}
    assert result.files == 1


def test_names_cannot_leave_their_cells(tmp_path):
    name = "=cmd\udcff\n.py"
    root = make_project(tmp_path / "in", {name: GOOD})
    write_analysis(analyse(root, "2.7.1"), tmp_path / "out")
    assert '" =cmd' in (tmp_path / "out" / "unsupported_api.csv").read_text()


def test_cycles_end(tmp_path):
    files = {
        "a.py": "from b import *\nfrom b import x\nclass A(B):\n    y = x\nA().y.z()\nx()\n",
        "b.py": "from a import *\nfrom a import x\nclass B(A):\n    pass\n"
        "def f():\n    return g()\ndef g():\n    return f()\nf().a()\n",
        "c.py": GOOD,
    }
    assert len(analyse_files(tmp_path, files).rows.unsupported) == 1


def test_broken_notebook_and_magics(tmp_path):
    files = {
        "a.ipynb": json.dumps(
            {"cells": [{"cell_type": "code", "source": ["%pip install x\n", "import torch\n", "torch.std_mean(1)"]}]}
        ),
        "b.ipynb": "[]",
    }
    result = analyse_files(tmp_path, files)
    assert [row[:2] for row in result.rows.unsupported] == [("a.ipynb", 3)]
    assert [one.name for one in result.skipped] == ["b.ipynb"]


def test_mutated_files_never_raise():
    """Cut and shuffle the lines of real files of the standard library; what still parses has to scan."""
    chance = random.Random(5)
    with open(ast.__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    parsed = 0
    for _ in range(300):
        start = chance.randrange(len(lines))
        piece = lines[start : start + chance.randrange(1, 40)]
        chance.shuffle(piece) if chance.random() < 0.3 else None
        text = "\n".join(piece)
        try:
            tree = ast.parse("if 1:\n " + text.replace("\n", "\n ") if text.startswith(" ") else text)
        except SyntaxError:
            continue
        parsed += 1
        scan_tree(tree, "m")
    assert parsed > 10


def test_every_row_names_a_line_that_holds_it(tmp_path):
    with open(ast.__file__, encoding="utf-8") as file:
        text = file.read()
    scan = scan_tree(ast.parse(text), "m")
    lines = text.encode().splitlines()
    for use in scan.uses:
        if use.line == use.end_line and "?" not in use.path and "[" not in use.path:
            held = lines[use.line - 1][use.column : use.end_column].decode()
            assert held
