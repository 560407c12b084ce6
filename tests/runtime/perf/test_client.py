"""The client against the synthetic server: times, counts, and every way in which a server can fail."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from ascend_runtime.evaluate.client import Prompt, RequestRecord, Target, complete, open_session
from runtime.perf.conftest import Server

CHAT = Prompt(messages=({"role": "user", "content": "five words in this question"},))
TEXT = Prompt(text="three words here")


async def ask(server: Server, model: str, prompt: Prompt = CHAT, **options: object) -> RequestRecord:
    async with open_session() as session:
        return await complete(session, Target(server.url, model), prompt, **{"max_tokens": 50, **options})


@pytest.mark.parametrize("prompt", [CHAT, TEXT], ids=["chat", "completions"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_whole_answers(server: Server, prompt: Prompt, stream: bool) -> None:
    record = await ask(server, "timed?first=0.02&gap=0.005&tokens=6", prompt, stream=stream)
    assert record.ok and not record.error and record.counted
    assert record.text.split()[1:] == ["word"] * 5
    assert record.completion_tokens == 6
    assert record.prompt_tokens > 2
    assert len(record.token_times) == (6 if stream else 1)
    assert record.sent < record.token_times[0] <= record.token_times[-1] <= record.done


async def test_times_are_those_of_the_server(server: Server) -> None:
    record = await ask(server, "timed?first=0.1&gap=0.02&tokens=20")
    (entry,) = server.take_log().values()
    late = [seen - sent for seen, sent in zip(record.token_times, entry["sent"], strict=True)]
    assert min(late) > -0.001
    assert sorted(late)[len(late) // 2] < 0.002
    assert entry["received"] - record.sent == pytest.approx(0, abs=0.005)


async def test_a_blocked_client_still_knows_when_tokens_came(server: Server) -> None:
    """The loop stands still while a token arrives: its time is that of the kernel, not of the loop."""
    model = "timed?first=0.1&gap=0.1&tokens=3"
    async with open_session() as session:
        asking = asyncio.create_task(complete(session, Target(server.url, model), CHAT, max_tokens=9))
        await asyncio.sleep(0.12)
        time.sleep(0.14)  # noqa: ASYNC251 - a blocked loop is what is tested
        record = await asking
    (entry,) = server.take_log().values()
    late = [seen - sent for seen, sent in zip(record.token_times, entry["sent"], strict=True)]
    assert max(late) < 0.02


async def test_several_tokens_in_a_chunk(server: Server) -> None:
    record = await ask(server, "timed?first=0.01&gap=0.005&tokens=10&chunk=4")
    assert (record.completion_tokens, len(record.token_times)) == (10, 3)


@pytest.mark.parametrize("prompt", [CHAT, TEXT], ids=["chat", "completions"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_log_probabilities(server: Server, prompt: Prompt, stream: bool) -> None:
    record = await ask(server, "timed?first=0.01&gap=0.001&tokens=2", prompt, stream=stream, logprobs=2)
    assert record.top_logprobs == ({"A": -0.25, "B": -1.5},) * 2


async def test_extras_of_mindie(server: Server) -> None:
    record = await ask(server, "timed?first=0.01&gap=0.001&tokens=3&extras=1")
    assert record.batch_sizes == (1, 1, 1)
    assert record.queue_waits[1] == 11


FAILURES = [
    pytest.param("fail=error", "HTTP 503: no capacity left", id="error-status"),
    pytest.param("fail=drop", "closed the connection before it answered, twice", id="dropped-twice"),
    pytest.param("fail=cut", "the connection broke after", id="cut-in-the-middle"),
    pytest.param("fail=broken", "the server broke off: out of memory", id="error-in-the-stream"),
    pytest.param("fail=garbage", "no JSON: {no json", id="no-json"),
    pytest.param("fail=endless", "ended without [DONE] and without a finish_reason", id="no-end"),
    pytest.param("fail=plain", "did not stream: it answered with application/json", id="no-stream"),
    pytest.param("fail=silent", "no whole answer within 0.3 s", id="timeout"),
]


@pytest.mark.parametrize(("fail", "words"), FAILURES)
async def test_failures_are_records_with_words(server: Server, fail: str, words: str) -> None:
    record = await ask(server, f"timed?first=0.01&gap=0.005&tokens=8&{fail}", timeout=0.3)
    assert not record.ok
    assert words in record.error
    assert record.done > record.sent


async def test_a_cut_stream_keeps_what_came(server: Server) -> None:
    record = await ask(server, "timed?first=0.01&gap=0.005&tokens=8&fail=cut")
    assert len(record.token_times) == 4


async def test_one_drop_is_tried_again_and_counted(server: Server) -> None:
    record = await ask(server, "timed?first=0.01&gap=0.001&tokens=2&fail=drop&every=2")
    assert record.ok and record.retries == 1
    first, second = server.take_log().values()
    assert record.sent <= first["received"] < second["received"]


async def test_unreachable() -> None:
    async with open_session() as session:
        record = await complete(session, Target("http://127.0.0.1:9", "m"), CHAT, max_tokens=1)
        wrong = await complete(session, Target("http://[broken", "m"), CHAT, max_tokens=1)
        unknown = await complete(session, Target("http://nowhere.invalid", "m"), CHAT, max_tokens=1)
    assert record.error == "cannot connect to 127.0.0.1:9: Connection refused"
    assert unknown.error.startswith("cannot connect to nowhere.invalid:80: ") and len(unknown.error) > 40
    assert not wrong.ok and wrong.error


async def test_api_key(server: Server) -> None:
    async with open_session() as session:
        good = await complete(session, Target(server.url, "secret", api_key="open sesame"), CHAT, max_tokens=2)
        bad = await complete(session, Target(server.url + "/v1", "secret", api_key="wrong"), CHAT, max_tokens=2)
    assert good.ok
    assert bad.error == "HTTP 401: the key is wrong"
    assert "sesame" not in repr(Target("u", "m", api_key="open sesame"))


def chunks(*payloads: str, content_type: str = "text/event-stream") -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        body = "".join(f"data: {payload}\r\n\r\n" for payload in payloads)
        return web.Response(body=body.encode(), content_type=content_type)

    return handler


HOSTILE = [
    pytest.param(['{"choices":[{"delta":{"content":"x"}}]}', "[DONE]"], True, "x", 1, id="no-finish-reason-but-done"),
    pytest.param(['{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}'], True, "x", 1, id="no-done"),
    pytest.param(
        [
            '{"choices":[{"delta":{"role":"assistant","content":""}}]}',
            '{"choices":[{"delta":{},"finish_reason":"stop"}]}',
            "[DONE]",
        ],
        True,
        "",
        1,
        id="end-token-alone",
    ),
    pytest.param(
        [
            '{"choices":[{"delta":{"role":"assistant","content":"a"}}]}',
            '{"choices":[{"delta":{"role":"assistant","content":""}}]}',
            '{"choices":[{"delta":{"role":"assistant","content":"字"}}]}',
            "[DONE]",
        ],
        True,
        "a字",
        3,
        id="half-a-character",
    ),
    pytest.param(
        [
            '{"choices":[{"delta":{"reasoning_content":"hm ","reasoning":"hm "}}]}',
            '{"choices":[{"delta":{"content":"yes"}}]}',
            "[DONE]",
        ],
        True,
        "hm yes",
        2,
        id="thoughts",
    ),
    pytest.param(
        [
            '{"choices":7,"usage":[]}',
            '{"choices":[{"delta":[1],"logprobs":"no"}],"usage":{"prompt_tokens":-1}}',
            "[DONE]",
        ],
        True,
        "",
        0,
        id="wrong-types",
    ),
    pytest.param(["[1,2]"], False, "", 0, id="no-object"),
    pytest.param(["[" * 100_000], False, "", 0, id="deep"),
    pytest.param(['{"error":"gone"}'], False, "", 0, id="error-as-text"),
    pytest.param([], False, "", 0, id="empty"),
]


@pytest.mark.parametrize(("payloads", "ok", "text", "tokens"), HOSTILE)
async def test_streams_of_any_shape(payloads: list[str], ok: bool, text: str, tokens: int) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chunks(*payloads))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with open_session() as session:
        target = Target(f"http://127.0.0.1:{runner.addresses[0][1]}", "m")
        record = await complete(session, target, CHAT, max_tokens=5)
    await runner.cleanup()
    assert (record.ok, record.text, len(record.token_times)) == (ok, text, tokens), record.error
    assert bool(record.error) is not ok


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chunks('{"choices":[{"delta":{"content":"x"}}]}', "[DONE]"))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    target = Target(f"https://127.0.0.1:{runner.addresses[0][1]}", "m")
    async with open_session(certificate) as trusting, open_session() as wary:
        good = await complete(trusting, target, CHAT, max_tokens=1)
        bad = await complete(wary, target, CHAT, max_tokens=1)
    await runner.cleanup()
    assert good.ok and good.sent < good.token_times[0] < good.sent + 5
    assert bad.error.startswith("cannot connect") and "certificate" in bad.error


def make_certificate(folder: Path) -> tuple[Path, Path]:
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    return paths


async def test_a_session_of_another_kind_will_do(server: Server) -> None:
    async with aiohttp.ClientSession() as session:
        target = Target(server.url, "timed?first=0.01&gap=0.001&tokens=2")
        record = await complete(session, target, CHAT, max_tokens=2)
    assert record.ok and len(record.token_times) == 2


def test_a_prompt_has_one_form() -> None:
    with pytest.raises(ValueError, match="either messages or text"):
        Prompt()
    with pytest.raises(ValueError, match="either messages or text"):
        Prompt(messages=(), text="")
