"""`ascendctl watch TARGET`: follow a job, a service or an evaluation by the watch API until it is done."""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol

from ascend_jobs import names
from ascend_jobs.cli import exits
from ascend_jobs.cli.kube import Json, Kube, KubeError, add_cluster_options
from ascend_jobs.cli.screen import Screen
from ascend_jobs.cli.target import Target, parse_target, read_object
from ascend_jobs.cluster.clock import utc_now

_REDRAW_SECONDS = 1.0
_RECONNECT_SECONDS = 1.0
_PATIENCE = 60.0
"""Seconds without an answer of the API server after which watching ends."""

Seen = Json | KubeError | None
"""What the reading thread hands over: the object as it is now, None when it is gone, or an error that ends watching."""


class Story(Protocol):
    """What is told of an object: it takes every state, and tells the present one."""

    def take(self, body: dict[str, Any]) -> None:
        """Take the object as it is now."""
        ...

    def block(self, now: datetime, *, colour: bool = False) -> list[str]:
        """Return the block that is redrawn on a terminal."""
        ...

    def line(self) -> str:
        """Return the line that is printed where there is no terminal, each time it changes."""
        ...

    def end(self) -> int | None:
        """Return the exit code when there is nothing more to wait for, else None."""
        ...

    def result(self) -> list[str]:
        """Return what it came to."""
        ...


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "watch",
        help="follow a job, a service or an evaluation until it is done, then show the result",
        description="Follow an object to its end: a job until it is Complete (exit code 0) or Failed (1); a service "
        "until it is Ready (0) or its version is given up (1); an evaluation until a run is over: 0 when there is a "
        "result and every criterion holds, else 1. 3 when there is none of that name or it is deleted meanwhile. With "
        "-f all objects of a file, one after the other; what waits for one that failed is left out. On a terminal one "
        "block is redrawn, elsewhere a line is printed at each change. Ctrl-C ends watching, not the object.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("target", nargs="?", type=parse_target, metavar="TARGET", help="ftj/, aisvc/ or evj/NAME")
    what.add_argument("-f", "--file", metavar="FILE", help="a YAML file; - is standard input")
    parser.add_argument("--forever", action="store_true", help="go on watching after the end (one object alone)")
    add_cluster_options(parser)
    parser.set_defaults(func=watch)


def watch(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if args.file is None:
        return watch_one(Kube.connect(args), args.target, forever=args.forever)
    from ascend_jobs.cli.watchfile import FileUnusable, watch_file

    if args.forever:
        print("ascendctl: --forever goes with one object, not with -f", file=sys.stderr)
        return exits.USAGE
    try:
        return watch_file(lambda: Kube.connect(args), args.file)
    except FileUnusable as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.USAGE


def watch_one(kube: Kube, target: Target, *, forever: bool = False) -> int:
    """Follow one object of the connection's namespace to its end; return the exit code."""
    seen: queue.Queue[Seen] = queue.Queue()
    ended = threading.Event()
    threading.Thread(target=_read, args=(kube, target, seen, ended), daemon=True).start()
    try:
        with Screen() as screen:
            return _Watcher(target, screen, forever=forever).run(seen)
    finally:
        ended.set()


def story_of(target: Target) -> Story:
    """Return the empty story of a kind; models are imported late."""
    from ascend_jobs.cli.evaluationstory import EvaluationStory
    from ascend_jobs.cli.servicestory import ServiceStory
    from ascend_jobs.cli.story import JobStory

    kinds: dict[str, Callable[[], Story]] = {
        names.FINE_TUNE_JOBS: JobStory,
        names.INFERENCE_SERVICES: ServiceStory,
        names.EVALUATION_JOBS: EvaluationStory,
    }
    return kinds[target.plural]()


class _Watcher:
    """Shows what the reading thread hands over, until the object is done or gone."""

    def __init__(self, target: Target, screen: Screen, *, forever: bool) -> None:
        self._target, self._screen, self._forever = target, screen, forever
        self._story = story_of(target)
        self._printed = ""

    def run(self, seen: queue.Queue[Seen]) -> int:
        """Return the exit code."""
        while True:
            try:
                found = seen.get(timeout=_REDRAW_SECONDS)
            except queue.Empty:
                self._draw()
                continue
            if isinstance(found, KubeError):
                raise found
            if found is None:
                return self._gone()
            self._story.take(found)
            self._draw()
            code = self._story.end()
            if code is not None and not self._forever:
                print("\n".join(self._story.result()), flush=True)
                return code

    def _draw(self) -> None:
        if self._screen.live:
            self._screen.draw(self._story.block(utc_now(), colour="NO_COLOR" not in os.environ))
            return
        line = self._story.line()
        if line != self._printed:
            print(f"{utc_now():%H:%M:%S}  {line}", flush=True)
            self._printed = line

    def _gone(self) -> int:
        print(f"{self._target} was deleted", file=sys.stderr)
        return exits.NOT_FOUND


def _read(kube: Kube, target: Target, seen: queue.Queue[Seen], ended: threading.Event) -> None:
    """Hand over every state of the object; ends with None or an error."""
    try:
        for body in follow(kube, target, ended):
            seen.put(body)
        seen.put(None)
    except KubeError as err:
        seen.put(err)


def follow(kube: Kube, target: Target, ended: threading.Event) -> Iterator[Json]:
    """Yield the object now and after every change, until it is deleted or nobody looks any more (`ended`).

    A watch that ends is taken up where it was; a resourceVersion that is too old is read anew. Raises KubeError when
    there is no such object at first, when access is refused, or after a minute without the API server.
    """
    last = read_object(kube, target)
    yield last
    failing_since: float | None = None
    while True:
        try:
            for seen, gone in _changes(kube, target, last):
                failing_since = None
                if gone:
                    return
                last = seen
                yield seen
        except KubeError as err:
            failing_since = failing_since or time.monotonic()
            if err.status == 404:
                return
            if err.status in (401, 403) or time.monotonic() - failing_since > _PATIENCE:
                raise
        if ended.wait(_RECONNECT_SECONDS):
            return


def _changes(kube: Kube, target: Target, body: Json) -> Iterator[tuple[Json, bool]]:
    """Yield (object, whether it is gone) for each event of one watch request; first read anew what is too old."""
    version, uid = body["metadata"]["resourceVersion"], body["metadata"]["uid"]
    for type_, found in kube.watch(target.collection(kube.namespace), target.name, version):
        if type_ == "ERROR":
            found = kube.get(target.path(kube.namespace))
            yield found, found["metadata"]["uid"] != uid
            return
        if type_ == "BOOKMARK":
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}}
        else:
            body = found
        yield body, type_ == "DELETED"
