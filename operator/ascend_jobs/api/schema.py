"""Markers that carry what JSON schema cannot say into the CRD: CEL rules, list maps, opaque objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class _Extra:
    """Add keywords to the schema of the annotated field."""

    def keywords(self) -> dict[str, Any]:
        return {}

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), **self.keywords()}


@dataclass(frozen=True)
class ListMap(_Extra):
    """A list whose items are told apart by `key` (x-kubernetes-list-type: map)."""

    key: str

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of a list map."""
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}


@dataclass(frozen=True)
class Opaque(_Extra):
    """An object that is passed on without a schema of ours."""

    def keywords(self) -> dict[str, Any]:
        """Return the keyword that keeps unknown fields."""
        return {"x-kubernetes-preserve-unknown-fields": True}


@dataclass(frozen=True)
class AnyOf(_Extra):
    """A number out of a closed set."""

    values: tuple[int, ...]

    def keywords(self) -> dict[str, Any]:
        """Return the enumeration."""
        return {"enum": list(self.values)}


RuleList = tuple[tuple[str, str], ...]
"""Pairs (CEL expression over self, message): x-kubernetes-validations of a model's object, in its ClassVar `rules`."""
