"""Why a phase ends early; the type says which exit code the container gets (docs/contract.md, Termination messages)."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """What is wrong with the input of a phase; only a change by the user helps."""

    MODEL_INVALID = "ModelInvalid"
    ADAPTER_INVALID = "AdapterInvalid"
    DATASET_INVALID = "DatasetInvalid"
    DATASET_NOT_FOUND = "DatasetNotFound"
    OUTPUT_EXISTS = "OutputExists"
    CONFIG_INVALID = "ConfigInvalid"


class InvalidInput(Exception):
    """The input is wrong: exit 65, the job fails and is not retried."""

    def __init__(self, reason: Reason, field: str, message: str) -> None:
        """Take the field's path as the user wrote it (`spec.dataset.uri`) and a sentence that says what to do."""
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.message = message


class Fenced(Exception):
    """A newer attempt owns the workspace: exit 75, nothing is published."""


class PeerLost(Exception):
    """Another rank went away: exit 76; its own pod says why."""
