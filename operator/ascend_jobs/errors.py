"""Errors whose type says what happens next.

    JobError                    has a condition reason, a message for people, and seconds until the next look
    |- SpecInvalid              only a change of the spec helps: Stalled=True, no retry
    |- MissingPrerequisite      a PVC, queue or CRD is not there yet, a name is taken: Stalled=True, looked at again
    |- Waiting                  will change by itself: no warning, looked at again
    Outdated                    something newer was written meanwhile: the pass is discarded and repeated
    ApiError                    the API server refused or failed; an outage or a bug, retried with backoff

Raised once, logged once (in the work loop).
"""

from __future__ import annotations


class JobError(Exception):
    """The pass cannot go on for a reason that the job's status has to tell."""

    def __init__(self, reason: str, message: str, *, retry_after: float | None = None) -> None:
        """Take a condition's reason (CamelCase), a sentence, seconds until the next look (None: wait for events)."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class SpecInvalid(JobError):
    """Only a change of the spec helps."""


class MissingPrerequisite(JobError):
    """Something that somebody else has to provide is not there yet."""


class Waiting(JobError):
    """Not ready yet; nothing is wrong."""


class Outdated(Exception):
    """A write was refused because something newer is there: discard the pass, observe again."""


class ApiError(Exception):
    """An answer of the API server that no caller expected."""

    def __init__(self, status: int, message: str, *, reason: str = "") -> None:
        """Take the HTTP status (0: no answer), the server's message and its reason (CamelCase, may be empty)."""
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.message = message
        self.reason = reason
