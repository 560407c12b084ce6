"""Fixtures: the toy model, made once, and a folder with a copy of it for each test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ascend_runtime.toy import write_toy

    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder)
    return folder


@pytest.fixture
def home(toy: Path, tmp_path: Path) -> Path:
    """A folder with the toy model and its data, for one test to change."""
    shutil.copytree(toy, tmp_path, dirs_exist_ok=True)
    return tmp_path
