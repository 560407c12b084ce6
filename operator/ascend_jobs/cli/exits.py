"""Exit codes of ascendctl."""

OK = 0
FAILED = 1
"""The job failed, or what was checked is not valid."""
USAGE = 2
NOT_FOUND = 3
CLUSTER = 4
"""The cluster cannot be reached, or refused."""
INTERRUPTED = 130
"""Ctrl-C, as shells have it."""
