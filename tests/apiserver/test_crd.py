"""The CRDs at a real API server: accepted, defaults filled in, every rule refuses with its words and field."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from apiserver.world import CRDS, FTJ, World
from ascend_jobs.api.crd import KINDS, object_schema
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.cli.main import main
from ascend_jobs.cli.schemacheck import with_defaults
from ascend_jobs.errors import ApiError
from spec_cases import REFUSED, SMALLEST, Refused, made

pytestmark = pytest.mark.apiserver


def job(namespace: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    return made({**(changes or {}), "metadata.namespace": namespace})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
async def test_definition_is_established_and_structural(world: World, kind: Any) -> None:
    found = await world.api.get(CRDS, "", f"{kind.plural}.ascendjobs.io")
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}, "NonStructuralSchema would stand here too"


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_refused(world: World, case: Refused) -> None:
    """The table of the offline checks: both say the same of the same specs."""
    with pytest.raises(ApiError) as caught:
        await world.api.create(FTJ, "default", job("default", case.changes))
    assert caught.value.status == 422
    assert case.field in caught.value.message
    assert case.words in caught.value.message


async def test_defaults_are_those_of_the_models(world: World, namespace: str) -> None:
    created = await world.api.create(FTJ, namespace, job(namespace))
    offline = with_defaults(SMALLEST, object_schema(KINDS[0]))
    assert created["spec"] == offline["spec"]
    bare = {**copy.deepcopy(SMALLEST), "metadata": created["metadata"]}
    assert FineTuneJob.parse(created).spec == FineTuneJob.parse(bare).spec
    assert "status" not in created, "nothing is said before the operator has seen it"


async def test_unknown_fields_are_dropped_but_for_the_pod_template(world: World, namespace: str) -> None:
    template = {"spec": {"tolerations": [{"key": "npu", "operator": "Exists"}], "hostNetwork": True}}
    changes = {"spec.nonsense": 1, "spec.training.lora": {"rnk": 3}, "spec.runtime.podTemplate": template}
    spec = (await world.api.create(FTJ, namespace, job(namespace, changes)))["spec"]
    assert "nonsense" not in spec
    assert "rnk" not in spec["training"]["lora"]
    assert spec["runtime"]["podTemplate"] == template


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


async def test_a_status_of_all_fields_is_taken(world: World, namespace: str) -> None:
    """A field of the models that the schema lacks would be dropped without a word."""
    await world.api.create(FTJ, namespace, job(namespace))
    status = everything(object_schema(KINDS[0])["properties"]["status"])
    after = await world.api.patch(FTJ, namespace, "faq", {"status": status}, status=True)
    assert after["status"] == status


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
