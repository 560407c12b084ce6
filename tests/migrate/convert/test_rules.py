"""Every rule, and every construct the upstream converter is known to break, before and after."""

from __future__ import annotations

import ast

import pytest
from ascend_runtime.migrate.convert.context import Project
from ascend_runtime.migrate.convert.rewrite import Converted, rewrite

PROJECT = Project()
T = "import torch\n"
NPU = "import torch_npu\n"
N = NPU + T


def convert(text: str, project: Project = PROJECT, path: str = "a.py") -> Converted:
    return rewrite(path, text.encode(), project)


def after(text: str, project: Project = PROJECT, path: str = "a.py") -> str:
    done = convert(text, project, path)
    return (done.before if done.after is None else done.after).decode()


CHANGED = [
    # calls and attributes
    pytest.param(T + "x.cuda()\n", N + "x.npu()\n", id="cuda-call"),
    pytest.param(T + "x.cuda(0)\n", N + "x.npu(0)\n", id="cuda-call-index"),
    pytest.param(T + "x.cuda(non_blocking=True)\n", N + "x.npu(non_blocking=True)\n", id="cuda-call-keyword"),
    pytest.param(T + "a.half().cuda().eval()\n", N + "a.half().npu().eval()\n", id="cuda-call-chain"),
    pytest.param(T + "(x.cuda if c else x.cpu)()\n", N + "(x.npu if c else x.cpu)()\n", id="cuda-chosen"),
    pytest.param(
        T + "net = torch.nn.Linear(1, 2)\nf = net.cuda\n",
        N + "net = torch.nn.Linear(1, 2)\nf = net.npu\n",
        id="cuda-without-call",
    ),
    pytest.param(
        T + "class Net(torch.nn.Module):\n    pass\nnet = Net()\nf = net.cuda\n",
        N + "class Net(torch.nn.Module):\n    pass\nnet = Net()\nf = net.npu\n",
        id="cuda-of-own-module",
    ),
    pytest.param(T + "f = torch.Tensor.cuda\n", T + "f = torch.Tensor.cuda\n", id="unbound-method-stays"),
    pytest.param(T + "if x.is_cuda: pass\n", N + "if x.is_npu: pass\n", id="is-cuda"),
    # strings
    pytest.param(T + "d = 'cuda'\n", T + "d = 'npu'\n", id="string"),
    pytest.param(T + 'd = "cuda:0"\n', T + 'd = "npu:0"\n', id="string-index"),
    pytest.param(T + 'd = f"cuda:{i}"\n', T + 'd = f"npu:{i}"\n', id="f-string"),
    pytest.param(T + "d = 'cuda:%d' % i\n", T + "d = 'npu:%d' % i\n", id="percent"),
    pytest.param(T + "d = 'cuda:{}'.format(i)\n", T + "d = 'npu:{}'.format(i)\n", id="format"),
    pytest.param(T + "d = r'cuda'\n", T + "d = r'npu'\n", id="raw-string"),
    pytest.param(T + "d = 'cuda' ':0'\n", T + "d = 'npu' ':0'\n", id="implicit-concatenation"),
    pytest.param(T + "if d.type == 'cuda': pass\n", T + "if d.type == 'npu': pass\n", id="comparison"),
    pytest.param(T + "m = {'cuda:0': 'cpu'}\n", T + "m = {'npu:0': 'cpu'}\n", id="device-key"),
    pytest.param(
        T + "m = {'cuda': f, 'cpu': g}\nm['cuda']\n", T + "m = {'npu': f, 'cpu': g}\nm['npu']\n", id="device-table"
    ),
    pytest.param(T + "x.type('torch.cuda.FloatTensor')\n", T + "x.type('torch.npu.FloatTensor')\n", id="tensor-type"),
    pytest.param(T + "getattr(torch, 'cuda')\n", T + "getattr(torch, 'npu')\n", id="getattr-of-torch"),
    # backends
    pytest.param(T + "init('cpu:gloo,cuda:nccl')\n", T + "init('cpu:gloo,npu:hccl')\n", id="composite-backend"),
    pytest.param(T + "init(backend='nccl')\n", T + "init(backend='hccl')\n", id="backend"),
    pytest.param(T + "if b == 'NCCL': pass\n", T + "if b == 'HCCL': pass\n", id="backend-upper"),
    pytest.param(
        "import torch.distributed as dist\ndist.is_nccl_available()\n",
        NPU + "import torch.distributed as dist\ntorch_npu.distributed.is_hccl_available()\n",
        id="nccl-available-of-alias",
    ),
    pytest.param(
        T + "torch.distributed.is_nccl_available()\n",
        N + "torch_npu.distributed.is_hccl_available()\n",
        id="nccl-available",
    ),
    pytest.param(
        "from torch.distributed import is_nccl_available\n",
        NPU + "from torch_npu.distributed import is_hccl_available as is_nccl_available\n",
        id="nccl-available-imported",
    ),
    # devices
    pytest.param(
        T + "d = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n",
        N + "d = torch.device('npu' if torch.npu.is_available() else 'cpu')\n",
        id="device-if-available",
    ),
    pytest.param(T + "torch.device(0)\n", N + "torch.device('npu:0')\n", id="device-number"),
    pytest.param(T + "torch.device('cuda', 1)\n", T + "torch.device('npu', 1)\n", id="device-two-arguments"),
    pytest.param(T + "x.to(0)\n", N + "x.to('npu:0')\n", id="to-number"),
    pytest.param(T + "torch.zeros(2, device=1)\n", N + "torch.zeros(2, device='npu:1')\n", id="factory-number"),
    pytest.param(T + "x.to(device=d)\n", T + "x.to(device=d)\n", id="to-keyword"),
    pytest.param(T + "x.to(device)\n", T + "x.to(device)\n", id="to-variable"),
    pytest.param(T + "x.to(joint)\n", T + "x.to(joint)\n", id="to-name-with-int-in-it"),
    pytest.param(T + "x.to(*args)\n", T + "x.to(*args)\n", id="to-starred"),
    pytest.param(
        T + "x.to(non_blocking=True, device='cuda')\n",
        T + "x.to(non_blocking=True, device='npu')\n",
        id="to-keywords-in-any-order",
    ),
    # names under torch.cuda
    pytest.param(
        "import torch as T\nT.cuda.synchronize()\n", NPU + "import torch as T\nT.npu.synchronize()\n", id="alias"
    ),
    pytest.param("from torch.cuda import amp, Event\n", NPU + "from torch_npu.npu import amp, Event\n", id="from-cuda"),
    pytest.param(
        "from torch.cuda.amp import autocast as ac\nac()\n",
        NPU + "from torch_npu.npu.amp import autocast as ac\nac()\n",
        id="from-amp-as",
    ),
    pytest.param(
        "from torch import cuda, nn\ncuda.synchronize()\n",
        NPU + "from torch_npu import npu as cuda; from torch import nn\ncuda.synchronize()\n",
        id="from-torch-import-cuda",
    ),
    pytest.param("import torch.cuda.amp as amp\n", NPU + "import torch_npu.npu.amp as amp\n", id="import-submodule-as"),
    pytest.param("import torch.cuda\n", NPU + "import torch\n", id="import-submodule"),
    pytest.param(T + "torch.cuda.FloatTensor(2)\n", N + "torch.npu.FloatTensor(2)\n", id="tensor-class"),
    pytest.param(T + "f = torch.cuda.synchronize\nf()\n", N + "f = torch.npu.synchronize\nf()\n", id="function-value"),
    pytest.param(
        T + "getattr(torch.cuda, 'synchronize')\n", N + "getattr(torch.npu, 'synchronize')\n", id="module-value"
    ),
    pytest.param(T + "torch.cuda.CUDAGraph()\n", N + "torch.npu.NPUGraph()\n", id="renamed-class"),
    # AMP, seeds, profiler, loader, environment
    pytest.param(T + "torch.cuda.amp.GradScaler()\n", N + "torch.npu.amp.GradScaler()\n", id="amp-scaler"),
    pytest.param(T + "torch.amp.GradScaler('cuda')\n", N + "torch.amp.GradScaler('npu')\n", id="amp-device"),
    pytest.param(T + "torch.autocast('cuda')\n", N + "torch.autocast('npu')\n", id="autocast"),
    pytest.param(T + "torch.cuda.manual_seed_all(1)\n", N + "torch.npu.manual_seed_all(1)\n", id="seed"),
    pytest.param(T + "torch.Generator(device='cuda')\n", T + "torch.Generator(device='npu')\n", id="generator"),
    pytest.param(
        T + "torch.utils.data.DataLoader(d, pin_memory_device='cuda')\n",
        N + "torch.utils.data.DataLoader(d, pin_memory_device='npu')\n",
        id="loader-device",
    ),
    pytest.param(
        T + "torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA], experimental_config=c)\n",
        N + "torch_npu.profiler.profile(activities=[torch_npu.profiler.ProfilerActivity.NPU])\n",
        id="profiler",
    ),
    pytest.param(
        T + "torch.profiler.profile(experimental_config=c, with_stack=True)\n",
        N + "torch_npu.profiler.profile(with_stack=True)\n",
        id="profiler-first-argument",
    ),
    pytest.param(
        "from torch.profiler import profile, record_function\n",
        NPU + "from torch_npu.profiler import profile; from torch.profiler import record_function\n",
        id="profiler-imports",
    ),
    pytest.param(
        "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '0'\n",
        "import os\nos.environ['ASCEND_RT_VISIBLE_DEVICES'] = '0'\n",
        id="visible-devices",
    ),
    # where torch_npu is imported
    pytest.param(
        "try:\n    import torch\nexcept ImportError:\n    pass\nx.cuda()\n",
        "try:\n    import torch_npu\n    import torch\nexcept ImportError:\n    pass\nx.npu()\n",
        id="import-in-try",
    ),
    pytest.param(
        "import os; import torch\nx.cuda()\n",
        "import os; import torch_npu; import torch\nx.npu()\n",
        id="import-on-one-line",
    ),
    pytest.param(NPU + "import torch\nx.cuda()\n", N + "x.npu()\n", id="imported-already"),
    pytest.param(
        "def f():\n    import torch\n    x.cuda()\ndef g():\n    import torch\n    y.cuda()\n",
        "def f():\n    import torch_npu\n    import torch\n    x.npu()\n"
        "def g():\n    import torch_npu\n    import torch\n    y.npu()\n",
        id="imports-in-functions",
    ),
    # wherever a name can stand
    pytest.param(
        T + "@torch.cuda.amp.custom_fwd\ndef f(): pass\n",
        N + "@torch.npu.amp.custom_fwd\ndef f(): pass\n",
        id="decorator",
    ),
    pytest.param(
        T + "@torch.cuda.amp.autocast()\ndef f(): pass\n",
        N + "@torch.npu.amp.autocast()\ndef f(): pass\n",
        id="decorator-call",
    ),
    pytest.param(
        T + "def f(x=torch.cuda.is_available()): pass\n", N + "def f(x=torch.npu.is_available()): pass\n", id="default"
    ),
    pytest.param(
        T + "def f(x: torch.cuda.Event) -> torch.cuda.Stream: pass\n",
        N + "def f(x: torch.npu.Event) -> torch.npu.Stream: pass\n",
        id="annotation",
    ),
    pytest.param(
        T + "f = lambda: [torch.cuda.seed() for _ in x if torch.cuda.is_available()]\n",
        N + "f = lambda: [torch.npu.seed() for _ in x if torch.npu.is_available()]\n",
        id="lambda",
    ),
    pytest.param(
        T + "s = f'{torch.cuda.device_count()} {x}'\n",
        N + "s = f'{torch.npu.device_count()} {x}'\n",
        id="inside-f-string",
    ),
    pytest.param(T + "class E(torch.cuda.Event): pass\n", N + "class E(torch.npu.Event): pass\n", id="base"),
    pytest.param(
        T + "match d:\n    case 'cuda':\n        pass\n", T + "match d:\n    case 'npu':\n        pass\n", id="match"
    ),
    pytest.param(
        T + "class A:\n    def f(self):\n        return torch.cuda.current_device()\n",
        N + "class A:\n    def f(self):\n        return torch.npu.current_device()\n",
        id="method",
    ),
    # a class with its own cuda()
    pytest.param(
        T + "class Batch:\n    def cuda(self):\n        return self\n",
        N + "class Batch:\n    def cuda(self):\n        return self\n\n    npu = cuda\n",
        id="own-method",
    ),
]

UNCHANGED = [
    pytest.param(T + "obj.CUDA = 1\n", id="any-CUDA-attribute"),
    pytest.param(T + "if hasattr(self.model.module, 'x'): pass\n", id="hasattr-of-module"),
    pytest.param(T + "b = b'cuda'\n", id="bytes"),
    pytest.param(T + "print('use cuda please')\n", id="sentence"),
    pytest.param(T + "def f():\n    'cuda'\n", id="docstring"),
    pytest.param(T + "if args.cuda: pass\n", id="an-option-called-cuda"),
    pytest.param(T + "torch.backends.cudnn.benchmark = True\nprint(torch.version.cuda)\n", id="backends-and-version"),
    pytest.param("from numba import cuda\ncuda.synchronize()\nf = cuda.jit\n", id="numba"),
    pytest.param("import onnxruntime as ort\nort.bind(device_type='cuda')\n", id="other-library"),
    pytest.param("def f(torch):\n    torch.cuda.synchronize()\n", id="parameter-called-torch"),
    pytest.param(T + "x = getattr(args, 'cuda')\n", id="attribute-of-options"),
    pytest.param(T + "f'{d}:cuda'\n", id="f-string-elsewhere"),
    pytest.param(T + "x = ('cuda', 'npu')\nm = {'cuda': 1, 'npu': 2, 'cpu': 3}\n", id="npu-known-already"),
]

FOUND = [
    pytest.param(T + "torch.cuda.nvtx.range_push('x')\n", "torch.cuda.nvtx", id="nvtx"),
    pytest.param(T + "torch.cuda.comm.gather(x)\n", "torch.cuda.comm", id="comm"),
    pytest.param(T + "torch.cuda.memory_usage()\n", "torch.cuda.memory_usage", id="memory-usage"),
    pytest.param(T + "torch.cuda.made_up()\n", "torch.cuda.made_up", id="made-up"),
    pytest.param(T + "m2 = torch.nn.DataParallel(net)\n", "torch.nn.DataParallel", id="data-parallel"),
    pytest.param("import amp_C\n", "amp_C", id="amp-c-import-stays"),
    pytest.param("from apex.optimizers import FusedAdam\n", "apex.optimizers", id="fused-adam"),
    pytest.param("import os\nos.environ['NCCL_DEBUG'] = 'INFO'\n", "NCCL_DEBUG", id="nccl-setting"),
    pytest.param(T + "x = cfg['cuda']\n", "cuda", id="key-of-the-project"),
    pytest.param(T + "d = 'cu' 'da'\n", "cuda", id="string-in-pieces"),
    pytest.param(T + "torch.load(path)\n", "torch.load", id="load-without-map-location"),
]


@pytest.mark.parametrize(("before", "want"), CHANGED)
def test_changed(before: str, want: str) -> None:
    text = after(before)
    assert text == want
    ast.parse(text)
    assert after(text) == text


@pytest.mark.parametrize("text", UNCHANGED)
def test_unchanged(text: str) -> None:
    assert convert(text).after is None


@pytest.mark.parametrize(("text", "name"), FOUND)
def test_found_and_left_alone(text: str, name: str) -> None:
    done = convert(text)
    assert done.after is None
    finding = next(found for found in done.findings if found.subject == name)
    assert finding.remedy
    assert finding.message
    assert 1 <= finding.line <= text.count("\n")


def test_own_is_cuda_stays() -> None:
    text = T + "if x.is_cuda: pass\n"
    assert after(text, Project(frozenset({"is_cuda"}))) == text


@pytest.mark.parametrize(("version", "count"), [((2, 1), 1), ((2, 7), 0)])
def test_number_in_a_variable(version: tuple[int, int], count: int) -> None:
    done = convert(T + "x.to(local_rank)\n", Project(torch_version=version))
    assert done.after is None
    assert len(done.findings) == count


def test_setup_file_keeps_its_strings() -> None:
    text = "extras = ['cuda']\n"
    assert after(text, path="pkg/setup.py") == text


def test_rule_ids_and_lines() -> None:
    done = convert(T + "\n\ntorch.cuda.manual_seed(0)\nwith torch.cuda.amp.autocast():\n    pass\n")
    assert [(edit.rule, edit.line) for edit in done.edits] == [("import-torch-npu", 1), ("seed", 4), ("amp", 5)]
