"""The API server of a test, and the kubeconfig that leads to it."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from unit.cli.answers import Api, Handler


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """Give the server; `api.arguments` lead a command to it."""
    found = Api(["--kubeconfig", str(tmp_path / "kubeconfig")])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Handler,), {"api": found}))
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()
