"""Snippets and the rows they give."""

import pytest
from migrate.analyse.projects import analyse_files

NN = "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"


@pytest.mark.parametrize(
    ("source", "desired"),
    [
        pytest.param("torch.std_mean(x)", ["torch.std_mean"], id="call"),
        pytest.param("import torch as T\nT.std_mean(x)", ["torch.std_mean"], id="alias-of-module"),
        pytest.param("from torch.nn import GRU as G\nG(1, 2)", ["torch.nn.GRU"], id="alias-of-class"),
        pytest.param("from torch import nn as layers\nlayers.GRU(1, 2)", ["torch.nn.GRU"], id="from-alias"),
        pytest.param("fn = torch.std_mean\nfn(x)", ["torch.std_mean"], id="assigned-function"),
        pytest.param("class R(nn.GRU):\n    pass", ["torch.nn.GRU"], id="base-class"),
        pytest.param("@torch.compiler.disable\ndef f():\n    pass", ["torch.compiler.disable"], id="decorator"),
        pytest.param("torch.zeros(3).mode()", ["torch.Tensor.mode"], id="result-of-factory"),
        pytest.param("x = torch.zeros(3).float()\ny = x + 1\ny.mode()", ["torch.Tensor.mode"], id="through-variables"),
        pytest.param("def f(x: torch.Tensor):\n    return x.to_dense()", ["torch.Tensor.to_dense"], id="annotation"),
        pytest.param(
            "def f(x: 'torch.Tensor | None'):\n    x.to_dense()", ["torch.Tensor.to_dense"], id="quoted-union"
        ),
        pytest.param(
            "class N(nn.Module):\n    def forward(self, x):\n        return x.to_sparse()",
            ["torch.Tensor.to_sparse"],
            id="forward-argument",
        ),
        pytest.param(
            "class N:\n    def forward(self, x):\n        return x.to_sparse()", [], id="forward-of-no-module"
        ),
        pytest.param(
            "class N(nn.Module):\n    def __init__(self):\n        self.r = nn.LSTM(1, 2)\n"
            "    def go(self):\n        self.r.share_memory()\n        self.share_memory()",
            ["torch.nn.Module.share_memory"],
            id="self-and-attribute",
        ),
        pytest.param(
            "from torch.nn.functional import *\ngumbel_softmax(x)", ["torch.nn.functional.gumbel_softmax"], id="star"
        ),
        pytest.param(
            "try:\n    from torch import std_mean\nexcept ImportError:\n    std_mean = None\nstd_mean(x)",
            ["torch.std_mean"],
            id="fallback-keeps-import",
        ),
        pytest.param(
            "class A:\n    class F:\n        def go(self):\n            F.gumbel_softmax(1)",
            ["torch.nn.functional.gumbel_softmax"],
            id="class-scope",
        ),
        pytest.param("x.mode()\nopen('f').mode()", [], id="unknown-receiver"),
        pytest.param("if (y := torch.rand(3)) is not None:\n    y.mode()", ["torch.Tensor.mode"], id="walrus"),
        pytest.param("def make():\n    return torch.rand(2)\nmake().mode()", ["torch.Tensor.mode"], id="own-factory"),
        pytest.param("match torch.rand(2):\n    case [a]:\n        torch.std_mean(a)", ["torch.std_mean"], id="match"),
        pytest.param("nn.MaxPool2d(2)", [], id="supported"),
    ],
)
def test_unsupported(tmp_path, source, desired):
    result = analyse_files(tmp_path, {"m.py": NN + source + "\n"})
    assert [row[3] for row in result.rows.unsupported] == desired


def test_2_1_says_what_2_6_says(tmp_path):
    files = {"m.py": NN + "nn.MaxPool2d(2)\nnn.GRU(1, 2)\n"}
    assert [row[3] for row in analyse_files(tmp_path, files, "2.1.0").rows.unsupported] == [
        "torch.nn.MaxPool2d",
        "torch.nn.GRU",
    ]
    assert [row[3] for row in analyse_files(tmp_path, files, "2.13.0").rows.unsupported] == []


@pytest.mark.parametrize(
    ("source", "desired"),
    [
        pytest.param("torch.made_up(1)", ["torch.made_up"], id="made-up"),
        pytest.param("torch.nn.Parameter(x)", [], id="parameter"),
        pytest.param("torch.utils.data.dataloader.DataLoader(d)", [], id="long-name"),
        pytest.param("torch.distributions.Categorical(p)", [], id="re-export"),
        pytest.param("torch.amp.GradScaler('cuda')", [], id="scaler"),
        pytest.param("torch.Size([1])\ntorch.cuda.FloatTensor(3)", [], id="plain"),
        pytest.param("nn.Conv2d(1, 1, 1)(x)", [], id="called-instance"),
    ],
)
def test_unknown(tmp_path, source, desired):
    result = analyse_files(tmp_path, {"m.py": NN + source + "\n"})
    assert [row[3] for row in result.rows.unknown] == desired


def test_across_files(tmp_path):
    files = {
        "pkg/__init__.py": "from .layers import Net, make\n",
        "pkg/layers.py": NN + "class Net(nn.Module):\n    pass\ndef make():\n    return torch.rand(3)\n",
        "train.py": "from pkg import *\nimport pkg\nNet().share_memory()\npkg.make().mode()\n",
        "sub.py": "from pkg.layers import nn\nclass B(nn.Module):\n    def forward(self, y):\n        y.to_dense()\n",
    }
    rows = analyse_files(tmp_path, files).rows.unsupported
    assert sorted((row[0], row[1], row[3]) for row in rows) == [
        ("sub.py", 4, "torch.Tensor.to_dense"),
        ("train.py", 3, "torch.nn.Module.share_memory"),
        ("train.py", 4, "torch.Tensor.mode"),
    ]


@pytest.mark.parametrize(
    ("source", "desired"),
    [
        pytest.param("x.to('npu')", ["to"], id="blocking"),
        pytest.param("x.to('npu', non_blocking=True)", [], id="non-blocking"),
        pytest.param(
            "from torch.utils.data import DataLoader\nDataLoader(d, pin_memory=True, num_workers=2)", [], id="loader"
        ),
        pytest.param("torch.utils.data.DataLoader(d)", ["torch.utils.data.DataLoader"] * 2, id="plain-loader"),
        pytest.param("torch.optim.AdamW(p)", ["torch.optim.AdamW"], id="optimizer"),
    ],
)
def test_performance(tmp_path, source, desired):
    rows = analyse_files(tmp_path, {"m.py": NN + source + "\n"}).rows.performance
    assert [row[3] for row in rows[3:]] == desired


def test_no_sync_is_advised_last(tmp_path):
    rows = analyse_files(
        tmp_path, {"m.py": NN + "nn.parallel.DistributedDataParallel(m, bucket_cap_mb=500)\n"}
    ).rows.performance
    assert rows[-1][:4] == ("NA", "NA", "NA", "no_sync")


@pytest.mark.parametrize(
    ("chip", "rules"), [("", {"chip-unsupported"}), ("950DT", {"chip-unsupported"}), ("A2", set())]
)
def test_chip(tmp_path, chip, rules):
    result = analyse_files(tmp_path, {"m.py": "import torch\ntorch.is_inference_mode_enabled()\n"}, "2.13.0", chip)
    assert {one.rule for one in result.findings if one.severity != "info"} == rules


def test_lines_of_a_long_call(tmp_path):
    rows = analyse_files(tmp_path, {"m.py": "import torch\n\ntorch.std_mean(\n    1,\n)\n"}).rows.unsupported
    assert rows == [("m.py", 3, 5, "torch.std_mean", "-")]
