"""`ascendctl ask aisvc/NAME`: where it asks, what it shows as it comes, how fast that was, and what is no answer."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.cli.askservice import pieces, service_path
from ascend_jobs.cli.main import main
from ascend_jobs.cli.shortpod import NotNow
from unit.cli.answers import Api, Body, Reply

PROXY = "/api/v1/namespaces/team-a/services/faq-aisvc:8000/proxy/v1"
REVISION = {
    "number": 3,
    "name": "faq-aisvc-3",
    "inputSha256": "a",
    "engine": "cpu",
    "port": 8000,
    "createdTime": "2026-01-01T12:00:00Z",
}
READY = {
    "phase": "Ready",
    "url": "http://faq-aisvc.team-a.svc:8000",
    "servedName": "faq",
    "revision": REVISION,
    "readyReplicas": 1,
}


def service(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ascendjobs.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {
            "name": "faq",
            "namespace": "team-a",
            "uid": "u",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T12:00:00Z",
        },
        "spec": {"model": {"uri": "pvc://models/faq"}, **spec},
        "status": READY if status is None else status,
    }


def event(**choice: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"


def streamed(*texts: str, pause: float = 0.0) -> Iterator[bytes]:
    """Yield a chat as vLLM streams it: role first, pieces, the end."""
    yield event(delta={"role": "assistant", "content": ""})
    for text in texts:
        time.sleep(pause)
        yield event(delta={"content": text})
    yield b"data: [DONE]\n\n"


def ask(api: Api, *words: str) -> int:
    return main(["ask", "aisvc/faq", *api.arguments, *words])


def test_shows_the_answer_as_it_comes_and_how_fast(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(service())
    api.answers["POST", f"{PROXY}/chat/completions"] = lambda _: Reply(
        200, streamed("A pro", "gram", "\nthat \x1b[2Jwaits.", pause=0.05)
    )
    assert ask(api, "What is a daemon?", "--max-new-tokens", "9") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == ["> What is a daemon?", "A program", "that  [2Jwaits."]
    assert lines[4].startswith("  first token ")
    assert lines[4].endswith("3 tokens")
    _, _, asked = api.asked[-1]
    assert asked["messages"] == [{"role": "user", "content": "What is a daemon?"}]
    assert (asked["model"], asked["max_tokens"], asked["stream"], asked["temperature"]) == ("faq", 9, True, 0)


def test_time_and_speed_are_those_of_the_stream(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(service())
    api.answers["POST", f"{PROXY}/chat/completions"] = lambda _: Reply(200, streamed(*"abcdefghijk", pause=0.02))
    assert ask(api, "q", "--json", "--model", "faq-base") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["prompt"], answer["model"], answer["answer"], answer["tokens"]) == (
        "q",
        "faq-base",
        "abcdefghijk",
        11,
    )
    assert 20 <= answer["firstTokenMilliseconds"] < 500
    assert 10 < answer["tokensPerSecond"] < 90
    assert api.asked[-1][2]["model"] == "faq-base"


def test_a_model_without_a_chat_template_completes_the_text(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(service())
    api.answers["POST", f"{PROXY}/chat/completions"] = Reply(400, [b'{"error": {"message": "no chat template"}}'])
    api.answers["POST", f"{PROXY}/completions"] = Reply(200, [event(text="4"), event(text="2")])
    assert ask(api, "6*7=", "--json") == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "42"
    assert api.asked[-1][2]["prompt"] == "6*7="


def test_an_unknown_model_is_answered_with_those_that_are_served(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = Reply(404, [b'{"object": "error", "message": "The model `faqs` does not exist."}'])
    api.objects(service())
    api.answers |= {("POST", f"{PROXY}/{path}"): unknown for path in ("chat/completions", "completions")}
    api.answers["GET", f"{PROXY}/models"] = {"object": "list", "data": [{"id": "faq"}, {"id": "faq-base"}]}
    assert ask(api, "q", "--model", "faqs") == 1
    assert "The model `faqs` does not exist.; models: faq, faq-base" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        pytest.param(
            service({"phase": "Starting", "message": "loads the model"}), 1, "Starting, not Ready", id="starts"
        ),
        pytest.param(service({**READY, "phase": "ScaledToZero", "readyReplicas": 0}), 1, "not Ready", id="zero"),
        pytest.param(
            {**service(), "metadata": {**service()["metadata"], "name": "x"}}, 3, "aisvc/faq not found", id="no"
        ),
        pytest.param(service(), 4, "no endpoints available", id="no-endpoints"),
    ],
)
def test_who_cannot_be_asked(api: Api, capsys: pytest.CaptureFixture[str], body: Body, code: int, words: str) -> None:
    refusal = {"kind": "Status", "code": 503, "message": 'no endpoints available for service "faq-aisvc"'}
    api.objects(body)
    api.answers["POST", f"{PROXY}/chat/completions"] = refusal
    assert ask(api, "q") == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pieces", "code", "words"),
    [
        pytest.param(
            [b'data: {"error": {"message": "out of memory"}}\n\n'], 1, "the engine says: out of memory", id="error"
        ),
        pytest.param([event(delta={"role": "assistant"}), b"data: [DONE]\n\n"], 1, "without a token", id="empty"),
        pytest.param([event(delta={"content": "A"}), b"data: nonsense\n\n"], 1, "OpenAI's protocol", id="nonsense"),
        pytest.param([event(delta={"content": "A"}), None], 4, "cannot talk to the cluster", id="cut"),
        pytest.param([b'{"choices": [{"message": {"content": "whole"}}]}'], 1, "without a token", id="no-stream"),
    ],
)
def test_what_is_no_answer(
    api: Api, capsys: pytest.CaptureFixture[str], pieces: list[bytes | None], code: int, words: str
) -> None:
    api.objects(service())
    api.answers["POST", f"{PROXY}/chat/completions"] = Reply(200, pieces)
    assert ask(api, "q") == code
    assert words in capsys.readouterr().err


def test_a_late_answer_ends(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.objects(service())
    api.answers["POST", f"{PROXY}/chat/completions"] = lambda _: Reply(200, streamed(*"abcdef", pause=0.4))
    assert ask(api, "q", "--timeout", "1") == 1
    assert "--timeout" in capsys.readouterr().err


def path_with(access: Body, url: str) -> str:
    return service_path(InferenceService.parse(service({**READY, "url": url}, access=access))).rsplit("/", 2)[-2]


def test_where_it_asks() -> None:
    keys = {"apiKeysSecretRef": {"name": "keys"}}
    assert path_with({}, "http://faq-aisvc.team-a.svc:1025") == "faq-aisvc%3A1025"
    assert path_with({"tlsSecretRef": {"name": "tls"}}, "https://faq-aisvc.team-a.svc:443") == "https%3Afaq-aisvc%3A443"
    assert path_with(keys, "https://faq-aisvc.team-a.svc:443") == "faq-aisvc-3%3A8000"


@pytest.mark.parametrize(
    "words", [["aisvc/faq", "--image", "x"], ["ftj/faq", "--model", "x"]], ids=["image-of-a-service", "model-of-a-job"]
)
def test_options_of_the_other_kind(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", *words, "q"]) == 2
    assert words[1] in capsys.readouterr().err


def test_reasoning_is_text() -> None:
    lines = [event(delta={"reasoning_content": "Hm. "}).strip(), event(delta={"content": "42"}).strip(), b": comment"]
    assert "".join(pieces(iter(lines))) == "Hm. 42"


def test_an_error_of_another_form() -> None:
    with pytest.raises(NotNow, match="the engine says: overloaded"):
        list(pieces(iter([b'data: {"error": "overloaded"}'])))
