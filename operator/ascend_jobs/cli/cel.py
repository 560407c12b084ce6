"""The part of CEL (Common Expression Language) that the CRDs' rules are written in, evaluated without a server.

Knows: `self`, fields, strings, integers, true and false, `has()`, `size()`, `.matches()`, `!`, `&&`, `||`, comparisons
and parentheses. A rule with anything else raises UnknownExpression, never a wrong answer.
Grammar and meaning: CEL specification, "Syntax" and "Logical Operators".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:(\d+)|(r?'(?:[^'\\]|\\.)*')|([A-Za-z_]\w*)|(&&|\|\||==|!=|<=|>=|[<>!().,]))")
Value = Any
"""A CEL value: bool, int, str, list or mapping; an UnknownExpression stands for CEL's error values."""

_COMPARE: dict[str, Callable[[Value, Value], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class UnknownExpression(Exception):
    """The expression uses what is not known here, or a field that is not there."""


def holds(expression: str, self: Mapping[str, Value]) -> bool:
    """Say whether a rule holds for an object (defaults filled in); raise UnknownExpression if that cannot be said."""
    found = _Parser(expression, self).whole()
    if not isinstance(found, bool):
        raise UnknownExpression(f"{expression}: no truth value")
    return found


def is_transition_rule(expression: str) -> bool:
    """Say whether a rule compares with the object as it was, so that it only holds or fails on an update."""
    return re.search(r"\boldSelf\b", expression) is not None


class _Parser:
    """Evaluates while it parses; each method is one level of precedence."""

    def __init__(self, text: str, self_: Mapping[str, Value]) -> None:
        self._text, self._self = text, self_
        self._tokens = list(self._split())
        self._at = 0

    def whole(self) -> Value:
        found = self._either()
        if self._peek() is not None:
            raise self._unknown()
        return found

    def _split(self) -> list[str]:
        tokens, at = [], 0
        while self._text[at:].strip():
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise UnknownExpression(f"{self._text}: at {self._text[at:]}")
            tokens.append(match[0].strip())
            at = match.end()
        return tokens

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self, wanted: str | None = None) -> str:
        token = self._peek()
        if token is None or (wanted is not None and token != wanted):
            raise self._unknown()
        self._at += 1
        return token

    def _unknown(self) -> UnknownExpression:
        return UnknownExpression(f"{self._text}: at {' '.join(self._tokens[self._at :]) or 'its end'}")

    def _either(self) -> Value:
        """Evaluate `a || b`; as in CEL, a side that cannot be evaluated does not matter when the other one is true."""
        return self._logical("||", self._both, decisive=True)

    def _both(self) -> Value:
        return self._logical("&&", self._comparison, decisive=False)

    def _logical(self, sign: str, side: Callable[[], Value], *, decisive: bool) -> Value:
        values = [side()]
        while self._peek() == sign:
            self._next()
            values.append(side())
        if len(values) == 1:
            return values[0]
        if decisive in values:
            return decisive
        failed = next((value for value in values if isinstance(value, UnknownExpression)), None)
        if failed is not None:
            raise failed
        return not decisive

    def _comparison(self) -> Value:
        left = self._unary()
        compare = _COMPARE.get(self._peek() or "")
        if compare is None:
            return left
        self._next()
        right = self._unary()
        for value in (left, right):
            if isinstance(value, UnknownExpression):
                return value
        return compare(left, right)

    def _unary(self) -> Value:
        if self._peek() != "!":
            return self._member()
        self._next()
        value = self._unary()
        return value if isinstance(value, UnknownExpression) else not value

    def _member(self) -> Value:
        value = self._primary()
        while self._peek() == ".":
            self._next()
            name = self._next()
            value = self._matches(value) if name == "matches" else _field(value, name)
        return value

    def _matches(self, value: Value) -> Value:
        self._next("(")
        pattern = self._either()
        self._next(")")
        return value if isinstance(value, UnknownExpression) else re.search(pattern, value) is not None

    def _primary(self) -> Value:
        token = self._next()
        if token.isdigit():
            return int(token)
        if token.endswith("'"):
            return _string(token)
        match token:
            case "(":
                value = self._either()
                self._next(")")
                return value
            case "true" | "false":
                return token == "true"
            case "self":
                return self._self
            case "has" | "size":
                return self._call(token)
        self._at -= 1
        raise self._unknown()

    def _call(self, name: str) -> Value:
        self._next("(")
        value = self._member()
        self._next(")")
        if name == "has":
            return not isinstance(value, UnknownExpression)
        return value if isinstance(value, UnknownExpression) else len(value)


def _field(value: Value, name: str) -> Value:
    """Return a field; one that is not there is an error that `has` and the logical operators can absorb."""
    if isinstance(value, UnknownExpression):
        return value
    if isinstance(value, Mapping) and name in value:
        return value[name]
    return UnknownExpression(f"no such field: {name}")


def _string(token: str) -> str:
    """Return the text of a literal; r'...' has no escapes."""
    if token.startswith("r"):
        return token[2:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), token[1:-1])
