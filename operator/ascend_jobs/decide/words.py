"""Last words of containers: written by any program, so cleaned before anything is done with them."""

from __future__ import annotations

import json
import re
from typing import Any

from ascend_jobs.decide.observed import ContainerView

_LONGEST = 1000
"""Characters of a text that are kept."""
_MOST = 2**53
"""The largest count; above it JSON numbers are not exact everywhere."""
_ITEMS = 64
"""Criteria and metrics of an evaluation, at most (api/evaluationjob.py)."""
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]{0,126}[A-Za-z0-9_])?")
"""What metav1.Condition and Event take as a reason."""


def last_words(container: ContainerView | None) -> dict[str, Any]:
    """Return a container's termination message as an object; plain text becomes {"message": text}.

    Texts are valid Unicode and cut, numbers are finite and counts at most 2**53; what is not so is left out.
    """
    text = container.exit_message if container is not None else ""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {"message": cleaned_text(text.strip()[-_LONGEST:])}
    return _cleaned(found) if isinstance(found, dict) else {"message": cleaned_text(text)}


def reason_of(words: dict[str, Any], otherwise: str) -> str:
    """Return the reason that the words give if it may stand in a condition."""
    reason = words.get("reason")
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) else otherwise


def count_of(words: dict[str, Any], key: str) -> int | None:
    """Return a count of the words, None when there is none."""
    value = words.get(key)
    return value if type(value) is int and value >= 0 else None


def cleaned_text(text: str) -> str:
    """Return a text that every JSON writer takes: without lone surrogates, cut."""
    return text[:_LONGEST].encode("utf-8", "replace").decode()


def _cleaned(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, str):
        return cleaned_text(value)
    if isinstance(value, dict):
        return {cleaned_text(key): _cleaned(item) for key, item in list(value.items())[:_ITEMS]}
    if isinstance(value, list):
        return [_cleaned(item) for item in value[:_ITEMS]]
    if isinstance(value, bool):
        return value
    return value if isinstance(value, int | float) and -_MOST <= value <= _MOST else None
