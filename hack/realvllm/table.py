"""What agrees and what differs, line by line."""

from __future__ import annotations


class Table:
    """Lines printed as they come, and their sum at the end."""

    def __init__(self, title: str) -> None:
        """Take what is checked."""
        self._title = title
        self._different = self._agreed = 0

    def note(self, what: str, text: str) -> None:
        """Print a line that is neither right nor wrong."""
        self._line("", what, text)

    def row(self, what: str, agrees: bool, text: str = "") -> bool:
        """Print a line; returns `agrees`."""
        self._agreed += agrees
        self._different += not agrees
        self._line("agrees" if agrees else "DIFFERS", what, text)
        return agrees

    def printed(self) -> bool:
        """Print the sum; return whether all agree."""
        print(f"{self._title}: {self._agreed} agree, {self._different} differ")
        return not self._different

    def _line(self, verdict: str, what: str, text: str) -> None:
        print(f"{verdict:8} {what:42} {text}", flush=True)
