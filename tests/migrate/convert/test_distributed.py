"""DistributedDataParallel from single-card scripts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ascend_runtime.migrate.convert.folder import Outcome
from ascend_runtime.migrate.convert.run import Mode, Options, run

SCRIPT = '''\
"""Train."""
from __future__ import annotations
import torch
from torch import nn
from torch.utils.data import DataLoader


def main():
    ds = make()
    model = nn.Linear(2, 1)
    model = model.cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader({loader})
    for epoch in range(3):
        for x, y in loader:
            loss = model(x.cuda()).sum()
    torch.save(model.state_dict(), "m.pt")
    print(model.in_features)


main()
'''


def distribute(tmp_path: Path, text: str, model: str = "model") -> tuple[str, Outcome]:
    root = tmp_path / "p"
    root.mkdir()
    (root / "train.py").write_text(text)
    outcome = run(root, tmp_path / "o", Options(Mode.CONVERT, main="train.py", model=model))
    after = (tmp_path / "o/p_msft_multi/train.py").read_text()
    ast.parse(after)
    return after, outcome


def test_whole_script(tmp_path: Path) -> None:
    after, outcome = distribute(tmp_path, SCRIPT.replace("{loader}", "ds, batch_size=2, shuffle=True"))
    assert 'init_process_group("hccl")' in after
    assert after.index("from __future__") < after.index("import torch_npu") < after.index("init_process_group")
    wrap = after.index("model = torch.nn.parallel.DistributedDataParallel(model.npu(_ascend_local_rank)")
    assert after.index("model = model.npu()") < wrap < after.index("optimizer =")
    assert "shuffle=(True) and not torch.distributed.is_initialized()" in after
    assert "sampler=torch.utils.data.DistributedSampler(ds) if torch.distributed.is_initialized() else None)" in after
    assert "            loader.sampler.set_epoch(epoch)\n        for x, y in loader:" in after
    assert 'torch.save(getattr(model, "module", model).state_dict(), "m.pt")' in after
    assert 'getattr(model, "module", model).in_features' in after
    assert not outcome.skipped
    script = (tmp_path / "o/p_msft_multi/run_distributed_npu.sh").read_text()
    assert "torchrun" in script and "train.py" in script


@pytest.mark.parametrize(
    ("loader", "want"),
    [
        pytest.param(
            "ds, 2, True, num_workers=1",
            "ds, 2, (True) and not torch.distributed.is_initialized(), num_workers=1, sampler=",
            id="positional-shuffle",
        ),
        pytest.param("ds, shuffle=True,", "_initialized(), sampler=", id="last-comma"),
        pytest.param("ds, 2, False", "loader = DataLoader(ds, 2, False)\n", id="evaluation-stays"),
        pytest.param("ds, sampler=s", "loader = DataLoader(ds, sampler=s)\n", id="own-sampler-stays"),
        pytest.param("*args, **kwargs", "loader = DataLoader(*args, **kwargs)\n", id="starred-stays"),
        pytest.param("make(), shuffle=True", "loader = DataLoader(make(), shuffle=True)\n", id="dataset-made-in-place"),
    ],
)  # fmt: skip
def test_loaders(tmp_path: Path, loader: str, want: str) -> None:
    after, outcome = distribute(tmp_path, SCRIPT.replace("{loader}", loader))
    assert want in after
    if want.startswith("loader"):
        assert [found.subject for found in outcome.findings if found.rule == "distributed-loader"] == ["DataLoader"]


def test_data_parallel_is_not_lost(tmp_path: Path) -> None:
    text = (
        "import torch\nfrom torch import nn\nmodel = Net()\nmodel = nn.DataParallel(model.cuda())\nmodel.module.x()\n"
    )
    after, _ = distribute(tmp_path, text)
    want = "model = torch.nn.parallel.DistributedDataParallel((model.npu()).npu(_ascend_local_rank), "
    assert want in after
    assert "else nn.DataParallel(model.npu())\nmodel.module.x()\n" in after


def test_other_data_parallel_stays(tmp_path: Path) -> None:
    after, _ = distribute(tmp_path, "import torch\nmodel = Net()\nm2 = torch.nn.DataParallel(Net())\n")
    assert "m2 = torch.nn.DataParallel(Net())\n" in after


def test_attribute_as_model(tmp_path: Path) -> None:
    text = "import torch\nclass T:\n    def __init__(self):\n        self.net = Net()\n"
    after, _ = distribute(tmp_path, text, "self.net")
    assert "            self.net = torch.nn.parallel.DistributedDataParallel(self.net.npu(" in after


def test_model_not_found_is_a_finding(tmp_path: Path) -> None:
    after, outcome = distribute(tmp_path, "import torch\nx = 1\n")
    assert after == "import torch\nx = 1\n"
    assert [found.rule for found in outcome.findings] == ["distributed-model"]


def test_twice_changes_nothing(tmp_path: Path) -> None:
    first, _ = distribute(tmp_path, SCRIPT.replace("{loader}", "ds, shuffle=True"))
    (tmp_path / "again").mkdir()
    second, _ = distribute(tmp_path / "again", first)
    assert second == first
