"""The evaluator of CEL rules, and that it knows every rule of every kind."""

from typing import Any

import pytest
from ascend_jobs.api.crd import KINDS, CustomKind, object_schema
from ascend_jobs.api.structural import RULES, Schema
from ascend_jobs.cli.cel import UnknownExpression, holds, is_transition_rule

SELF = {"a": 1, "b": "text", "c": {"d": "x"}, "list": [1, 2], "yes": True}


@pytest.mark.parametrize(
    ("expression", "want"),
    [
        ("has(self.a)", True),
        ("has(self.z)", False),
        ("has(self.c.d)", True),
        ("has(self.z.d)", False),
        ("!has(self.z) && self.yes", True),
        ("self.a == 1 || self.b == 'nothing'", True),
        ("self.a != 1 || self.b == 'text'", True),
        ("self.a >= 1 && self.a < 2", True),
        ("self.a > 1", False),
        ("(self.a == 2 || self.yes) && true", True),
        ("size(self.b) <= 4", True),
        ("size(self.list) == 2", True),
        ("self.b.matches('^t.x')", True),
        ("self.b.matches('^T')", False),
        (r"self.b.matches('t\\w+t')", True),
        (r"self.b.matches(r't\w+t')", True),
        ("has(self.z) && self.z == 1", False),
        ("!has(self.z) || self.z == 1", True),
        ("self.z == 1 || self.yes", True),
        ("self.z == 1 && false", False),
        ("!!self.yes", True),
    ],
)
def test_holds(expression: str, want: bool) -> None:
    assert holds(expression, SELF) is want


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("self.list.all(x, x > 0)", id="macro"),
        pytest.param("self.a + 1 == 2", id="arithmetic"),
        pytest.param("self.z == 1", id="missing-field"),
        pytest.param("self.z == 1 && self.yes", id="missing-field-decides"),
        pytest.param("self.a", id="no-truth-value"),
        pytest.param("has(self.a", id="unfinished"),
        pytest.param("", id="empty"),
        pytest.param('self.b == "text"', id="other-quotes"),
        pytest.param("self.a == 1 1", id="trailing"),
        pytest.param("other.a == 1", id="unknown-name"),
    ],
)
def test_unknown_is_an_error_and_no_answer(expression: str) -> None:
    with pytest.raises(UnknownExpression):
        holds(expression, SELF)


def rules_of(schema: Schema) -> list[str]:
    found = [rule["rule"] for rule in schema.get(RULES, ())]
    for below in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        found += rules_of(below) if isinstance(below, dict) else []
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_rule_of_the_api_is_within_what_is_known(kind: CustomKind) -> None:
    """A rule that says more needs more of the evaluator, or `ascendctl validate` would fall short of the server."""
    rules = [rule for rule in rules_of(object_schema(kind)) if not is_transition_rule(rule)]
    assert rules
    everything: dict[str, Any] = {"metadata": {"name": "n"}, "uri": "pvc://a/b", "sources": [], "format": "alpaca"}
    everything |= {"maxSurge": 1, "maxUnavailable": 0, "name": "ceval", "service": "s", "min": 1, "suites": []}
    for rule in rules:
        holds(rule, everything)
