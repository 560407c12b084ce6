"""Reading what people and models write: numbers in a text, texts that differ in nothing that counts."""

from __future__ import annotations

import re
import unicodedata

_NUMBER = re.compile(r"(?:(?<![\w)])-)?\d[\d,]*(?:\.\d+)?")
"""A minus counts only where it cannot be a dash or a subtraction."""


def numbers_in(text: str) -> list[str]:
    """Return the numbers of a text in order, without thousands separators."""
    return [number.replace(",", "") for number in _NUMBER.findall(text)]


def plain(text: str) -> str:
    """Return a text without what exact scoring ignores: case, width, outer and repeated spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
