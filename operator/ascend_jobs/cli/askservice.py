"""Questions to a running service, through the API server: the answer as it comes, and how fast it came."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.cli.figures import speed
from ascend_jobs.cli.kube import Json, Kube, KubeError, path_of
from ascend_jobs.cli.screen import clean
from ascend_jobs.cli.shortpod import NotNow
from ascend_jobs.cli.target import read_object

_REFUSED = (400, 404, 422)
"""What engines say to a request that they do not take: wrong model, no chat template."""


@dataclass(frozen=True)
class Answer:
    """What came back: text, tokens (streamed pieces), milliseconds to the first, tokens/s after it (None for one)."""

    prompt: str
    model: str
    text: str
    tokens: int
    first_token_milliseconds: float
    tokens_per_second: float | None

    def wire(self) -> Json:
        """Return the JSON form."""
        return {
            "prompt": self.prompt,
            "model": self.model,
            "answer": self.text,
            "tokens": self.tokens,
            "firstTokenMilliseconds": round(self.first_token_milliseconds, 1),
            "tokensPerSecond": None if self.tokens_per_second is None else round(self.tokens_per_second, 1),
        }

    def told(self) -> str:
        """Return how fast it came, a line."""
        many = f"{self.tokens} token{'s' * (self.tokens != 1)}"
        return "   ".join(part for part in (speed(self.first_token_milliseconds, self.tokens_per_second), many) if part)


def ask_service(kube: Kube, args: argparse.Namespace) -> None:
    """Print the answer to each prompt; raise NotNow when the service does not answer."""
    service = _read(kube, args)
    url = service_path(service)
    model = args.model or service.status.served_name or service.served_name
    deadline = monotonic() + args.timeout
    for prompt in args.prompts:
        if not args.json:
            print(f"\n> {clean(prompt)}", flush=True)
        asked = Asked(url, model, prompt, args.max_new_tokens, deadline)
        answer = ask_once(kube, asked, (lambda _: None) if args.json else _print_piece)
        print(json.dumps(answer.wire(), ensure_ascii=False) if args.json else f"\n  {answer.told()}", flush=True)


def _read(kube: Kube, args: argparse.Namespace) -> InferenceService:
    """Return the service; raise NotNow unless a pod of it takes requests."""
    from ascend_jobs.errors import SpecInvalid

    body = read_object(kube, args.target)
    try:
        service = InferenceService.parse(body)
    except SpecInvalid:
        service = InferenceService.without_spec(body)
    status, name = service.status, service.metadata.name
    if not status.url or status.revision is None or not status.ready_replicas:
        raise NotNow(
            f"{name} is {clean(status.phase)}, not Ready: {clean(status.message)}; "
            f"follow it with `ascendctl watch aisvc/{name}`"
        )
    return service


def service_path(service: InferenceService) -> str:
    """Return the path on the API server below which a service that has a url is asked.

    Where API keys are asked for, it is the Service of its version behind the proxy that checks them: the API server
    keeps the Authorization header for itself, and who may use services/proxy in the namespace may ask.
    """
    status, url = service.status, urlsplit(service.status.url or "")
    name = f"{'https:' if url.scheme == 'https' else ''}{service.base}:{url.port}"
    if service.spec.access.api_keys_secret_ref is not None and status.revision is not None:
        name = f"{status.revision.name}:{status.revision.port}"
    return path_of("api/v1", service.metadata.namespace, "services", name, "proxy")


@dataclass(frozen=True)
class Asked:
    """A question: path of the service, model, prompt, tokens of the answer at most, when it is too late (monotonic)."""

    path: str
    model: str
    prompt: str
    max_tokens: int
    deadline: float


def ask_once(kube: Kube, asked: Asked, on_piece: Callable[[str], None]) -> Answer:
    """Ask as a chat, and for a completion where there is no chat template; raise NotNow without an answer."""
    chat = {"messages": [{"role": "user", "content": asked.prompt}]}
    try:
        try:
            return _stream(kube, asked, "v1/chat/completions", chat, on_piece)
        except KubeError as err:
            if err.status not in _REFUSED:
                raise
        return _stream(kube, asked, "v1/completions", {"prompt": asked.prompt}, on_piece)
    except KubeError as err:
        if err.status not in _REFUSED:
            raise
        served = ", ".join(served_models(kube, asked.path))
        raise NotNow(f"{clean(str(err))}{f'; models: {served}' if served else ''}") from err


def served_models(kube: Kube, path: str) -> tuple[str, ...]:
    """Return the model names that a service knows; empty when it does not say."""
    with contextlib.suppress(KubeError):
        entries = kube.get(f"{path}/v1/models").get("data")
        if isinstance(entries, list):
            return tuple(clean(str(entry["id"])) for entry in entries if isinstance(entry, dict) and "id" in entry)
    return ()


def _stream(kube: Kube, asked: Asked, path: str, question: Json, on_piece: Callable[[str], None]) -> Answer:
    body = {**question, "model": asked.model, "max_tokens": asked.max_tokens, "temperature": 0, "stream": True}
    started = monotonic()
    text, moments = "", list[float]()
    silent = max(1.0, asked.deadline - started)
    with closing(kube.post_lines(f"{asked.path}/{path}", body, seconds=silent)) as lines:
        for piece in pieces(lines):
            moments.append(monotonic())
            text += piece
            on_piece(piece)
            if moments[-1] > asked.deadline:
                raise NotNow("the answer did not end in time (--timeout)")
    if not moments:
        raise NotNow("an answer without a token came back")
    later = moments[-1] - moments[0]
    return Answer(
        prompt=asked.prompt,
        model=asked.model,
        text=text,
        tokens=len(moments),
        first_token_milliseconds=(moments[0] - started) * 1000,
        tokens_per_second=(len(moments) - 1) / later if later > 0 else None,
    )


def pieces(lines: Iterator[bytes]) -> Iterator[str]:
    """Yield the text in server-sent events, what the model reasons too; raise NotNow for an error in their place."""
    for line in lines:
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data in (b"", b"[DONE]"):
            continue
        event = _object(data)
        if "error" in event:
            error = event["error"]
            raise NotNow(f"the engine says: {clean(str(error.get('message') if isinstance(error, dict) else error))}")
        choice = _first(event.get("choices"))
        delta = choice.get("delta")
        found = (choice, delta) if isinstance(delta, dict) else (choice,)
        texts = (part.get(key) for part in found for key in ("text", "content", "reasoning_content"))
        yield from [text for text in texts if isinstance(text, str) and text][:1]


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as err:
        raise NotNow("the answer is not one of OpenAI's protocol") from err
    return found if isinstance(found, dict) else {}


def _first(choices: object) -> dict[str, Any]:
    found = choices[0] if isinstance(choices, list) and choices else None
    return found if isinstance(found, dict) else {}


def _print_piece(piece: str) -> None:
    print("\n".join(clean(part) for part in piece.split("\n")), end="", flush=True)
