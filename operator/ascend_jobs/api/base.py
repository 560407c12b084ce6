"""Models of what users write: frozen, snake_case in Python, camelCase on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from ascend_jobs import names
from ascend_jobs.errors import SpecInvalid

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
    """An object of one of our kinds; each names its spec's and status's models as fields `spec` and `status`."""

    kind: ClassVar[str]
    short: ClassVar[str]
    """Short kind, part of every child's name."""
    blank: ClassVar[dict[str, Any]]
    """A spec that can be read, for objects whose own cannot."""

    metadata: Metadata

    @property
    def base(self) -> str:
        """Stem of all children's names."""
        return names.base_name(self.metadata.name, self.short)

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Read an object from the API server; raise SpecInvalid with the field path if the spec cannot be read."""
        spec, status = (cls.model_fields[part].annotation for part in ("spec", "status"))
        assert isinstance(spec, type) and issubclass(spec, Model) and isinstance(status, type)
        try:
            read = spec.model_validate(body.get("spec") or {})
        except ValidationError as err:
            raise SpecInvalid("SpecInvalid", spec_message(err)) from err
        told = parse_leniently(status, body.get("status") or {})
        return cls.model_validate({"metadata": body["metadata"], "spec": read, "status": told})

    @classmethod
    def without_spec(cls, body: dict[str, Any]) -> Self:
        """Read only metadata and status; the spec is a blank."""
        return cls.parse({**body, "spec": cls.blank})


M = TypeVar("M", bound=BaseModel)


def parse_leniently(model: type[M], raw: dict[str, Any]) -> M:
    """Read a status; top-level fields that cannot be read are left out (an older or newer operator wrote them)."""
    try:
        return model.model_validate(raw)
    except ValidationError as err:
        bad = {str(e["loc"][0]) for e in err.errors() if e["loc"]}
        return model.model_validate({k: v for k, v in raw.items() if k not in bad})


def spec_message(err: ValidationError) -> str:
    """Return one line that names each field path and what is wrong with it."""
    parts = [f"spec.{'.'.join(str(x) for x in e['loc'])}: {e['msg']}" for e in err.errors()[:5]]
    return "; ".join(parts)
