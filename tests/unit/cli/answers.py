"""A small API server whose answers a test writes down."""

import http.server
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

Body = dict[str, Any]
GROUP = "/apis/ascendjobs.io/v1alpha1/namespaces/team-a"


@dataclass
class Reply:
    """Status and the pieces of a body; each goes out as soon as it is there. None cuts the connection."""

    code: int = 200
    pieces: Iterable[bytes | None] = ()


@dataclass
class Api:
    """Answers by (method, path); a function gets the request's body. All else is 404, a watch ends at once."""

    arguments: list[str]
    answers: dict[tuple[str, str], Body | Reply | Callable[[Body], Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Body]] = field(default_factory=list)

    def objects(self, *bodies: Body) -> None:
        """Let these objects be there."""
        for body in bodies:
            path = f"{GROUP}/{body['kind'].lower()}s/{body['metadata']['name']}"
            self.answers["GET", path.replace("team-a", body["metadata"]["namespace"])] = body

    def answer(self, method: str, path: str, body: Body) -> Reply:
        self.asked.append((method, path, body))
        found = self.answers.get((method, path))
        if callable(found):
            found = found(body)
        if found is None:
            found = {"kind": "Status", "code": 404, "message": f"{path.rsplit('/', 1)[-1]} not found"}
        if isinstance(found, Reply):
            return found
        code = found.get("code", 200) if found.get("kind") == "Status" else 200
        return Reply(code, [json.dumps(found).encode()])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        watched = "watch=true" in url.query
        reply = Reply() if watched else self.api.answer(self.command, unquote(url.path), body)
        self.send_response(reply.code)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in reply.pieces:
            if piece is None:
                self.close_connection = True
                return
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def do_PATCH(self) -> None:
        self._respond()

    def do_DELETE(self) -> None:
        self._respond()

    def log_message(self, *_: object) -> None:
        pass
