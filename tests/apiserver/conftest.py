"""One control plane for the session, a fresh namespace for each test."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from apiserver.plane import ControlPlane
from apiserver.world import World


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture
async def world(plane: ControlPlane) -> AsyncIterator[World]:
    world = World(plane)
    await world.set_up()
    yield world
    await world.close()


@pytest.fixture
async def namespace(world: World, request: pytest.FixtureRequest) -> str:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    name = name if len(name) <= 50 else f"{name[:41]}-{zlib.crc32(name.encode()):08x}"
    name = name.strip("-")
    await world.make_namespace(name)
    return name


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()
