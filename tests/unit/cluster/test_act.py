"""What actions do, and what the API server's refusals mean."""

from __future__ import annotations

import asyncio

import pytest
from ascend_jobs.cluster.act import AT_ONCE, Actor, outdated_or
from ascend_jobs.cluster.verbs import CHILDREN, PODS
from ascend_jobs.decide.plan import Create, Delete, DeleteJob, Kind, Update
from ascend_jobs.errors import ApiError, MissingPrerequisite, Outdated, SpecInvalid, Waiting
from fake_api import Call, FakeApi, Fault
from unit.cluster.parts import FTJ, KEY, child, make_cluster, put_job

SPACE = KEY.namespace
MAPS = CHILDREN[Kind.CONFIG_MAP]


class Scene:
    """A job and who acts for it."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.cluster = make_cluster(self.api)
        self.uid = put_job(self.cluster)["metadata"]["uid"]
        self.actor = Actor(self.cluster, KEY, self.uid)

    async def act(self, *actions) -> None:
        await self.actor.act(actions)

    def pods(self) -> set[str]:
        return {pod.name for pod in self.cluster.cache.pods.owned(self.uid)}

    def pod(self, name: str) -> Create:
        return Create(Kind.POD, child(name, self.uid))


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_what_is_created_is_in_the_cache_at_once(scene):
    await scene.act(scene.pod("a"), scene.pod("b"))
    assert scene.pods() == {"a", "b"}
    assert len(scene.api.all(PODS)) == 2


async def test_a_child_that_is_already_there_is_fine(scene):
    scene.api.add(PODS, SPACE, child("a", scene.uid))
    await scene.act(scene.pod("a"))
    assert scene.pods() == {"a"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: m["metadata"].pop("labels"), id="no-label"),
        pytest.param(lambda m: m["metadata"].pop("ownerReferences"), id="no-owner"),
        pytest.param(lambda m: m["metadata"]["ownerReferences"][0].update(uid="other"), id="another-owner"),
        pytest.param(lambda m: m["metadata"]["ownerReferences"][0].update(controller=False), id="no-controller"),
        pytest.param(lambda m: m["metadata"]["labels"].update({"ascendjobs.io/job-uid": "other"}), id="another-label"),
    ],
)
async def test_an_object_that_is_not_ours_is_left_alone(scene, change):
    manifest = child("a", scene.uid)
    change(manifest)
    before = scene.api.add(PODS, SPACE, manifest)
    with pytest.raises(MissingPrerequisite) as raised:
        await scene.act(scene.pod("a"))
    assert raised.value.reason == "NameConflict"
    assert raised.value.retry_after == 30
    assert "Pod a exists and does not belong to this job" in raised.value.message
    assert scene.api.all(PODS) == [before]
    assert scene.pods() == set()


@pytest.mark.parametrize(
    ("error", "kind", "reason", "retry_after"),
    [
        (ApiError(422, "spec.containers: Required", reason="Invalid"), SpecInvalid, "PodRejected", None),
        (ApiError(400, "admission webhook denied", reason="BadRequest"), SpecInvalid, "PodRejected", None),
        (ApiError(403, "exceeded quota: q, requested", reason="Forbidden"), MissingPrerequisite, "QuotaExceeded", 60),
        (
            ApiError(403, "unable to create new content in namespace a because it is being terminated"),
            Waiting,
            "NamespaceTerminating",
            60,
        ),
        (ApiError(403, 'violates PodSecurity "restricted"'), MissingPrerequisite, "PodRejected", 60),
        (ApiError(409, "quota was modified", reason="Conflict"), Outdated, None, None),
        (ApiError(403, 'User "x" cannot create resource "pods"'), ApiError, None, None),
        (ApiError(500, "etcd"), ApiError, None, None),
    ],
)
async def test_a_refused_create(scene, error, kind, reason, retry_after):
    scene.api.refuse = lambda *_: error
    with pytest.raises(kind) as raised:
        await scene.act(scene.pod("a"))
    if reason:
        assert raised.value.reason == reason
        assert raised.value.retry_after == retry_after
        assert error.message in raised.value.message


async def test_an_update_carries_uid_and_version(scene):
    made = scene.api.add(MAPS, SPACE, child("m", scene.uid) | {"data": {"a": "1"}})
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    await scene.act(Update(Kind.CONFIG_MAP, "m", uid, {"data": {"a": "2"}}, version))
    (found,) = scene.cluster.cache.children[Kind.CONFIG_MAP].owned(scene.uid)
    assert found.manifest["data"] == {"a": "2"}
    with pytest.raises(Outdated):
        await scene.act(Update(Kind.CONFIG_MAP, "m", uid, {"data": {"a": "3"}}, version))
    with pytest.raises(Outdated):
        await scene.act(Update(Kind.CONFIG_MAP, "m", "other uid", {"data": {"a": "3"}}))
    with pytest.raises(Outdated):
        await scene.act(Update(Kind.CONFIG_MAP, "gone", uid, {"data": {"a": "3"}}))
    assert scene.api.all(MAPS)[0]["data"] == {"a": "2"}


async def test_a_delete_has_a_uid_and_may_come_too_late(scene):
    await scene.act(scene.pod("a"))
    (pod,) = scene.cluster.cache.pods.owned(scene.uid)
    await scene.act(Delete(Kind.POD, "a", "other uid"), Delete(Kind.POD, "gone", "uid"))
    assert scene.pods() == {"a"}
    await scene.act(Delete(Kind.POD, "a", pod.uid))
    assert scene.pods() == set()
    await scene.act(Delete(Kind.POD, "a", pod.uid))
    assert scene.api.all(PODS) == []


async def test_a_pod_that_takes_its_time_to_end_is_known_as_deleting(scene):
    await scene.act(scene.pod("a"))
    scene.api.change(PODS, SPACE, "a", {"spec": {"nodeName": "n"}})
    (pod,) = scene.cluster.cache.pods.owned(scene.uid)
    await scene.act(Delete(Kind.POD, "a", pod.uid, 10))
    assert scene.cluster.cache.pods.owned(scene.uid)[0].deleting


async def test_the_job_itself_is_deleted_once(scene):
    await scene.act(DeleteJob())
    await scene.act(DeleteJob())
    assert scene.api.all(FTJ) == []


async def test_neighbours_of_a_kind_go_side_by_side_with_a_bound_and_groups_keep_their_order(scene, monkeypatch):
    running, most = 0, 0
    create = scene.api.create

    async def slow(resource, namespace, manifest):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return await create(resource, namespace, manifest)

    monkeypatch.setattr(scene.api, "create", slow)
    config = Create(Kind.CONFIG_MAP, child("m", scene.uid))
    last = Create(Kind.SERVICE, child("s", scene.uid))
    await scene.act(config, *(scene.pod(f"p{n}") for n in range(100)), last)
    assert most == AT_ONCE
    order = [call.resource for call in scene.api.calls]
    assert order == ["configmaps", *["pods"] * 100, "services"]


async def test_after_a_failure_nothing_new_is_begun_and_the_first_is_raised(scene):
    scene.api.fail_at(3, Fault.REFUSED)
    with pytest.raises(ApiError, match="injected"):
        await scene.act(*(scene.pod(f"p{n}") for n in range(100)), Create(Kind.SERVICE, child("s", scene.uid)))
    assert AT_ONCE - 1 <= len(scene.pods()) <= 2 * AT_ONCE
    assert Call("create", "services", "s") not in scene.api.calls
    assert len(scene.api.all(PODS)) == len(scene.pods()), "what was in flight was awaited"


async def test_a_lost_answer_is_made_up_for_by_the_next_try(scene):
    scene.api.fail_at(0, Fault.LOST)
    with pytest.raises(ApiError):
        await scene.act(scene.pod("a"))
    assert scene.pods() == set()
    await scene.act(scene.pod("a"))
    assert scene.pods() == {"a"}


async def test_a_sweep_takes_the_children_of_one_job_and_no_others(scene):
    await scene.act(scene.pod("a"), Create(Kind.CONFIG_MAP, child("m", scene.uid)))
    scene.api.add(PODS, SPACE, child("b", "another job"))
    calls = len(scene.api.calls)
    await scene.actor.sweep()
    assert [pod["metadata"]["name"] for pod in scene.api.all(PODS)] == ["b"]
    assert scene.api.all(MAPS) == []
    assert len(scene.api.calls) - calls == 2, "only kinds of which there are children"


@pytest.mark.parametrize(
    ("status", "message", "outdated"),
    [
        (404, "", True),
        (409, "the object has been modified", True),
        (422, 'metadata.uid: Invalid value: "x": field is immutable', True),
        (422, "spec: Forbidden: pod updates may not change fields", False),
        (500, "", False),
    ],
)
def test_outdated_or(status, message, outdated):
    error = ApiError(status, message)
    assert isinstance(outdated_or(error, "x"), Outdated) is outdated
