"""The user's cluster: kubeconfig through the `kubernetes` package, JSON in and out.

Everything that can go wrong is a KubeError with a sentence for people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

Json = dict[str, Any]
Response = Any
"""An open urllib3 response."""

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_MEDIA_TYPES = {"PATCH": "application/merge-patch+json"}
_WATCH_SECONDS = 300
"""How long one watch request lasts; then it is repeated from where it was."""


class KubeError(Exception):
    """The cluster cannot be reached or refused; `status` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        """Take a sentence and the HTTP status."""
        super().__init__(message)
        self.status = status


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options by which the cluster and the namespace are chosen, named as kubectl names them."""
    parser.add_argument("-n", "--namespace", help="namespace; that of the context when absent")
    parser.add_argument("--context", help="context of the kubeconfig; the current one when absent")
    parser.add_argument("--kubeconfig", help="path of the kubeconfig; $KUBECONFIG or ~/.kube/config when absent")


def path_of(prefix: str, namespace: str, plural: str, *rest: str) -> str:
    """Return the path of a namespaced resource, such as /api/v1/namespaces/a/pods/b/log."""
    parts = [prefix, "namespaces", namespace, plural, *rest]
    return "/" + "/".join(quote(part, safe="/") for part in parts)


@dataclass(frozen=True)
class Kube:
    """A connection to one cluster, and the namespace that the user means."""

    client: Any
    namespace: str

    @classmethod
    def connect(cls, args: argparse.Namespace) -> Self:
        """Read the kubeconfig; raise KubeError when there is none that works."""
        import urllib3
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration

        settings = Configuration()
        try:
            config.load_kube_config(config_file=args.kubeconfig, context=args.context, client_configuration=settings)
        except (config.ConfigException, OSError) as err:
            raise KubeError(f"no usable kubeconfig: {err}") from err
        settings.retries = False  # who asks repeats what is worth it; the library would write to the terminal
        if not settings.verify_ssl:  # the kubeconfig says insecure-skip-tls-verify; kubectl is silent about it too
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return cls(ApiClient(settings), args.namespace or _context_namespace(args) or "default")

    def get(self, path: str) -> Json:
        """Return the object at a path."""
        return self._json("GET", path)

    def create(self, path: str, body: Json) -> Json:
        """POST an object and return what became of it."""
        return self._json("POST", path, body=body)

    def patch(self, path: str, body: Json) -> Json:
        """Merge-patch the object at a path and return what became of it."""
        return self._json("PATCH", path, body=body)

    def delete(self, path: str, *, grace_seconds: int = 1) -> None:
        """Delete the object at a path; no error when it is gone."""
        try:
            self._json("DELETE", path, body={"gracePeriodSeconds": grace_seconds})
        except KubeError as err:
            if err.status != 404:
                raise

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return a body that is not JSON, such as a log."""
        return str(self._open("GET", path, query).read(), "utf-8", "replace")

    def post_lines(self, path: str, body: Json, *, seconds: float) -> Generator[bytes]:
        """POST to what runs in the cluster; yield the lines of the answer as they come, without empty ones.

        `seconds` is how long it may be silent.
        """
        response = self._open("POST", path, body=body, read_seconds=seconds)
        try:
            with _kube_errors(self.client.configuration.host):
                yield from _lines(response)
        finally:
            response.close()

    def watch(self, path: str, name: str, version: str, *, seconds: int = _WATCH_SECONDS) -> Iterator[tuple[str, Json]]:
        """Follow one object from a resourceVersion on: (type, object) of each event, until the server ends the request.

        `path` is that of the collection. Type is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR (object: a Status).
        """
        seconds = min(seconds, _WATCH_SECONDS)
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = self._open("GET", path, query, read_seconds=seconds + 30)
        with _kube_errors(self.client.configuration.host):
            for line in _lines(response):
                event = json.loads(line)
                yield event["type"], event["object"]

    def _json(self, method: str, path: str, *, body: Json | None = None) -> Json:
        with _kube_errors(self.client.configuration.host):
            found = json.loads(self._open(method, path, body=body).read())
        return found if isinstance(found, dict) else {}

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Json | None = None,
        read_seconds: float = _READ_SECONDS,
    ) -> Response:
        """Send a request and return the open response; raise KubeError for an answer that is no success."""
        request = self.client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "*/*", "Content-Type": _MEDIA_TYPES.get(method, "application/json")},
            body=body,
            auth_settings=["BearerToken"],
        )
        with _kube_errors(self.client.configuration.host):
            response = self.client.call_api(*request, _request_timeout=(_CONNECT_SECONDS, read_seconds)).response
            if response.status >= 400:
                raise KubeError(_refusal(response.read()), response.status)
        return response


@contextmanager
def _kube_errors(host: str) -> Iterator[None]:
    """Turn the errors of the libraries below into KubeError."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

    try:
        yield
    except (ConnectTimeoutError, NewConnectionError) as err:
        raise KubeError(f"cannot reach the cluster at {host}: {err}") from err
    except (ApiException, HTTPError, OSError, ValueError) as err:
        raise KubeError(f"cannot talk to the cluster at {host}: {err}") from err


def _lines(response: Response) -> Iterator[bytes]:
    """Return the lines of a streamed body as they come."""
    rest = b""
    for chunk in response.stream(amt=None, decode_content=True):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())


def _refusal(body: bytes) -> str:
    """Return the server's own sentence: that of the API server, or of a program that speaks OpenAI's protocol."""
    try:
        found = json.loads(body)
        return str(found["error"]["message"] if isinstance(found.get("error"), dict) else found["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.decode(errors="replace")[:500] or "no reason given"


def _context_namespace(args: argparse.Namespace) -> str | None:
    """Return the namespace of the context, None when it names none."""
    from kubernetes import config

    try:
        contexts, current = config.list_kube_config_contexts(config_file=args.kubeconfig)
    except config.ConfigException:
        return None
    chosen = next((c for c in contexts if c["name"] == args.context), current)
    return chosen["context"].get("namespace") if chosen else None
