"""Translation of models to structural schemas, construct by construct."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from ascend_jobs.api.base import Model
from ascend_jobs.api.schema import AnyOf, ListMap, Opaque, RuleList
from ascend_jobs.api.structural import UnknownConstruct, structural_schema
from pydantic import Field


class Colour(StrEnum):
    """A colour."""

    RED = "red"


class Inner(Model):
    """Inner."""

    depth: int = Field(3, ge=0, lt=9, description="Depth.")
    rules: ClassVar[RuleList] = (("self.depth < 8", "depth is below 8"), ("true", "all is well"))


class Named(Model):
    """Named."""

    name: str


def schema_of(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """Return the schema of the only field of a model made for it."""
    model = type(
        "Probe", (Model,), {"__annotations__": {"field": annotation}, "field": Field(default), "__doc__": "P."}
    )
    return structural_schema(model)["properties"]["field"]


@pytest.mark.parametrize(
    ("annotation", "default", "want"),
    [
        pytest.param(int, ..., {"type": "integer"}, id="title-dropped"),
        pytest.param(int | None, None, {"type": "integer"}, id="null-branch-dropped"),
        pytest.param(bool, False, {"type": "boolean", "default": False}, id="false-is-a-default"),
        pytest.param(Literal["a"], "a", {"type": "string", "enum": ["a"], "default": "a"}, id="const"),
        pytest.param(
            Annotated[float, Field(gt=0)], ..., {"type": "number", "minimum": 0, "exclusiveMinimum": True}, id="gt"
        ),
        pytest.param(Annotated[int, AnyOf((1, 4))], ..., {"type": "integer", "enum": [1, 4]}, id="any-of"),
        pytest.param(
            Annotated[dict[str, Any], Opaque()],
            ...,
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            id="opaque",
        ),
        pytest.param(
            dict[str, str], ..., {"type": "object", "additionalProperties": {"type": "string"}}, id="map-of-strings"
        ),
        pytest.param(
            Annotated[tuple[Named, ...], ListMap("name")],
            ...,
            {
                "type": "array",
                "items": {
                    "description": "Named.",
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                },
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            id="list-map",
        ),
    ],
)
def test_construct(annotation: Any, default: Any, want: dict[str, Any]) -> None:
    assert schema_of(annotation, default) == want


def test_enum_reference_keeps_the_words_beside_it() -> None:
    found = schema_of(Annotated[Colour, Field(description="Mine.")], Colour.RED)
    assert found == {"type": "string", "enum": ["red"], "default": "red", "description": "Mine."}


def test_parent_of_defaults_gets_a_default() -> None:
    class Outer(Model):
        """Outer."""

        inner: Inner = Field(default_factory=Inner)
        maybe: Inner | None = None
        asked: Inner

    found = structural_schema(Outer)["properties"]
    assert found["inner"]["default"] == {}
    assert "default" not in found["maybe"]
    assert "default" not in found["asked"]


def test_without_defaults() -> None:
    assert "default" not in structural_schema(Inner, defaults=False)["properties"]["depth"]


def test_rules_become_validations() -> None:
    assert structural_schema(Inner)["x-kubernetes-validations"] == [
        {"rule": "self.depth < 8", "message": "depth is below 8", "fieldPath": ".depth"},
        {"rule": "true", "message": "all is well"},
    ]


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        pytest.param(int | str, "anyOf of 2 types", id="union"),
        pytest.param(dict[str, Any], "mark it Opaque", id="unmarked-object"),
        pytest.param(tuple[int, str], "prefixItems", id="fixed-tuple"),
        pytest.param(frozenset[str], "uniqueItems", id="set"),
        pytest.param(Any, "no type", id="anything"),
        pytest.param(bytes, "binary", id="format"),
    ],
)
def test_unknown_construct_is_refused_with_its_path(annotation: Any, says: str) -> None:
    with pytest.raises(UnknownConstruct, match=says) as caught:
        schema_of(annotation)
    assert "Probe.field" in str(caught.value)
