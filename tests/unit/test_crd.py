"""The generated CustomResourceDefinitions: what the API server demands, and what users are promised."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ascend_jobs.api.crd import KINDS, CustomKind, object_schema
from ascend_jobs.api.finetunejob import FineTuneJobSpec

FORBIDDEN = ("$ref", "$defs", "title", "anyOf", "oneOf", "allOf", "const", "prefixItems", "uniqueItems", "examples")


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk all nodes of a schema with their paths."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


def spec_nodes(kind: CustomKind) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from nodes(object_schema(kind)["properties"]["spec"], "spec")


def at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    for word in path.split("."):
        schema = schema["properties"][word]
    return schema


@pytest.fixture(params=KINDS, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> CustomKind:
    return request.param


def test_every_node_has_a_type_and_no_forbidden_keyword(kind: CustomKind) -> None:
    for path, node in nodes(object_schema(kind)):
        assert "type" in node, path
        assert not set(FORBIDDEN) & set(node), path
        assert not isinstance(node.get("exclusiveMinimum", True), int) or node.get("exclusiveMinimum", True) is True, (
            path
        )


def test_every_field_is_described(kind: CustomKind) -> None:
    bare = [path for path, node in nodes(object_schema(kind)) if "description" not in node]
    assert [p for p in bare if not p.endswith("[]") and not p.startswith(".metadata")] == []


def test_what_rules_iterate_is_bounded(kind: CustomKind) -> None:
    """The server estimates the cost of a rule from these bounds and refuses a definition that is too expensive."""
    for path, node in spec_nodes(kind):
        if node["type"] == "string" and "enum" not in node:
            assert "maxLength" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_numbers_have_a_range(kind: CustomKind) -> None:
    for path, node in spec_nodes(kind):
        if node["type"] in ("integer", "number"):
            assert {"minimum", "maximum"} <= set(node), path


def test_defaults_reach_every_level(kind: CustomKind) -> None:
    """An object that is there by default has a default itself, or those below it would never be filled in."""
    for path, node in spec_nodes(kind):
        for name, below in node.get("properties", {}).items():
            has_defaults = any("default" in b for b in below.get("properties", {}).values())
            optional = f"{path}.{name}" in ("spec.canary", "spec.performance", "spec.output")
            if has_defaults and not optional and name not in node.get("required", ()) and "default" not in below:
                pytest.fail(f"{path}.{name} has defaults below it and none itself")


def test_status_has_no_defaults(kind: CustomKind) -> None:
    """A default would be shown before the operator has seen the job."""
    assert [p for p, node in nodes(object_schema(kind)["properties"]["status"]) if "default" in node] == []


def test_conditions_are_a_list_map(kind: CustomKind) -> None:
    conditions = at(object_schema(kind), "status.conditions")
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert "type" in conditions["items"]["required"]


def test_printer_columns_exist(kind: CustomKind) -> None:
    """Each column shows a field of the schema, with the field's own type."""
    for column in kind.columns:
        if column.path.startswith(".metadata"):
            continue
        assert at(object_schema(kind), column.path[1:])["type"] == column.type, column.name


def test_default_values_are_those_of_the_models() -> None:
    """Objects that skipped the server's defaulting (offline validation, tests) are read with the same values."""
    smallest = {"model": {"uri": "file:///m"}, "dataset": {"uri": "file:///d"}, "output": {"uri": "pvc://c/o"}}
    spec = object_schema(KINDS[0])["properties"]["spec"]
    defaulted = filled(smallest, spec)
    assert FineTuneJobSpec.model_validate(defaulted) == FineTuneJobSpec.model_validate(smallest)
    assert defaulted["training"]["hyperparameters"]["learningRate"] == 2e-4


def filled(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Fill in defaults as the API server does."""
    result = dict(value)
    for name, below in schema.get("properties", {}).items():
        if name not in result and "default" in below:
            result[name] = json.loads(json.dumps(below["default"]))
        if isinstance(result.get(name), dict):
            result[name] = filled(result[name], below)
    return result


@pytest.mark.parametrize(
    ("path", "keyword", "value"),
    [
        pytest.param("spec.npusPerNode", "enum", [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16], id="closed-set-of-numbers"),
        pytest.param("spec.training.backend", "enum", ["native"], id="one-value"),
        pytest.param("spec.training.hyperparameters.learningRate", "exclusiveMinimum", True, id="exclusive-bound"),
        pytest.param("spec.training.hyperparameters.learningRate", "minimum", 0, id="bound-beside-it"),
        pytest.param("spec.runtime.podTemplate", "x-kubernetes-preserve-unknown-fields", True, id="opaque"),
        pytest.param("spec.training", "default", {}, id="parent-of-defaults"),
    ],
)
def test_translated(path: str, keyword: str, value: object) -> None:
    assert at(object_schema(KINDS[0]), path)[keyword] == value


@pytest.mark.parametrize("path", ["spec.workspace", "spec.dataset", "spec.output", "spec.runtime.resources"])
def test_no_default_where_absence_means_something(path: str) -> None:
    assert "default" not in at(object_schema(KINDS[0]), path)


def test_rules_point_at_the_field_their_message_begins_with() -> None:
    rules = at(object_schema(KINDS[0]), "spec")["x-kubernetes-validations"]
    paths = {rule["message"].split()[0]: rule.get("fieldPath") for rule in rules}
    assert paths["npusPerNode"] == ".npusPerNode"
    assert all(path == f".{word}" for word, path in paths.items())
