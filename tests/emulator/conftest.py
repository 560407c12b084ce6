"""Fixtures: short paths for sockets (108 bytes at most), a test kubelet, a test API server, a running emulator."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from emulator.builders import make_node, make_settings
from emulator.fake_api import FakeApi
from emulator.fake_kubelet import FakeKubelet


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="npu"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def settings(folder: Path):
    return make_settings(folder)


@pytest.fixture
async def kubelet(folder: Path) -> AsyncIterator[FakeKubelet]:
    plugins = folder / "plugins"
    plugins.mkdir()
    found = FakeKubelet(plugins)
    await found.start()
    yield found
    await found.stop()
    await asyncio.sleep(0)


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    found = FakeApi()
    found.url = await found.start()
    found.put("nodes", make_node())
    yield found
    await found.stop()
