"""The part of a Dockerfile that one target needs.

The classic builder runs every stage above the target. Handing it only the stages the target stands on keeps a build
short and its context small, and lets a digest of that part say whether anything of the target changed.
"""

from __future__ import annotations

import re

_FROM = re.compile(r"^FROM (\S+) AS (\S+)$", re.MULTILINE)
_COPY_FROM = re.compile(r"^COPY .*--from=(\S+)", re.MULTILINE)


def slice_for(dockerfile: str, target: str) -> str:
    """Return the Dockerfile with only the stages that a target needs, in their order.

    Raises KeyError when there is no such target.
    """
    head, stages = split_stages(dockerfile)
    needed = {target}
    for name in reversed(stages):  # a stage can only refer to stages above it
        if name in needed:
            needed |= references(stages[name]) & set(stages)
    if target not in stages:
        raise KeyError(target)
    return head + "".join(text for name, text in stages.items() if name in needed)


def split_stages(dockerfile: str) -> tuple[str, dict[str, str]]:
    """Return what stands above the first stage, and the text of each stage by name."""
    starts = list(_FROM.finditer(dockerfile))
    ends = [match.start() for match in starts[1:]] + [len(dockerfile)]
    stages = {match[2]: dockerfile[match.start() : end] for match, end in zip(starts, ends, strict=True)}
    return dockerfile[: starts[0].start()], stages


def references(stage: str) -> set[str]:
    """Return the names a stage builds on or copies from, images included."""
    return {match[1] for match in _FROM.finditer(stage)} | set(_COPY_FROM.findall(stage))
