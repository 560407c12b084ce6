"""Models of what users write: frozen, snake_case in Python, camelCase on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ascend_jobs import names

Time = datetime


class Model(BaseModel):
    """Base of all API models; unknown fields are ignored, so an older operator survives a newer CRD."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
        extra="ignore",
    )

    def wire(self) -> dict[str, Any]:
        """Return the JSON form: camelCase, no absent fields, times in RFC 3339 with whole seconds in UTC."""
        found: dict[str, Any] = _times(self.model_dump(mode="python", exclude_none=True))
        return found

    def evolve(self, **changes: object) -> Self:
        """Return a copy with some fields replaced (by their Python names)."""
        return self.model_copy(update=changes)


def format_time(moment: datetime) -> str:
    """Return RFC 3339 with whole seconds, as Kubernetes writes metav1.Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _times(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, dict):
        return {key: _times(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_times(item) for item in value]
    if isinstance(value, datetime):
        return format_time(value)
    return value


class Metadata(Model):
    """The parts of ObjectMeta that decisions need."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: datetime
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class CustomObject(Model):
    """An object of one of our kinds: what names, labels and owner references need of it."""

    kind: ClassVar[str]
    short: ClassVar[str]
    """Short kind, part of every child's name."""

    metadata: Metadata

    @property
    def base(self) -> str:
        """Stem of all children's names."""
        return names.base_name(self.metadata.name, self.short)
