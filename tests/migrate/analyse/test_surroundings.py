"""Libraries, environment, images, native operators, dynamic shapes, the third-party view, the verdict."""

import pytest
from ascend_runtime.migrate.native import custom_ops
from migrate.analyse.projects import analyse_files

NN = "import torch\nimport torch.nn as nn\n"


def rules(result):
    return {(one.rule, one.subject, one.severity) for one in result.findings}


@pytest.mark.parametrize(
    ("name", "content", "desired"),
    [
        pytest.param("a.py", "import flash_attn", ("library", "flash_attn", "major"), id="flash"),
        pytest.param("a.py", "import triton.language as tl", ("library", "triton", "blocker"), id="triton"),
        pytest.param("a.py", "from nvidia.dali import fn", ("library", "nvidia", "major"), id="dali"),
        pytest.param(
            "a.py",
            "from apex.optimizers import FusedAdam",
            ("library", "apex.optimizers.FusedAdam", "major"),
            id="apex",
        ),
        pytest.param(
            "a.py", "try:\n  import xformers\nexcept ImportError: pass", ("library", "xformers", "minor"), id="optional"
        ),
        pytest.param("a.py", "import transformers", ("library", "transformers", "info"), id="native"),
        pytest.param(
            "a.py", "e['CUDA_VISIBLE_DEVICES'] = '0'", ("environment", "CUDA_VISIBLE_DEVICES", "minor"), id="py-env"
        ),
        pytest.param("run.sh", "export NCCL_DEBUG=INFO", ("environment", "NCCL_DEBUG", "minor"), id="nccl"),
        pytest.param("run.sh", "nvidia-smi -L", ("cuda-tool", "nvidia-smi", "minor"), id="tool"),
        pytest.param("c.yaml", "device: cuda:0", ("cuda-device", "cuda:0", "info"), id="yaml-device"),
        pytest.param("c.yaml", "nvidia.com/gpu: 1", ("cuda-resource", "nvidia.com/gpu", "info"), id="resource"),
        pytest.param(
            "Dockerfile", "FROM nvidia/cuda:12.1-devel", ("cuda-image", "nvidia/cuda:12.1-devel", "major"), id="image"
        ),
        pytest.param("requirements.txt", "flash-attn==2.5", ("cuda-package", "flash-attn", "minor"), id="package"),
        pytest.param("k.cu", "__global__ void k() {}", ("cuda-source", "k.cu", "blocker"), id="kernel"),
    ],
)
def test_surroundings(tmp_path, name, content, desired):
    assert desired in rules(analyse_files(tmp_path, {name: content + "\n"}))


NATIVE = """
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("nms", &nms, "doc", py::arg("boxes"), py::arg("t") = 0.5);
  m.def("roi", &roi_forward, "doc");
  // m.def("gone", &gone);
}
at::Tensor roi_forward(const at::Tensor& x, std::vector<int> y, int z = 1) { }
TORCH_LIBRARY(ext, m) { m.def("mul(Tensor a, Tensor b, int c=1) -> Tensor"); }
"""


def test_registrations():
    assert [(op.name, op.fewest, op.most) for op in custom_ops("a.cpp", NATIVE)] == [
        ("nms", 1, 2),
        ("roi", 2, 3),
        ("ext.mul", 2, 3),
    ]


def test_calls_of_custom_ops(tmp_path):
    files = {
        "a.cpp": NATIVE,
        "m.py": NN + "import ext\ndef f(b):\n    return ext.nms(b)\next.nms(1, 2, 3)\ntorch.ops.ext.mul(1, 2)\n",
    }
    result = analyse_files(tmp_path, files)
    assert sorted(row[1:] for row in result.rows.unsupported) == [
        (5, 5, "ext.nms", "User-defined CUDA Operator."),
        (7, 7, "torch.ops.ext.mul", "User-defined CUDA Operator."),
    ]
    assert result.affected.custom == [("ext.nms", "m.f")]


@pytest.mark.parametrize(
    ("source", "desired"),
    [
        pytest.param("net = nn.Linear(1, 1)\nnet.forward(x)", [], id="module"),
        pytest.param("def f(y):\n    y.forward(1)", [], id="unknown"),
        pytest.param("import deform_ext as e\ne.forward(x)", ["deform_ext.forward"], id="extension"),
        pytest.param(
            "from torch.utils.cpp_extension import load_inline\ne = load_inline('e')\ne.forward(x)",
            ["torch.utils.cpp_extension.load.forward"],
            id="compiled-at-run-time",
        ),
    ],
)
def test_forward_is_an_operator_of_extensions_alone(tmp_path, source, desired):
    files = {"a.cpp": 'PYBIND11_MODULE(N, m) { m.def("forward", &go); }', "m.py": NN + source + "\n"}
    assert [row[3] for row in analyse_files(tmp_path, files).rows.unsupported] == desired


def test_a_project_that_is_a_package(tmp_path):
    files = {"__init__.py": "from .a import make\n", "a.py": NN + "def make():\n    return torch.rand(1)\n"}
    files["b.py"] = "import pkg\nfrom pkg.a import make\nfrom . import make as again\n"
    files["b.py"] += "pkg.make().mode()\nmake().mode()\nagain().mode()\n"
    rows = analyse_files(tmp_path / "pkg", files).rows.unsupported
    assert [row[1] for row in rows] == [4, 5, 6]


@pytest.mark.parametrize(
    ("source", "sign"),
    [
        pytest.param("y = x[x > 0]", "boolean mask", id="mask"),
        pytest.param("torch.nonzero(x)", "torch.nonzero", id="nonzero"),
        pytest.param("torch.where(x)", "torch.where", id="where"),
        pytest.param("x.view(n.item(), -1)", "item in a shape", id="item"),
        pytest.param("torch.utils.data.DataLoader(d, collate_fn=c)", "collate_fn", id="collate"),
    ],
)
def test_dynamic_shapes(tmp_path, source, sign):
    assert [row[3] for row in analyse_files(tmp_path, {"m.py": NN + source + "\n"}).shapes] == [sign]


def test_third_party_view_follows_cycles_and_short_names(tmp_path):
    files = {
        "lib/__init__.py": "from .core import outer\n",
        "lib/core.py": NN + "def inner():\n    outer()\n    torch.std_mean(1)\ndef outer():\n    inner()\n",
    }
    affected = analyse_files(tmp_path, files).affected
    assert affected.unsupported == [("torch.std_mean", "lib.core.inner\nlib.core.outer\nlib.outer")]
    assert ("lib/core.py", "lib.outer", "lib/core.py, 5, torch.std_mean") in affected.full


@pytest.mark.parametrize(
    ("files", "desired"),
    [
        pytest.param({"m.py": NN + "nn.Linear(1, 1)\n"}, "Ready", id="ready"),
        pytest.param({"m.py": NN + "torch.std_mean(1)\n"}, "ReadyWithChanges", id="changes"),
        pytest.param({"m.py": NN + "nn.GRU(1, 1)\n"}, "NeedsWork", id="work"),
        pytest.param({"m.py": "import triton\n"}, "Blocked", id="blocked"),
        pytest.param({"m.py": "print 1\n"}, "ReadyWithChanges", id="unread"),
        pytest.param({}, "Ready", id="empty"),
    ],
)
def test_feasibility(tmp_path, files, desired):
    assert analyse_files(tmp_path, files).assessment.feasibility == desired
