"""Fixtures: the synthetic server in a process of its own, one for all tests of this folder."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Server:
    def __init__(self, url: str) -> None:
        self.url = url

    def take_log(self) -> dict[int, dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/log") as answer:
            return {entry["number"]: entry for entry in json.load(answer)}


@pytest.fixture(scope="session")
def running_server() -> Iterator[Server]:
    command = [sys.executable, str(Path(__file__).parent / "server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        process.terminate()


@pytest.fixture
def server(running_server: Server) -> Server:
    running_server.take_log()
    return running_server
