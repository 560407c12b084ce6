"""The CRDs at a real API server: accepted, defaults filled in, every rule and bound refuses with field and words."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver.world import CRDS, FTJ, World
from ascend_jobs import names
from ascend_jobs.api.base import CustomObject
from ascend_jobs.api.crd import KINDS, CustomKind, object_schema
from ascend_jobs.api.evaluationjob import EvaluationJob
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.cli.main import main
from ascend_jobs.cli.schemacheck import with_defaults
from ascend_jobs.cluster.verbs import JOBS, Resource
from ascend_jobs.errors import ApiError
from spec_bounds import NOTHING, SERVER, Bound, bounds
from spec_cases import REFUSED, TAKEN, Refused, Taken, made

pytestmark = pytest.mark.apiserver
EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS: dict[str, type[CustomObject]] = {m.kind: m for m in (FineTuneJob, InferenceService, EvaluationJob)}
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def resource(kind: str, *, dry: bool = False) -> Resource:
    """Return the resource of a kind; what is created `dry` is answered as if it were kept."""
    found = JOBS[next(k.short for k in KINDS if k.kind == kind)]
    return Resource(found.prefix, f"{found.plural}?dryRun=All") if dry else found


def job(namespace: str, changes: dict[str, Any] | None = None, kind: str = names.FINE_TUNE_JOB) -> dict[str, Any]:
    return made({**(changes or {}), "metadata.namespace": namespace}, kind)


async def refusal(world: World, body: dict[str, Any]) -> str:
    """Return why an object is not taken, "" when it is."""
    try:
        await world.api.create(resource(body["kind"], dry=True), "default", body)
    except ApiError as error:
        assert error.status == 422, error
        return error.message
    return ""


@by_kind
async def test_definition_is_established_and_structural(world: World, kind: CustomKind) -> None:
    found = await world.api.get(CRDS, "", f"{kind.plural}.ascendjobs.io")
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}, "NonStructuralSchema would stand here too"


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.kind}-{case.id}")
async def test_refused(world: World, case: Refused) -> None:
    """The table of the offline checks: both say the same of the same specs."""
    message = await refusal(world, made(case.changes, case.kind))
    assert message, "it was taken"
    assert case.field in message
    assert case.words in message


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: f"{case.kind}-{case.id}")
async def test_taken(world: World, case: Taken) -> None:
    assert await refusal(world, made(case.changes, case.kind)) == ""


@by_kind
async def test_every_bound_is_kept(world: World, kind: CustomKind) -> None:
    """Of each the value just beyond is refused for that very reason, and the last one within is not."""
    found = [*bounds(object_schema(kind)["properties"]["spec"], ("spec",))]
    for some in (found[start : start + 16] for start in range(0, len(found), 16)):
        await asyncio.gather(*(keep(world, kind.kind, bound) for bound in some))


async def keep(world: World, kind: str, bound: Bound) -> None:
    words = SERVER[bound.keyword]
    beyond = await refusal(world, bound.wrong(kind))
    assert any(f"{bound.field}: " in told and words in told for told in reasons(beyond)), (bound, beyond)
    if bound.within is not NOTHING:
        within = await refusal(world, bound.right(kind))
        assert not any(f"{bound.field}: " in told and words in told for told in reasons(within)), (bound, within)


def reasons(message: str) -> list[str]:
    """Return the single reasons of a refusal, each with its field."""
    return message.replace(", spec", "\0spec").split("\0")


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
async def test_our_own_examples_are_taken(world: World, file: Path) -> None:
    text = await asyncio.to_thread(file.read_text)
    for body in yaml.safe_load_all(text):
        if body["apiVersion"] == names.API_VERSION:
            body["metadata"].pop("namespace", None)
            assert await refusal(world, body) == ""


OPTIONAL: dict[str, dict[str, Any]] = {
    names.FINE_TUNE_JOB: {},
    names.INFERENCE_SERVICE: {
        "spec.canary": {"model": {"fromJob": "tune"}},
        "spec.scaling.schedules": [{"cron": "0 20 * * *", "minReplicas": 0}],
        "spec.access.apiKeysSecretRef": {"name": "keys"},
        "spec.rollout.gate": {"evaluation": "check"},
        "spec.model.adapters": [{"name": "legal", "uri": "pvc://m/legal"}],
    },
    names.EVALUATION_JOB: {
        "spec.performance": {"uri": "pvc://e/p"},
        "spec.output": {"uri": "pvc://e/r"},
        "spec.baseline": {"url": "http://a:80", "model": "m"},
        "spec.acceptance": [{"metric": "ceval.accuracy", "min": 0.5}],
    },
}
"""What is absent by default, and has defaults below it."""


@by_kind
@pytest.mark.parametrize("whole", [False, True], ids=["smallest", "optional"])
async def test_defaults_are_those_of_the_models(world: World, namespace: str, kind: CustomKind, whole: bool) -> None:
    body = job(namespace, OPTIONAL[kind.kind] if whole else {}, kind.kind)
    created = await world.api.create(resource(kind.kind), namespace, body)
    assert created["spec"] == with_defaults(body, object_schema(kind))["spec"]
    bare = {**copy.deepcopy(body), "metadata": created["metadata"]}
    read, alone = MODELS[kind.kind].parse(created), MODELS[kind.kind].parse(bare)
    assert read == alone
    assert "status" not in created, "nothing is said before the operator has seen it"


@by_kind
async def test_unknown_fields_are_dropped_but_for_the_pod_template(
    world: World, namespace: str, kind: CustomKind
) -> None:
    template = {"spec": {"tolerations": [{"key": "npu", "operator": "Exists"}], "hostNetwork": True}}
    changes = {"spec.nonsense": 1, "spec.runtime.imag": "x", "spec.runtime.podTemplate": template}
    spec = (await world.api.create(resource(kind.kind), namespace, job(namespace, changes, kind.kind)))["spec"]
    assert "nonsense" not in spec
    assert "imag" not in spec["runtime"]
    assert spec["runtime"]["podTemplate"] == template


async def test_arguments_of_engines_stay_as_they_are(world: World, namespace: str) -> None:
    arguments = {"seed": 3, "enforce-eager": True, "compilation-config": {"level": 3, "sizes": [1, 2.5, None]}}
    changes = {"spec.serving.engineArgs": arguments}
    kind = names.INFERENCE_SERVICE
    created = await world.api.create(resource(kind), namespace, job(namespace, changes, kind))
    assert created["spec"]["serving"]["engineArgs"] == arguments


IMMUTABLE = {
    "spec.model": {"model": {"uri": "file:///other"}},
    "spec.dataset": {"dataset": {"uri": "pvc://data/other"}},
    "spec.training": {"training": {"lora": {"rank": 9}}},
    "spec.nodes": {"nodes": 2},
    "spec.npusPerNode": {"npusPerNode": 2},
    "spec.checkpoint": {"checkpoint": {"keep": 9}},
    "spec.output": {"output": {"ifExists": "Overwrite"}},
    "spec.workspace": {"workspace": {"uri": "pvc://work"}},
    "spec.runtime.image": {"runtime": {"image": "other:1"}},
    "spec.runtime.rankTable": {"runtime": {"rankTable": "Never"}},
}
MUTABLE: tuple[dict[str, Any], ...] = (
    {"suspend": True},
    {"ttlSecondsAfterFinished": 60},
    {"backoffLimit": 1},
    {"faultPolicy": {"platformBackoffLimit": 1}},
    {"runtime": {"podTemplate": {"spec": {"hostNetwork": True}}}},
)


async def test_what_decides_the_result_cannot_be_changed(world: World, namespace: str) -> None:
    await world.api.create(FTJ, namespace, job(namespace))
    for field, change in IMMUTABLE.items():
        with pytest.raises(ApiError) as caught:
            await world.api.patch(FTJ, namespace, "faq", {"spec": change})
        assert caught.value.status == 422
        assert f"{field}: Invalid value" in caught.value.message
        assert "immutable: delete the job and make a new one" in caught.value.message


async def test_the_rest_can(world: World, namespace: str) -> None:
    before = await world.api.create(FTJ, namespace, job(namespace))
    for change in MUTABLE:
        after = await world.api.patch(FTJ, namespace, "faq", {"spec": change})
        assert after["metadata"]["generation"] > before["metadata"]["generation"]
        before = after


@by_kind
async def test_a_status_of_all_fields_is_taken(world: World, namespace: str, kind: CustomKind) -> None:
    """A field of the models that the schema lacks would be dropped without a word."""
    await world.api.create(resource(kind.kind), namespace, job(namespace, kind=kind.kind))
    status = everything(object_schema(kind)["properties"]["status"])
    after = await world.api.patch(resource(kind.kind), namespace, "faq", {"status": status}, status=True)
    assert after["status"] == status
    read = MODELS[kind.kind].parse(after)
    assert read.model_dump(include={"status"}, mode="json", exclude_none=True)["status"] == status


async def test_scale(world: World, namespace: str) -> None:
    """What kubectl scale, the HPA and KEDA read and write."""
    services, kind = resource(names.INFERENCE_SERVICE), names.INFERENCE_SERVICE
    await world.api.create(services, namespace, job(namespace, kind=kind))
    with pytest.raises(ApiError, match=r"spec replicas field .* does not exist"):  # so an HPA needs a number to begin
        await world.api.get(services, namespace, "faq/scale")
    scale = await world.api.patch(services, namespace, "faq/scale", {"spec": {"replicas": 1}})  # kubectl scale
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 1})
    told = {"replicas": 2, "selector": "ascendjobs.io/job-name=faq"}
    await world.api.patch(services, namespace, "faq", {"status": told}, status=True)
    scale = await world.api.get(services, namespace, "faq/scale")
    assert scale["status"] == told
    scale["spec"]["replicas"] = 3
    answer = await world.put(services, namespace, "faq/scale", scale)
    assert (answer["spec"], answer["status"]) == ({"replicas": 3}, told)
    found = await world.api.get(services, namespace, "faq")
    assert found["spec"]["scaling"]["replicas"] == 3
    assert found["metadata"]["generation"] == 3
    scale["spec"]["replicas"], scale["metadata"] = 2000, answer["metadata"]
    with pytest.raises(ApiError, match=r"spec\.scaling\.replicas"):
        await world.put(services, namespace, "faq/scale", scale)
    scale["spec"]["replicas"], scale["metadata"] = 1, {**answer["metadata"], "resourceVersion": "1"}
    with pytest.raises(ApiError, match="has been modified"):
        await world.put(services, namespace, "faq/scale", scale)


def everything(schema: dict[str, Any]) -> Any:
    """Return a value with every field of a schema."""
    match schema["type"]:
        case "object":
            return {name: everything(below) for name, below in schema["properties"].items()}
        case "array":
            return [everything(schema["items"])]
        case "string" if schema.get("format") == "date-time":
            return "2026-01-01T00:00:00Z"
        case "string":
            return schema.get("enum", ["Word"])[0]
        case "boolean":
            return True
    return schema.get("minimum", 0)


async def test_ascendctl_watches_to_the_end(world: World, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Over TLS with a client certificate, as most kubeconfigs have it."""
    await world.api.create(FTJ, namespace, job(namespace))
    config = ("--kubeconfig", str(world.plane.kubeconfig("admin")))
    watching = asyncio.create_task(asyncio.to_thread(main, ["watch", "ftj/faq", "-n", namespace, *config]))
    for phase in ("Preparing", "Running", "Complete"):
        await asyncio.sleep(0.3)
        status = {"phase": phase, "message": f"it is {phase}"}
        await world.api.patch(FTJ, namespace, "faq", {"status": status}, status=True)
    assert await asyncio.wait_for(watching, 30) == 0
    assert "Complete  it is Complete" in capsys.readouterr().out
