"""Which checkpoint an attempt continues from, which it may delete, and whether it still owns the workspace.

Attempts of one job share a workspace without locks. Each writes, before anything else, `attempts/<n>.json` with the
checkpoint it continues from. From then on an older attempt that still runs (its node was cut off, say) finds the
higher number and stops; and what it publishes all the same is in no later attempt's chain, since the chain goes from
record to record and takes nothing newer than what a record names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ascend_runtime.errors import Fenced
from ascend_runtime.folders import MANIFEST, read_json, write_json


@dataclass(frozen=True, order=True)
class Point:
    """A checkpoint's identity: the attempt that wrote it and the number of steps done."""

    attempt: int
    step: int


def point_folder(workspace: Path, point: Point) -> Path:
    """Return where a checkpoint lies."""
    return workspace / "checkpoints" / str(point.attempt) / f"step-{point.step:08d}"


def read_points(workspace: Path) -> frozenset[Point]:
    """Return the checkpoints that have a manifest; whether it is valid is found out when one is used."""
    found = workspace.glob(f"checkpoints/*/step-*/{MANIFEST}")
    matches = (re.fullmatch(r"(\d+)/step-(\d{8})", "/".join(path.parts[-3:-1])) for path in found)
    return frozenset(Point(int(match[1]), int(match[2])) for match in matches if match)


def read_records(workspace: Path) -> dict[int, Point | None]:
    """Return for each attempt that started the checkpoint it continued from; one that does not read counts as none."""
    numbers = (re.fullmatch(r"(\d+)\.json", path.name) for path in (workspace / "attempts").glob("*.json"))
    return {int(match[1]): _parse_record(workspace / "attempts" / match[0]) for match in numbers if match}


def write_record(workspace: Path, attempt: int, origin: Point | None) -> None:
    """Record that an attempt started and from which checkpoint it continues; this fences all earlier attempts."""
    folder = workspace / "attempts"
    folder.mkdir(parents=True, exist_ok=True)
    continues = None if origin is None else {"attempt": origin.attempt, "step": origin.step}
    write_json(folder / f"{attempt}.json", {"attempt": attempt, "continuesFrom": continues})


def check_fence(workspace: Path, attempt: int) -> None:
    """Raise Fenced when a later attempt has started."""
    latest = max(read_records(workspace), default=attempt)
    if latest > attempt:
        raise Fenced(f"attempt {latest} owns the workspace; attempt {attempt} stops")


def chain(attempt: int, records: Mapping[int, Point | None], points: Collection[Point]) -> tuple[Point, ...]:
    """Return the checkpoints an attempt may continue from, the best first.

    Its own, newest first; then those of the attempt it continued (for one without a record: of the newest earlier
    attempt), none newer than the record names; and so on down.
    """
    return tuple(
        point
        for writer, newest in _links(attempt, records)
        for point in sorted(points, reverse=True)
        if point.attempt == writer and (newest is None or point.step <= newest)
    )


def surplus(
    attempt: int, records: Mapping[int, Point | None], points: Collection[Point], keep: int
) -> tuple[Point, ...]:
    """Return the checkpoints to delete: all of this and earlier attempts but the best `keep` of the chain."""
    kept = chain(attempt, records, points)[:keep]
    return tuple(sorted(point for point in points if point.attempt <= attempt and point not in kept))


def _links(attempt: int, records: Mapping[int, Point | None]) -> Iterator[tuple[int, int | None]]:
    """Yield the chain's attempts with the newest step that counts of each (None: every step)."""
    yield attempt, None
    if attempt in records:
        origin = records[attempt]
    else:
        writer = max((number for number in records if number < attempt), default=None)
        if writer is None:
            return
        yield writer, None
        attempt, origin = writer, records[writer]
    while origin is not None and origin.attempt < attempt:
        yield origin.attempt, origin.step
        attempt, origin = origin.attempt, records.get(origin.attempt)


def _parse_record(path: Path) -> Point | None:
    continues = (read_json(path) or {}).get("continuesFrom")
    if not isinstance(continues, dict):
        return None
    attempt, step = continues.get("attempt"), continues.get("step")
    return Point(attempt, step) if isinstance(attempt, int) and isinstance(step, int) else None
