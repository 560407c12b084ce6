"""What an analysis finds: one value a finding, the rows of the tables that it also goes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ascend_runtime.migrate.tables import remedy_for

SEVERITIES = ("info", "minor", "major", "blocker")
"""Mildest first. info: nothing to do; minor: a line to change; major: a part to rework; blocker: no way as it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place in the project and what it means for migration; lines from 1 in the original file, 0 for none."""

    rule: str
    severity: str
    file: str
    line: int
    end_line: int
    subject: str
    """The API, library, variable or operator."""
    message: str
    remedy: str = ""
    minutes: int = 0
    """Estimated work to resolve it once; further places of the same subject cost a fifth."""
    source: str = ""


def make_finding(rule: str, file: str, lines: tuple[int, int], subject: str, message: str, key: str = "") -> Finding:
    """Return a finding with severity, work and remedy of the first pattern that fits `key` (else the subject)."""
    remedy = remedy_for(key or subject)
    text, source = remedy.text, remedy.source
    return Finding(rule, remedy.severity, file, *lines, subject, message, text, remedy.minutes, source)


def note(rule: str, file: str, lines: tuple[int, int], subject: str, message: str) -> Finding:
    """Return a finding that asks for nothing: advice, or what is converted by itself."""
    return Finding(rule, "info", file, *lines, subject, message)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings without doubles, by file, line, rule and subject."""
    return sorted(set(findings), key=lambda one: (one.file, one.line, one.rule, one.subject, one.end_line, one.message))
