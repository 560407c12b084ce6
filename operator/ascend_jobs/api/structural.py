"""Pydantic models to structural schemas, the part of JSON schema that a CustomResourceDefinition may hold.

What the API server refuses or misreads is rewritten (references, null branches, exclusive bounds, constants); what this
module does not know raises UnknownConstruct, so that a new construct in a model is a failed `make generate` and not a
field without validation. Source of the rules: Kubernetes documentation, "Specifying a structural schema".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ascend_jobs.api.base import Model

Value = Any
"""A JSON value."""
Schema = dict[str, Value]
"""A JSON schema node."""

RULES = "x-kubernetes-validations"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
LIST_KEYS = "x-kubernetes-list-map-keys"

_COPIED = frozenset({
    "type", "description", "enum", "pattern", "minimum", "maximum", "multipleOf", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties", "required",
    RULES, PRESERVE, "x-kubernetes-list-type", LIST_KEYS, "x-kubernetes-int-or-string",
})  # fmt: skip
_FORMATS = frozenset({"date-time", "int32", "int64"})


class UnknownConstruct(Exception):
    """A model uses a construct of JSON schema that is not translated; the message gives its path and keyword."""


class _WithRules(GenerateJsonSchema):
    """Pydantic's generator, which also carries a model's `rules`."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Add the CEL rules of the model class to its schema."""
        generated = super().model_schema(schema)
        rules = getattr(schema["cls"], "rules", ())
        if rules:
            generated[RULES] = [{"rule": rule, "message": message} for rule, message in rules]
        return generated


def structural_schema(model: type[Model], *, defaults: bool = True) -> Schema:
    """Return the structural schema of a model, references inlined, with or without default values.

    A parent of a field with a default gets the default {}, for the server fills defaults only into objects that are
    there. Raises UnknownConstruct.
    """
    generated = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_WithRules)
    return _Converter(generated.pop("$defs", {}), defaults=defaults).node(generated, model.__name__)


class _Converter:
    """Translates the nodes of one generated schema."""

    def __init__(self, definitions: Mapping[str, Schema], *, defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def node(self, node: Schema, path: str) -> Schema:
        """Translate one node and all below it."""
        flat = self._flatten(node, path)
        result: Schema = {}
        for keyword, value in flat.items():
            result.update(self._keyword(keyword, value, flat, path))
        if "type" not in result and not result.get("x-kubernetes-int-or-string"):
            raise UnknownConstruct(f"{path}: no type")
        if RULES in result:
            result[RULES] = [_with_field_path(rule, result.get("properties", {})) for rule in result[RULES]]
        return _ordered(result)

    def _property(self, node: Schema, path: str, *, required: bool) -> Schema:
        """Translate a property; an object that is there by default gets the default {} when something below has one."""
        result = self.node(node, path)
        stays_absent = required or "anyOf" in node or "default" in result
        if self._defaults and not stays_absent and _has_default_below(result):
            return _ordered({**result, "default": {}})
        return result

    def _flatten(self, node: Schema, path: str) -> Schema:
        """Resolve a reference and an anyOf with null; what stands beside them wins."""
        node = dict(node)
        if "anyOf" in node:
            branches = [b for b in node.pop("anyOf") if b != {"type": "null"}]
            if len(branches) != 1:
                raise UnknownConstruct(f"{path}: anyOf of {len(branches)} types")
            node = {**branches[0], **node}
        if "$ref" in node:
            name = str(node.pop("$ref")).removeprefix("#/$defs/")
            node = {**self._flatten(self._definitions[name], path), **node}
        if node.get("default", 0) is None:
            del node["default"]
        return node

    def _keyword(self, keyword: str, value: Value, node: Schema, path: str) -> Schema:
        """Translate one keyword; an empty answer drops it."""
        if keyword in _COPIED:
            return {keyword: value}
        match keyword:
            case "title":
                return {}
            case "default":
                return {"default": value} if self._defaults else {}
            case "const":
                return {"enum": [value]}
            case "exclusiveMinimum":
                return {"minimum": value, "exclusiveMinimum": True}
            case "exclusiveMaximum":
                return {"maximum": value, "exclusiveMaximum": True}
            case "format" if value in _FORMATS:
                return {"format": value}
            case "items":
                return {"items": self.node(value, f"{path}[]")}
            case "properties":
                required = node.get("required", ())
                return {
                    "properties": {
                        name: self._property(below, f"{path}.{name}", required=name in required)
                        for name, below in value.items()
                    }
                }
            case "additionalProperties":
                return self._additional(value, node, path)
        raise UnknownConstruct(f"{path}: {keyword}: {value!r}")

    def _additional(self, value: Value, node: Schema, path: str) -> Schema:
        """Translate additionalProperties: a schema for maps; pruning or preserve-unknown stands for a boolean."""
        if isinstance(value, dict):
            return {"additionalProperties": self.node(value, f"{path}{{}}")}
        if value is False or node.get(PRESERVE):
            return {}
        raise UnknownConstruct(f"{path}: an object of anything; mark it Opaque")


def _with_field_path(rule: Schema, properties: Mapping[str, Schema]) -> Schema:
    """Report a rule at the field whose name its message begins with, if there is one (fieldPath, Kubernetes 1.28)."""
    word = re.match(r"\w+", rule["message"])
    return {**rule, "fieldPath": f".{word[0]}"} if word and word[0] in properties else rule


def _has_default_below(schema: Schema) -> bool:
    """Say whether a property of this object has a default value."""
    return any("default" in below for below in schema.get("properties", {}).values())


_FIRST = ("description", "type", "format", "enum", "default")


def _ordered(schema: Schema) -> Schema:
    """Put what a reader looks for first in front, properties last."""
    keys = [k for k in _FIRST if k in schema]
    keys += sorted(k for k in schema if k not in _FIRST and k != "properties")
    keys += ["properties"] if "properties" in schema else []
    return {k: schema[k] for k in keys}
