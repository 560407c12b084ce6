"""Helm, as `make test` builds it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).resolve().parents[2] / "charts" / "ascend-jobs"
Render = Callable[..., str]


@pytest.fixture(scope="session")
def helm() -> str:
    """Return the path of helm; `python3 hack/cluster assets --with helm` builds it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ascend-jobs" / "bin"
    folders = os.pathsep.join([os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ.get("PATH", ""), str(cache)])
    found = shutil.which("helm", path=folders)
    assert found is not None, "no helm: python3 hack/cluster assets --with helm"
    return found


@pytest.fixture(scope="session")
def render(helm: str) -> Render:
    """Give a function from arguments of `helm template` to what it prints; raises with Helm's words when it refuses."""

    def call(*arguments: str, release: str = "ascend-jobs", namespace: str = "ascend-jobs-system") -> str:
        command = [helm, "template", release, str(CHART), "--namespace", namespace, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(done.stderr)
        return done.stdout

    return call


def objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of rendered YAML."""
    return [document for document in yaml.safe_load_all(text) if document]
