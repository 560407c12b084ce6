"""The files as readers of the upstream tool's output know them: names, columns, rows of a small project.

`UPDATE_GOLDEN=1 pytest` rewrites golden/.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ascend_jobs.cli import exits
from ascend_jobs.cli.main import main
from ascend_runtime.migrate.analyse import analyse
from ascend_runtime.migrate.write import write_analysis
from migrate.analyse.projects import make_project

GOLDEN = Path(__file__).parent / "golden"
FILES = {
    "ext/ops.cpp": 'PYBIND11_MODULE(N, m) { m.def("nms", &nms, py::arg("b")); }\n',
    "net/__init__.py": "from .model import Net\n",
    "net/model.py": """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 8)
        self.act = nn.SiLU()

    def forward(self, x):
        out, _ = self.rnn(x)
        m = torch.matmul(out, out)
        m[x] = x
        return m.to_dense()
""",
    "train.py": """\
import os

import ext
import torch
from net import Net
from torch.utils.data import DataLoader

os.environ["CUDA_VISIBLE_DEVICES"] = "0"


def main(data):
    model = torch.nn.DataParallel(Net()).to("cuda")
    loader = DataLoader(data, 4)
    step = torch.optim.AdamW(model.parameters())
    torch.made_up(ext.nms(data))


main([])
""",
    "run.sh": "NCCL_DEBUG=INFO python train.py --device cuda:0\n",
}
COLUMNS = {
    "unsupported_api.csv": "File,Start Line,End Line,OP,Tips",
    "unknown_api.csv": "File,Start Line,End Line,OP,Tips",
    "cuda_op_list.csv": "File,Api",
    "api_precision_advice.csv": "File,Start Line,End Line,OP,Tips",
    "api_performance_advice.csv": "File,Start Line,End Line,OP,Tips",
    "affinity_api_call.csv": "File,Start Line,End Line,Api Type,Api Call Name,Affinity Api Name",
    "framework_unsupported_op.csv": "Torch API,Affected 3rd-party API",
    "unknown_op.csv": "Torch API,Affected 3rd-party API",
    "migration_needed_op.csv": "Torch API,Affected 3rd-party API",
    "cuda_op.csv": "OP Name,Affected 3rd-party API",
    "full_unsupported_results.csv": "File,3rd-party API,Message",
    "dynamic_shape_advice.csv": "File,Start Line,End Line,Sign,Tips",
}


def test_golden(tmp_path):
    write_analysis(analyse(make_project(tmp_path / "in", FILES), "2.7.1"), tmp_path / "out")
    written = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        for name, text in written.items():
            (GOLDEN / name).write_text(text)
    assert written == {path.name: path.read_text() for path in GOLDEN.iterdir()}


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_columns(name):
    assert (GOLDEN / name).read_text().splitlines()[0] == COLUMNS[name]


def test_several_processes_give_the_same(tmp_path):
    root = make_project(tmp_path / "in", FILES)
    for jobs in (1, 2):
        write_analysis(analyse(root, "2.7.1", jobs=jobs), tmp_path / str(jobs))
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def test_command(tmp_path, capsys):
    root = make_project(tmp_path / "in", FILES)
    assert main(["migrate", "analyse", str(root), "-o", str(tmp_path / "out"), "--chip", "A2"]) == exits.OK
    assert capsys.readouterr().out.startswith("Blocked")
    document = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert document["verdict"] == "Blocked"
    with (tmp_path / "out" / "unsupported_api.csv").open() as lines:
        assert {row["OP"] for row in csv.DictReader(lines)} >= {"torch.nn.GRU", "torch.nn.DataParallel"}


@pytest.mark.parametrize("words", [["--torch-version", "1.8"], ["--chip", "H100"], ["--jobs", "-1"]])
def test_wrong_usage(tmp_path, words, capsys):
    assert main(["migrate", "analyse", str(tmp_path), "-o", str(tmp_path / "out"), *words]) == exits.USAGE
    assert "ascendctl: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_folder(tmp_path):
    assert main(["migrate", "analyse", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == exits.USAGE


def test_loads_nothing_of_the_cluster():
    program = "import sys; from ascend_jobs.cli.main import make_parser; make_parser('migrate');"
    program += "import ascend_runtime.migrate.analyse, ascend_runtime.migrate.write;"
    program += "print([m for m in ('pydantic', 'kubernetes', 'yaml', 'kopf') if m in sys.modules])"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
