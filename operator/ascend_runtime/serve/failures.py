"""Why a server cannot start or ends: one classified sentence, for the operator to show (docs/serve.md, Failures)."""

from __future__ import annotations

from enum import StrEnum

from ascend_jobs import names


class ServeReason(StrEnum):
    """What keeps a server from serving."""

    MODEL_INVALID = "ModelInvalid"
    ADAPTER_INVALID = "AdapterInvalid"
    CONFIG_INVALID = "ConfigInvalid"
    RANK_TABLE_INVALID = "RankTableInvalid"
    OUT_OF_MEMORY = "OutOfMemory"
    PORT_IN_USE = "PortInUse"
    ENGINE_DIED = "Error"


_OF_THE_MOMENT = (ServeReason.OUT_OF_MEMORY, ServeReason.PORT_IN_USE, ServeReason.ENGINE_DIED)


class CannotServe(Exception):
    """The server ends: exit 65 when only a change of the input helps, else 1.

    `code` and `message` are what the command line makes the exit code and the termination message of.
    """

    is_explained = True
    """The sentence says all; a traceback would only hide it."""

    def __init__(self, reason: ServeReason, field: str, sentence: str) -> None:
        """Take the argument, key or path that is wrong and a sentence that says what to do."""
        super().__init__(sentence)
        self.reason = reason
        self.code = 1 if reason in _OF_THE_MOMENT else names.EXIT_INVALID_INPUT
        self.message = {"reason": reason.value, "field": field, "message": sentence}


def config_invalid(field: str, sentence: str) -> CannotServe:
    """Return the error of an argument or a key of a configuration file."""
    return CannotServe(ServeReason.CONFIG_INVALID, field, sentence)


def model_invalid(sentence: str) -> CannotServe:
    """Return the error of a model folder that this engine cannot serve."""
    return CannotServe(ServeReason.MODEL_INVALID, "spec.model.uri", sentence)


def adapter_invalid(name: str, sentence: str) -> CannotServe:
    """Return the error of one adapter, by the name it is served under."""
    return CannotServe(ServeReason.ADAPTER_INVALID, f"lora-modules.{name}", sentence)
