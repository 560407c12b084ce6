"""The real HAProxy, run as in its pod, between two small servers."""

import asyncio
import math
import shutil
import signal
import ssl
from datetime import UTC, datetime, timedelta
from itertools import count
from time import monotonic

import aiohttp
import openai
import pytest
from ascend_jobs import names
from ascend_jobs.cluster.traffic import parse_traffic
from ascend_jobs.desired.inference.proxyconfig import Share
from runtime.proxy.front import PAUSE, PIECES, Version, front, lay

pytestmark = pytest.mark.skipif(
    not (shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")), reason="needs haproxy (apt-get install haproxy)"
)


@pytest.fixture
async def stable():
    version = Version("stable")
    await version.start()
    yield version
    await version.stop()


@pytest.fixture
async def canary():
    version = Version("canary")
    await version.start()
    yield version
    await version.stop()


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(client, front, path="/v1/models", **headers):
    """Return (status, text, version that the proxy names)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(front.url + path, headers=named, ssl=False) as answer:
        return answer.status, await answer.text(), answer.headers.get(names.VERSION_HEADER)


def within(seen, wanted, of):
    """Say whether a count lies within five standard deviations of a binomial distribution."""
    return abs(seen - wanted * of) <= 5 * math.sqrt(of * wanted * (1 - wanted))


async def test_requests_are_spread_by_weight(tmp_path, client, stable, canary):
    async with front(tmp_path, stable.upstream, Share(canary.upstream, 20)) as proxy:
        answers = [await ask(client, proxy) for _ in range(1000)]
    assert all(status == 200 and text == named for status, text, named in answers)
    seen = sum(text == "canary" for _, text, _ in answers)
    assert within(seen, 0.2, len(answers)), f"{seen} of {len(answers)}"
    assert within(len(canary.seen), 0.2, len(answers))


async def test_the_same_header_value_goes_to_the_same_version(tmp_path, client, stable, canary):
    users = [f"user-{i}" for i in range(400)]
    async with front(tmp_path, stable.upstream, Share(canary.upstream, 20, "X-User")) as proxy:
        first = {user: (await ask(client, proxy, X_User=user))[1] for user in users}
        assert first == {user: (await ask(client, proxy, X_User=user))[1] for user in users}
        few = {user for user, version in first.items() if version == "canary"}
        assert within(len(few), 0.2, len(users)), len(few)
        await proxy.change(canary=Share(canary.upstream, 50, "X-User"))
        await asyncio.sleep(0.5)
        second = {user: (await ask(client, proxy, X_User=user))[1] for user in users}
        more = {user for user, version in second.items() if version == "canary"}
        assert few < more, "a larger weight takes nobody back"
        assert within(len(more), 0.5, len(users)), len(more)
        without = [(await ask(client, proxy, X_User=""))[1] for _ in range(200)]
        assert within(without.count("canary"), 0.5, 200), "no value, no version of its own"


@pytest.mark.parametrize(("weight", "version"), [(0, "stable"), (100, "canary")])
async def test_all_or_nothing(tmp_path, client, stable, canary, weight, version):
    async with front(tmp_path, stable.upstream, Share(canary.upstream, weight)) as proxy:
        assert {(await ask(client, proxy))[1] for _ in range(50)} == {version}


async def test_a_version_that_dies_costs_no_request(tmp_path, client, stable, canary):
    async with front(tmp_path, stable.upstream, Share(canary.upstream, 100)) as proxy:
        assert (await ask(client, proxy))[1] == "canary"
        await canary.stop()
        answers = [await ask(client, proxy) for _ in range(50)]
        assert {status for status, _, _ in answers} == {200}
        assert {text for _, text, _ in answers} == {"stable"}
        await canary.start()
        async with asyncio.timeout(10):
            while (await ask(client, proxy))[1] != "canary":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.2)


async def test_nobody_there_is_an_error_that_clients_understand(tmp_path, client, stable):
    await stable.stop()
    async with front(tmp_path, stable.upstream) as proxy:
        status, text, _ = await ask(client, proxy)
    await stable.start()
    assert status == 503
    assert "no replica takes requests" in text


KEYS = {"alice": "sk-alice\n", "bob": "#odd key?", "empty": ""}


HEADERS = {
    None: 401,
    "": 401,
    "Bearer": 401,
    "Bearer ": 401,
    "Bearer sk-mallory": 401,
    "Bearer sk-alic": 401,
    "sk-alice": 401,
    "Basic sk-alice": 401,
    "Bearer sk-alice": 200,
    "bearer sk-alice": 200,
    "Bearer #odd key?": 200,
}


async def test_keys(tmp_path, client, stable):
    lay(tmp_path / "keys", KEYS)
    async with front(tmp_path, stable.upstream, keys=True) as proxy:
        for header, status in HEADERS.items():
            given = {"Authorization": header} if header is not None else {}
            assert (await ask(client, proxy, **given))[0] == status, header
        assert "Authorization" not in stable.seen[-1], "engines and their logs see no keys"
        assert (await ask(client, proxy, "/health"))[0] == 200, "load balancers have no key"
        assert b"sk-" not in (tmp_path / "files" / names.PROXY_KEYS_FILE).read_bytes()


async def test_a_wrong_key_is_an_error_that_clients_understand(tmp_path, stable):
    lay(tmp_path / "keys", KEYS)
    async with front(tmp_path, stable.upstream, keys=True) as proxy:
        asked = openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="sk-mallory", max_retries=0)
        with pytest.raises(openai.AuthenticationError) as error:
            await asked.models.list()
        assert error.value.code == "invalid_api_key"
        await asked.close()


async def test_keys_are_renewed_without_a_restart(tmp_path, client, stable):
    lay(tmp_path / "keys", KEYS)
    async with front(tmp_path, stable.upstream, keys=True) as proxy:
        lay(tmp_path / "keys", {"carol": "sk-carol"})
        await proxy.line("reload")
        await asyncio.sleep(0.5)
        assert (await ask(client, proxy, Authorization="Bearer sk-carol"))[0] == 200
        assert (await ask(client, proxy, Authorization="Bearer sk-alice"))[0] == 401
        lay(tmp_path / "keys", {})
        said = await proxy.line("warning")
        assert "spec.access.apiKeysSecretRef" in str(said["message"])
        status, _, _ = await ask(client, proxy, Authorization="Bearer sk-carol")
        assert status == 200, "a Secret that is gone locks nobody out"


async def test_missing_secrets_are_told_and_waited_for(tmp_path, stable):
    async with front(tmp_path / "a", stable.upstream, wait=False, keys=True) as proxy:
        assert await proxy.process.wait() == 1
        assert proxy.words["reason"] == "MissingSecret"
        assert "spec.access.apiKeysSecretRef: Secret faq-keys is not there" in proxy.words["message"]
    async with front(tmp_path / "b", stable.upstream, wait=False, tls=True) as proxy:
        await proxy.line("wait")
        lay(tmp_path / "b" / "tls", pair())
        await proxy.up()


SERIAL = count(1)


def pair(name="faq.example.com"):
    """Return a certificate of its own and its key, as a Secret of type kubernetes.io/tls has them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)  # noqa: TID251
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
    made = made.serial_number(next(SERIAL)).not_valid_before(now - timedelta(hours=1))
    made = made.not_valid_after(now + timedelta(hours=1))
    names_ = x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")])
    signed = made.add_extension(names_, critical=False).sign(key, hashes.SHA256())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"tls.crt": signed.public_bytes(serialization.Encoding.PEM), "tls.key": text}


async def test_tls(tmp_path, client, stable):
    first = pair()
    lay(tmp_path / "tls", first)
    async with front(tmp_path, stable.upstream, tls=True) as proxy:
        trusted = ssl.create_default_context(cadata=first["tls.crt"].decode())
        url = f"https://localhost:{proxy.config.port}/v1/models"
        async with client.get(url, ssl=trusted) as answer:
            assert (answer.status, await answer.text()) == (200, "stable")
        assert stable.seen[-1]["X-Forwarded-Proto"] == "https"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.deprecated_call():
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(aiohttp.ClientError):
            await client.get(url, ssl=old)
        lay(tmp_path / "tls", {**first, "tls.key": pair()["tls.key"]})
        assert "spec.access.tlsSecretRef" in str((await proxy.line("warning"))["message"])
        async with client.get(url, ssl=trusted) as answer:
            assert answer.status == 200, "a pair that does not fit changes nothing"
        second = pair()
        lay(tmp_path / "tls", second)
        await proxy.line("reload")
        await asyncio.sleep(0.5)
        async with client.get(url, ssl=ssl.create_default_context(cadata=second["tls.crt"].decode())) as answer:
            assert answer.status == 200


async def test_a_stream_comes_chunk_by_chunk(tmp_path, client, stable):
    async with front(tmp_path, stable.upstream) as proxy:
        began, came = monotonic(), []
        async with client.get(f"{proxy.url}/stream") as answer:
            async for chunk, _ in answer.content.iter_chunks():
                came += [(monotonic() - began, chunk)] if chunk else []
    assert [chunk for _, chunk in came] == [f"data: {i}\n\n".encode() for i in range(PIECES)]
    assert came[-1][0] - came[0][0] > (PIECES - 1) * PAUSE * 0.8, "each when it was sent, not all at the end"


async def test_reloads_under_load_drop_nothing(tmp_path, client, stable, canary):
    wrong, served, over = [], {"stable": 0, "canary": 0}, asyncio.Event()

    async def load():
        while not over.is_set():
            try:
                status, text, _ = await ask(client, proxy)
                served[text] += 1
                if status != 200:
                    wrong.append(status)
            except aiohttp.ClientError as error:
                wrong.append(repr(error))

    async def stream():
        while not over.is_set():
            async with client.get(f"{proxy.url}/stream") as answer:
                if (await answer.read()).count(b"data:") != PIECES:
                    wrong.append("a stream was cut")

    async with front(tmp_path, stable.upstream) as proxy:
        tasks = [*(asyncio.create_task(load()) for _ in range(4)), *(asyncio.create_task(stream()) for _ in range(4))]
        for weight in (10, 60, 0, 30):
            await proxy.change(canary=Share(canary.upstream, weight))
        await proxy.change(canary=None)
        await asyncio.sleep(1)
        over.set()
        await asyncio.gather(*tasks)
    assert wrong == []
    assert served["canary"] > 0
    assert sum(served.values()) > 500


async def test_a_proxy_that_goes_takes_requests_for_a_while_and_ends_with_the_last(tmp_path, client, stable):
    async with front(tmp_path, stable.upstream, leave=1.0) as proxy:

        async def stream():
            async with client.get(f"{proxy.url}/stream") as answer:
                return (await answer.read()).count(b"data:")

        first = asyncio.create_task(stream())
        await asyncio.sleep(0.1)
        proxy.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.7)
        assert (await ask(client, proxy))[0] == 200, "nodes have not heard of it yet"
        last = asyncio.create_task(stream())
        assert await first == PIECES
        assert await last == PIECES
        async with asyncio.timeout(5):
            assert await proxy.process.wait() == 0


async def test_counts_of_both_versions(tmp_path, client, stable, canary):
    lay(tmp_path / "keys", KEYS)
    async with front(tmp_path, stable.upstream, Share(canary.upstream, 50, "X-User"), keys=True) as proxy:
        key = {"Authorization": "Bearer sk-alice"}
        users = {(await ask(client, proxy, X_User=str(i), **key))[1]: str(i) for i in range(20)}
        assert users.keys() == {"stable", "canary"}
        before = parse_traffic(await proxy.page(names.PROXY_STATS_PATH))
        assert sum(view.requests for view in before.values()) == 20
        assert (await ask(client, proxy))[0] == 401, "counted for nobody"
        mine = {**key, "X_User": users["canary"]}
        assert (await ask(client, proxy, "/boom", **mine))[0] == 500
        assert (await ask(client, proxy, "/cut", **mine))[0] == 502
        with pytest.raises(aiohttp.ClientError):
            await ask(client, proxy, "/half", **mine)
        for _ in range(3):
            await ask(client, proxy, "/stream", **mine)
        after = parse_traffic(await proxy.page(names.PROXY_STATS_PATH))
        assert after["stable"] == before["stable"]
        assert after["canary"].requests == before["canary"].requests + 6
        assert after["canary"].errors == 3
        mean = 3 * PIECES * PAUSE * 1000 / after["canary"].requests
        assert mean * 0.9 < after["canary"].milliseconds < mean * 1.5
        assert "haproxy_backend_http_responses_total" in await proxy.page("/metrics")
