"""Lives of services with a canary, API keys and TLS: behind a proxy; also with faults at every call."""

import pytest
from ascend_jobs import names
from ascend_jobs.cluster.verbs import JOBS
from ascend_jobs.decide.plan import Kind
from flow.canaries import BASE, CONFIG_MAPS, PROXY, STABLE, CanaryLife
from flow.harness import replay_in_turn
from flow.services import DEPLOYMENTS

AISVC = JOBS[names.INFERENCE_SHORT]
CANARY = {"model": {"uri": "pvc://models/other"}, "weight": 20, "stickyHeader": "X-User"}
KEYS = {"apiKeysSecretRef": {"name": "faq-keys"}}


@pytest.fixture
def life():
    return CanaryLife()


async def with_canary(life, **canary):
    """Bring a service to Ready, add a canary and let it serve."""
    await life.serve()
    await life.up()
    await life.change(canary={**CANARY, **canary})
    for _ in range(4):
        await life.turn()


async def test_a_canary_gets_requests_when_it_has_answered(life):
    await life.serve()
    await life.up()
    assert life.api.find(DEPLOYMENTS, "team-a", PROXY) is None, "no proxy without need"
    await life.change(canary=CANARY)
    assert not life.is_proxied(), "no proxy is ready"
    await life.roll_proxies()
    assert life.is_proxied()
    assert life.selector(STABLE) == {
        "ascendjobs.io/job-uid": life.service()["metadata"]["uid"],
        "ascendjobs.io/role": "server",
        "ascendjobs.io/revision": "1",
        "ascendjobs.io/track": "stable",
        "apps.kubernetes.io/pod-index": "0",
    }
    await life.inspect()
    await life.roll()
    assert life.replicas() == {"faq-aisvc-1": 1, "faq-aisvc-2": 1, PROXY: 1}
    assert life.weight() is None, "not before it has answered"
    await life.answer("revision-2")
    assert life.weight() == 20
    assert "X-User" in life.config()
    assert life.state()["canary"]["weight"] == 0, "not before the proxies know"
    await life.roll_proxies()
    assert life.state()["canary"]["weight"] == 20
    assert life.state()["canaryRevision"]["model"] == "pvc://models/other"
    assert life.state()["revision"]["number"] == 1
    await life.answer()
    assert life.is_true("Ready") == ("True", "Answered")
    assert "canary" not in life.state()["message"]


async def test_counts_of_both_versions(life):
    await with_canary(life)
    await life.count(stable=(800, 8, 250.0), canary=(200, 50, 400.0))
    told = life.state()["canary"]
    assert told["stable"] == {"requests": 800, "errors": 8, "errorRate": 0.01, "averageMilliseconds": 250.0}
    assert told["canary"] == {"requests": 200, "errors": 50, "errorRate": 0.25, "averageMilliseconds": 400.0}


async def life_of_a_canary(life):
    """A canary comes, gets more, goes, and with it the proxy; whatever happens to the operator meanwhile."""
    await with_canary(life)
    assert life.state()["canary"]["weight"] == 20
    await life.change(canary={"weight": 50})
    await life.roll_proxies(reap=False)
    await life.turn()
    assert life.state()["canary"]["weight"] == 50
    await life.change(canary=None)
    number = life.state()["canaryRevision"]["number"]
    assert life.replicas()[f"faq-aisvc-{number}"] == 1, "proxies still send it requests"
    assert not life.is_proxied()
    await life.roll_proxies(reap=False)
    assert len(life.pods(names.ROLE_PROXY)) > 0
    assert "canaryRevision" in life.state(), "a proxy still ends its last requests"
    assert life.selector(STABLE) != {}
    life.reap()
    for _ in range(3):
        await life.turn()
    assert "canaryRevision" not in life.state()
    assert "canary" not in life.state()
    assert life.replicas() == {f"faq-aisvc-{life.state()['revision']['number']}": 1}
    assert life.selector(STABLE) == {}
    assert life.config() == ""
    assert life.is_true("Ready")[0] == "True"


async def test_abort_drains_and_takes_the_proxy_away(life):
    await life_of_a_canary(life)


async def test_faults_at_every_call():
    assert await replay_in_turn(life_of_a_canary, life=CanaryLife) > 20


async def test_an_abort_with_keys_keeps_the_proxy(life):
    await life.serve(access=KEYS, canary=CANARY)
    for _ in range(6):
        await life.turn()
    assert life.state()["canary"]["weight"] == 20
    await life.change(canary=None)
    assert life.weight() is None
    assert life.replicas()["faq-aisvc-2"] == 1
    await life.roll_proxies(reap=False)
    assert life.replicas()["faq-aisvc-2"] == 1, "a stream may still run"
    life.reap()
    await life.turn()
    assert life.replicas() == {"faq-aisvc-1": 1, PROXY: 1}
    assert life.is_proxied()


async def test_promote(life):
    await with_canary(life)
    was = life.state()["canaryRevision"]["number"]
    await life.change(model={"uri": "pvc://models/other"}, canary=None)
    for _ in range(8):
        await life.turn()
    state = life.state()
    assert state["revision"]["model"] == "pvc://models/other"
    assert state["revision"]["number"] > was
    assert life.replicas() == {f"faq-aisvc-{state['revision']['number']}": 1}
    assert life.is_true("Ready")[0] == "True"


async def test_a_canary_that_cannot_be_served_is_told_and_not_tried_again(life):
    await life.serve()
    await life.up()
    await life.change(canary=CANARY)
    await life.inspect(65, {"reason": "ModelInvalid", "message": "config.json is missing"})
    await life.roll_proxies()
    told = life.state()["canary"]
    assert (told["weight"], told["failed"]["reason"]) == (0, "ModelInvalid")
    assert "config.json is missing" in life.state()["message"]
    assert life.is_true("Ready")[0] == "True"
    assert life.pods("inspect") == [p for p in life.pods("inspect") if p["metadata"]["labels"][names.REVISION] == "1"]
    await life.advance(7200)
    assert life.replicas() == {"faq-aisvc-1": 1, PROXY: 1}
    await life.change(canary={"model": {"uri": "pvc://models/third"}})
    for _ in range(4):
        await life.turn()
    assert life.state()["canary"]["weight"] == 20
    assert "failed" not in life.state()["canary"]


async def test_an_engine_that_ends_again_and_again_frees_its_npus(life):
    await life.serve()
    await life.up()
    await life.change(canary=CANARY)
    await life.inspect()
    await life.roll(ready=False)
    life.end("faq-aisvc-2-0", 65, {"reason": "OutOfMemory", "message": "KV cache does not fit"})
    life._status("faq-aisvc-2-0", phase="Running")
    await life.settle()
    assert life.state()["canary"]["failed"]["reason"] == "OutOfMemory"
    assert "faq-aisvc-2" not in life.replicas()
    told = dict(life.events())["CanaryFailed"]
    assert told.startswith("canary: revision 2 was given up (OutOfMemory)")


async def test_a_canary_that_is_not_ready_gets_nothing(life):
    await with_canary(life, weight=100)
    assert life.state()["canary"]["weight"] == 100
    life._status("faq-aisvc-2-0", conditions=[{"type": "Ready", "status": "False"}])
    await life.settle()
    assert life.state()["canary"]["weight"] == 0
    assert "faq-aisvc-2-0" in life.state()["canary"]["message"]
    assert life.weight() == 100, "HAProxy itself turns to the first version, at once"
    await life.roll()
    assert life.state()["canary"]["weight"] == 100


async def test_weight_100_before_anything_is_ready(life):
    await life.serve(canary={**CANARY, "weight": 100})
    assert life.state()["canary"] == {**life.state()["canary"], "weight": 0}
    assert "first version" in life.state()["canary"]["message"]
    await life.inspect()
    await life.roll()
    await life.roll_proxies()
    assert life.weight() is None
    for _ in range(4):
        await life.turn()
    assert life.state()["canary"]["weight"] == 100


async def test_a_canary_that_no_longer_answers_gets_nothing_until_it_does(life):
    await with_canary(life)
    await life.fail("revision-2", 2)
    assert life.weight() == 20
    await life.fail("revision-2", 3)
    await life.roll_proxies()
    assert life.weight() == 0
    assert life.state()["canary"]["weight"] == 0
    assert "boom" in life.state()["canary"]["message"]
    assert "CanaryFailed" in {reason for reason, _ in life.events()}
    await life.answer("revision-2")
    await life.roll_proxies()
    assert life.state()["canary"]["weight"] == 20


async def test_another_model_takes_the_canarys_place(life):
    await with_canary(life)
    await life.change(canary={"model": {"uri": "pvc://models/third"}})
    assert life.weight() is None
    assert life.replicas()["faq-aisvc-2"] == 1
    for _ in range(5):
        await life.turn()
    assert life.state()["canaryRevision"]["model"] == "pvc://models/third"
    assert life.replicas() == {"faq-aisvc-1": 1, "faq-aisvc-3": 1, PROXY: 1}


async def test_a_canary_waits_for_its_job(life):
    await life.serve()
    await life.up()
    await life.change(canary={"model": {"fromJob": "tuned"}, "weight": 5})
    assert "waits for FineTuneJob tuned" in life.state()["canary"]["message"]
    assert life.is_true("Ready")[0] == "True"
    assert "canaryRevision" not in life.state()


async def test_a_rollout_beside_a_canary(life):
    await with_canary(life)
    await life.change(scaling={"minReplicas": 2})
    for _ in range(3):
        await life.turn()
    assert life.replicas() == {"faq-aisvc-1": 2, "faq-aisvc-2": 1, PROXY: 2}
    assert life.state()["replicas"] == 2, "the canary's replicas are not the service's"
    await life.change(model={"uri": "pvc://models/newer"})
    for _ in range(10):
        await life.turn()
    assert life.state()["revision"]["model"] == "pvc://models/newer"
    assert life.state()["canary"]["weight"] == 20


async def test_keys_from_the_beginning(life):
    await life.serve(access=KEYS)
    assert life.is_proxied(), "never without a key"
    for _ in range(3):
        await life.inspect()
        await life.roll()
        await life.answer_all()
    assert life.is_true("Ready") == ("False", "ProxyStarting")
    await life.roll_proxies()
    asked = life.prober.wanted[life.service()["metadata"]["uid"]]["public"]
    assert (asked.service, asked.tls) == (STABLE, False), "the operator has no key"
    assert life.is_true("Ready")[0] == "True"
    assert "known_key" in life.config()
    pod = life.proxies()[0]["spec"]
    assert {"name": "keys", "secret": {"secretName": "faq-keys", "optional": True}} in pod["volumes"]
    assert "secret" not in str(life.api.calls), "the operator reads no Secrets"


async def test_keys_switched_on_and_off(life):
    await life.serve()
    await life.up()
    await life.change(access=KEYS)
    assert not life.is_proxied()
    assert life.is_true("Ready")[0] == "True"
    assert "waits for a proxy" in life.state()["message"]
    await life.roll_proxies()
    assert life.is_proxied()
    service = life.api.find(CONFIG_MAPS.__class__(*Kind.SERVICE.value), "team-a", BASE)
    assert service["spec"]["ports"][0] == {"name": "http", "port": 8000, "targetPort": 8088, "protocol": "TCP"}
    for pod in life.proxies():
        life._status(pod["metadata"]["name"], conditions=[{"type": "Ready", "status": "False"}])
    await life.settle()
    assert life.is_proxied(), "no way around the keys"
    assert life.is_true("Ready") == ("False", "ProxyStarting")
    await life.change(access=None)
    assert not life.is_proxied()
    for _ in range(3):
        await life.turn()
    assert life.replicas() == {"faq-aisvc-1": 1}


async def test_a_missing_secret_is_told_by_the_proxys_own_words(life):
    await life.serve(access=KEYS)
    await life.roll_proxies(ready=False)
    pod = life.proxies()[0]["metadata"]["name"]
    said = '{"reason": "MissingSecret", "message": "spec.access.apiKeysSecretRef: Secret faq-keys is not there"}'
    ended = {"exitCode": 1, "message": said}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    life._status(
        pod,
        phase="Running",
        containerStatuses=[{"name": "proxy", "restartCount": 1, "state": waiting, "lastState": {"terminated": ended}}],
    )
    for _ in range(3):
        await life.inspect()
        await life.roll()
        await life.answer_all()
    assert life.is_true("Ready") == ("False", "MissingSecret")
    assert "spec.access.apiKeysSecretRef: Secret faq-keys is not there" in life.state()["message"]
    life.run(pod)
    await life.settle()
    await life.answer()
    assert life.is_true("Ready")[0] == "True"


async def test_tls(life):
    await life.serve(access={"tlsSecretRef": {"name": "faq-tls"}})
    for _ in range(4):
        await life.turn()
    asked = life.prober.wanted[life.service()["metadata"]["uid"]]["public"]
    assert (asked.service, asked.tls) == (BASE, True)
    assert life.state()["url"] == "https://faq-aisvc.team-a.svc:8000"
    assert "ssl crt /run/ascendjobs/tls.pem" in life.config()


async def test_suspend_takes_proxies_and_canary_away_and_brings_them_back(life):
    await with_canary(life)
    await life.change(suspend=True)
    assert life.replicas() == {"faq-aisvc-1": 0, "faq-aisvc-2": 0}
    assert life.is_proxied()
    await life.change(suspend=False)
    for _ in range(3):
        await life.turn()
    assert life.state()["canary"]["weight"] == 20
    assert life.is_true("Ready")[0] == "True"


async def test_an_upgrade_of_the_proxys_image_replaces_proxies_one_by_one(life):
    from dataclasses import replace

    await life.serve(access=KEYS)
    for _ in range(3):
        await life.turn()
    before = life.proxies()[0]["metadata"]["name"]
    defaults = replace(life.cluster.defaults, proxy_image="registry.example.com/proxy:2")
    life.cluster = replace(life.cluster, defaults=defaults)
    await life.answer()
    await life.roll_proxies()
    pod = life.proxies()[0]
    assert pod["metadata"]["name"] != before
    assert pod["spec"]["containers"][0]["image"] == "registry.example.com/proxy:2"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"canary": {**CANARY, "stickyHeader": "X User"}}, "spec.canary.stickyHeader"),
        ({"canary": {**CANARY, "weight": 101}}, "spec.canary.weight"),
        ({"canary": {"weight": 5}}, "spec.canary.model"),
        ({"access": {"apiKeysSecretRef": {"name": "Not A Name"}}}, "spec.access.apiKeysSecretRef.name"),
    ],
)
async def test_bad_input_is_told_before_any_pod(life, spec, words):
    await life.serve(**spec)
    assert life.is_true("Stalled") == ("True", "SpecInvalid")
    assert words in life.state()["message"]
    assert life.pods() == []


async def test_an_installation_without_the_proxys_image_says_so(life):
    from dataclasses import replace

    life.cluster = replace(life.cluster, defaults=replace(life.cluster.defaults, proxy_image=""))
    await life.serve(access=KEYS)
    assert "images.proxy" in life.state()["message"]


async def test_a_service_at_rest_writes_nothing(life):
    await with_canary(life)
    await life.assert_at_rest()
    before = life.api.writes
    await life.answer()
    await life.answer()
    assert life.api.writes - before <= 4, "the last completion alone is told"
