"""Read a request's JSON body field by field; what is wrong is said with the field's name, status 400."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class BadRequest(Exception):
    """A request that cannot be answered; `param` is the field at fault, where vLLM names it apart."""

    kind = "BadRequestError"

    def __init__(self, message: str, param: str | None = None, status: int = 400) -> None:
        """Take a sentence, the field and the HTTP status."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status


class Malformed(BadRequest):
    """A body that is no request: a field that is missing or of another type. vLLM tells these apart by their type."""

    kind = "Bad Request"


def refused(message: str, name: str, value: object) -> BadRequest:
    """Return the error for a value out of its range, with field and value at its end as vLLM has them."""
    return BadRequest(f"{message} (parameter={name}, value={value})", name)


class Body:
    """A JSON object; every reader raises Malformed for another type, BadRequest for a value out of its range."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Take the parsed object."""
        self.document = document

    def __contains__(self, name: str) -> bool:
        """Return whether a field is there and not null."""
        return self.document.get(name) is not None

    def number(self, name: str, default: float | None, low: float = -math.inf, high: float = math.inf) -> float | None:
        """Return a finite number between low and high, both included."""
        value = self.document.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Malformed(f"{name} must be a number, is {value!r}")
        if not low <= value <= high:
            raise BadRequest(f"{name} must be in [{low:g}, {high:g}], got {float(value)}.")
        return value

    def integer(self, name: str, default: int | None, low: int | None = None, high: int | None = None) -> int | None:
        """Return an integer between low and high, both included; None: no bound."""
        value = self.number(name, default)
        if value is None:
            return None
        if value != int(value):
            raise Malformed(f"{name} must be an integer, is {value}")
        if low is not None and value < low:
            raise BadRequest(f"{name} must be at least {low}, got {int(value)}.")
        if high is not None and value > high:
            raise BadRequest(f"{name} must be at most {high}, got {int(value)}.")
        return int(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.document.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise Malformed(f"{name} must be true or false, is {value!r}")
        return value

    def text(self, name: str) -> str | None:
        """Return a string."""
        value = self.document.get(name)
        if value is not None and not isinstance(value, str):
            raise Malformed(f"{name} must be a string")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a string or a list of them as a list."""
        value = self.document.get(name)
        value = [] if value is None else value
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
            raise Malformed(f"{name} must be a string or a list of strings")
        if not all(found) or value == "":
            raise BadRequest(f"{name} cannot contain an empty string.")
        return found

    def part(self, name: str) -> Body:
        """Return an object within the object, empty when absent."""
        value = self.document.get(name)
        if value is not None and not isinstance(value, dict):
            raise Malformed(f"{name} must be an object")
        return Body(value or {})
