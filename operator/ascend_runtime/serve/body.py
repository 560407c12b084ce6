"""Read a request's JSON body field by field; what is wrong is said with the field's name, status 400."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class BadRequest(Exception):
    """A request that cannot be answered; `param` is the field at fault."""

    def __init__(self, message: str, param: str | None = None, status: int = 400) -> None:
        """Take a sentence, the field and the HTTP status."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status


class Body:
    """A JSON object; every reader raises BadRequest when the field is of another type or out of its range."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Take the parsed object."""
        self.document = document

    def __contains__(self, name: str) -> bool:
        """Return whether a field is there and not null."""
        return self.document.get(name) is not None

    def number(self, name: str, default: float | None, low: float, high: float) -> float | None:
        """Return a number between low and high, both included."""
        value = self.document.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequest(f"{name} must be a number, is {value!r}", name)
        if not low <= value <= high:
            raise BadRequest(f"{name} must be between {low:g} and {high:g}, is {value}", name)
        return value

    def integer(self, name: str, default: int | None, low: int, high: int = 1 << 62) -> int | None:
        """Return an integer between low and high, both included."""
        value = self.number(name, default, low, high)
        if value is not None and value != int(value):
            raise BadRequest(f"{name} must be an integer, is {value}", name)
        return None if value is None else int(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.document.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise BadRequest(f"{name} must be true or false, is {value!r}", name)
        return value

    def text(self, name: str) -> str | None:
        """Return a string."""
        value = self.document.get(name)
        if value is not None and not isinstance(value, str):
            raise BadRequest(f"{name} must be a string", name)
        return value

    def texts(self, name: str) -> list[str]:
        """Return a string or a list of them as a list."""
        value = self.document.get(name) or []
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(entry, str) and entry for entry in found):
            raise BadRequest(f"{name} must be a string or a list of strings, none empty", name)
        return found

    def part(self, name: str) -> Body:
        """Return an object within the object, empty when absent."""
        value = self.document.get(name)
        if value is not None and not isinstance(value, dict):
            raise BadRequest(f"{name} must be an object", name)
        return Body(value or {})
