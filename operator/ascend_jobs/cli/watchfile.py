"""`ascendctl watch -f FILE`: all objects of a file, the story of each in turn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ascend_jobs.cli import exits
from ascend_jobs.cli.kube import Kube
from ascend_jobs.cli.references import name_of, namespace_of, references
from ascend_jobs.cli.target import PLURALS, Target

Identity = tuple[str, str, str]
"""Kind, namespace, name."""


class FileUnusable(Exception):
    """A file that cannot be read, or has nothing to follow in it; the message says why."""


def watch_file(connect: Callable[[], Kube], file: str) -> int:
    """Follow the objects of a file, jobs first, then services, then evaluations, until the last one is done.

    Returns the exit code of the first that failed, else 0. What waits for one that failed is not followed: it would
    never end. Raises FileUnusable before anything is asked of the cluster.
    """
    from ascend_jobs.cli.watch import watch_one

    values = followed(_text(file), file)
    kube = connect()
    code, failed = exits.OK, set[Identity]()
    for number, value in enumerate(values):
        target, namespace = Target(PLURALS[value["kind"]], name_of(value)), namespace_of(value, kube.namespace)
        lost = next((waits for waits in _awaited(value, namespace) if waits in failed), None)
        if lost is not None:
            print(f"{target.short} is not followed: it waits for {Target(PLURALS[lost[0]], lost[2]).short}")
            failed.add((value["kind"], namespace, target.name))
            continue
        print(f"{chr(10) * bool(number)}==> {target.short}", flush=True)
        ended = watch_one(replace(kube, namespace=namespace), target)
        if ended != exits.OK:
            failed.add((value["kind"], namespace, target.name))
            code = code or ended
    return code


def followed(text: str, file: str) -> list[dict[str, Any]]:
    """Return the objects of a text that can be followed, in the order in which one waits for the other.

    Raises FileUnusable when there are none, or one has no name.
    """
    import yaml

    from ascend_jobs.cli.lines import documents
    from ascend_jobs.cli.validate import is_ours

    try:
        values = [d.value for d in documents(text) if is_ours(d.value) and d.value.get("kind") in PLURALS]
    except yaml.YAMLError as err:
        raise FileUnusable(f"{file}: no YAML: {err}") from err
    if not values:
        raise FileUnusable(f"{file}: nothing to follow in it ({', '.join(PLURALS)})")
    nameless = next((value for value in values if not name_of(value)), None)
    if nameless is not None:
        raise FileUnusable(f"{file}: a {nameless['kind']} has no metadata.name: follow it by the name that it got")
    return sorted(values, key=lambda value: list(PLURALS).index(value["kind"]))


def _awaited(value: Mapping[str, Any], namespace: str) -> Iterator[Identity]:
    for reference in references(value):
        if reference.waits:
            yield reference.kind, namespace, reference.name


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as err:
        raise FileUnusable(f"{file}: {err}") from err
