"""Fixtures of the tests in the kind cluster; `make e2e` makes it and installs the chart first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.cluster import Namespace, runtime_pod


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A namespace of its own."""
    made = Namespace()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def toy() -> Iterator[Namespace]:
    """A namespace with claim models, which holds the self-test model and its data."""
    made = Namespace()
    made.claim()
    made.apply(runtime_pod("toy", "toy", "/volumes/models/toy"))
    made.wait("pod/toy", lambda pod: pod["status"].get("phase") == "Succeeded")
    yield made
    made.remove()
