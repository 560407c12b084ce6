"""Shell scripts, YAML files and Dockerfiles before and after."""

from __future__ import annotations

import pytest
from ascend_runtime.migrate.convert.launchers import is_launcher, rewrite_launcher


@pytest.mark.parametrize(
    ("before", "want"),
    [
        ("CUDA_VISIBLE_DEVICES=0,1 python t.py\n", "ASCEND_RT_VISIBLE_DEVICES=0,1 python t.py\n"),
        ("export CUDA_VISIBLE_DEVICES=$1\r\n", "export ASCEND_RT_VISIBLE_DEVICES=$1\r\n"),
        ("echo ${CUDA_VISIBLE_DEVICES}\n", "echo ${ASCEND_RT_VISIBLE_DEVICES}\n"),
        ("ENV CUDA_LAUNCH_BLOCKING=1", "ENV ASCEND_LAUNCH_BLOCKING=1"),
        ("export PYTORCH_CUDA_ALLOC_CONF=a:1\n", "export PYTORCH_NPU_ALLOC_CONF=a:1\n"),
        ("python t.py --dist-backend nccl --x\n", "python t.py --dist-backend hccl --x\n"),
        ("python t.py --backend=nccl\n", "python t.py --backend=hccl\n"),
        ("  backend: nccl  # fast\n", "  backend: hccl  # fast\n"),
        ('dist_backend: "nccl"\n', 'dist_backend: "hccl"\n'),
        ("backend: cpu:gloo,cuda:nccl\n", "backend: cpu:gloo,npu:hccl\n"),
        ("device: cuda:0\n", "device: npu:0\n"),
        ("python t.py --device cuda\n", "python t.py --device npu\n"),
    ],
)
def test_changed(before: str, want: str) -> None:
    after = rewrite_launcher("run.sh", before.encode()).after
    assert after == want.encode()
    assert rewrite_launcher("run.sh", after).after is None


@pytest.mark.parametrize(
    "text",
    [
        "# CUDA_VISIBLE_DEVICES=0\n",
        "MY_CUDA_VISIBLE_DEVICES_LIST=1\n",
        "device: 0\n",
        "pip install nccl\n",
        "path: /usr/local/cuda\n",
        "--device cuda/x\n",
    ],
)
def test_unchanged(text: str) -> None:
    assert rewrite_launcher("run.sh", text.encode()).after is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("export NCCL_DEBUG=INFO\n", "NCCL_DEBUG"),
        ("nvidia-smi\n", "nvidia-smi"),
        ("nvidia.com/gpu: 1\n", "nvidia.com/gpu"),
        ("FROM nvidia/cuda:12\n", "FROM nvidia/cuda:12"),
    ],
)
def test_found(text: str, name: str) -> None:
    done = rewrite_launcher("x", text.encode())
    assert done.after is None
    assert [found.subject for found in done.findings] == [name]


def test_bytes_that_are_not_utf_8_stay() -> None:
    assert rewrite_launcher("a.sh", b"# \xff\nCUDA_VISIBLE_DEVICES=\xfe\n").after == (
        b"# \xff\nASCEND_RT_VISIBLE_DEVICES=\xfe\n"
    )


def test_which_files() -> None:
    assert all(map(is_launcher, ("a.sh", "d/b.yaml", "c.yml", "Dockerfile", "Dockerfile.gpu", "x.dockerfile")))
    assert not any(map(is_launcher, ("a.py", "b.txt", "c.json")))
