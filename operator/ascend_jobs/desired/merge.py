"""The user's pod template laid over ours, in the way of kubectl's strategic merge."""

from __future__ import annotations

from typing import Any

_APPENDED = {"tolerations", "imagePullSecrets", "topologySpreadConstraints"}
"""Lists that grow; other lists are merged by `name` where their items have one, else replaced."""
_BY_PATH = {"volumeMounts": "mountPath"}
"""Lists whose items are told apart by another key."""


def merged(base: Any, over: Any, field: str = "") -> Any:  # noqa: ANN401 - JSON values
    """Return `over` laid on `base`; null removes a field."""
    if isinstance(base, dict) and isinstance(over, dict):
        kept = {key: value for key, value in base.items() if over.get(key, ...) is not None}
        given = {key: value for key, value in over.items() if value is not None}
        return {**kept, **{key: merged(kept.get(key), value, key) for key, value in given.items()}}
    if isinstance(base, list) and isinstance(over, list):
        return _merged_lists(base, over, field)
    return over


def _merged_lists(base: list[Any], over: list[Any], field: str) -> list[Any]:
    if field in _APPENDED:
        return [*base, *(item for item in over if item not in base)]
    key = _BY_PATH.get(field, "name")
    if not all(isinstance(item, dict) and key in item for item in (*base, *over)):
        return over
    named = {item[key]: item for item in base}
    for item in over:
        named[item[key]] = merged(named[item[key]], item) if item[key] in named else item
    return list(named.values())
