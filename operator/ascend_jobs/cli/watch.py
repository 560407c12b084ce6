"""`ascendctl watch ftj/NAME`: follow a job by the watch API until it is done."""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ascend_jobs.cli import exits
from ascend_jobs.cli.kube import Json, Kube, KubeError, add_cluster_options
from ascend_jobs.cli.screen import Screen
from ascend_jobs.cli.target import Target, parse_target, read_job
from ascend_jobs.cluster.clock import utc_now

if TYPE_CHECKING:
    from ascend_jobs.api.finetunejob import FineTuneJob

_REDRAW_SECONDS = 1.0
_RECONNECT_SECONDS = 1.0
_PATIENCE = 60.0
"""Seconds without an answer of the API server after which watching ends."""
_ENDS = {"Complete": exits.OK, "Failed": exits.FAILED}

Seen = Json | KubeError | None
"""What the reading thread hands over: the job as it is now, None when it is gone, or an error that ends watching."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "watch",
        help="follow a job: phase, pods, step, loss, speed, time left, then the result",
        description="Follow a job until it is Complete (exit code 0) or Failed (1); 3 when there is none of that name "
        "or it is deleted meanwhile. On a terminal one block is redrawn, elsewhere a line is printed at each change. "
        "Ctrl-C ends watching, not the job.",
    )
    parser.add_argument("job", type=parse_target, metavar="ftj/NAME")
    parser.add_argument("--forever", action="store_true", help="go on watching after the job's end")
    add_cluster_options(parser)
    parser.set_defaults(func=watch)


def watch(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    kube, target = Kube.connect(args), args.job
    seen: queue.Queue[Seen] = queue.Queue()
    ended = threading.Event()
    threading.Thread(target=_read, args=(kube, target, seen, ended), daemon=True).start()
    try:
        with Screen() as screen:
            return _Watcher(target, screen, forever=args.forever).run(seen)
    finally:
        ended.set()


class _Watcher:
    """Shows what the reading thread hands over, until the job is done or gone."""

    def __init__(self, target: Target, screen: Screen, *, forever: bool) -> None:
        self._target, self._screen, self._forever = target, screen, forever
        self._job: FineTuneJob | None = None
        self._losses: list[float] = []
        self._last_step = -1
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
            self._take(found)
            self._draw()
            if self._job is not None and self._job.status.phase in _ENDS and not self._forever:
                return self._finish(self._job)

    def _take(self, body: Json) -> None:
        from ascend_jobs.api.finetunejob import FineTuneJob
        from ascend_jobs.errors import SpecInvalid

        try:
            self._job = FineTuneJob.parse(body)
        except SpecInvalid:
            self._job = FineTuneJob.without_spec(body)
        progress = self._job.status.progress
        if progress is None or progress.step < self._last_step:
            self._losses.clear()
            self._last_step = -1
        if progress is not None and progress.loss is not None and progress.step > self._last_step:
            self._losses.append(progress.loss)
            self._last_step = progress.step

    def _draw(self) -> None:
        from ascend_jobs.cli import story

        if self._job is None:
            return
        if self._screen.live:
            colour = "NO_COLOR" not in os.environ
            self._screen.draw(story.block(story.View(self._job, utc_now(), self._losses, colour)))
            return
        line = story.one_line(self._job)
        if line != self._printed:
            print(f"{utc_now():%H:%M:%S}  {line}", flush=True)
            self._printed = line

    def _finish(self, job: FineTuneJob) -> int:
        from ascend_jobs.cli.story import result

        print("\n".join(result(job)))
        return _ENDS[job.status.phase]

    def _gone(self) -> int:
        print(f"{self._target} was deleted", file=sys.stderr)
        return exits.NOT_FOUND


def _read(kube: Kube, target: Target, seen: queue.Queue[Seen], ended: threading.Event) -> None:
    """Hand over every state of the job; ends with None or an error."""
    try:
        for body in follow(kube, target, ended):
            seen.put(body)
        seen.put(None)
    except KubeError as err:
        seen.put(err)


def follow(kube: Kube, target: Target, ended: threading.Event) -> Iterator[Json]:
    """Yield the job now and after every change, until it is deleted or nobody looks any more (`ended`).

    A watch that ends is taken up where it was; a resourceVersion that is too old is read anew. Raises KubeError when
    there is no such job at first, when access is refused, or after a minute without the API server.
    """
    last = read_job(kube, target)
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
            yield body, False
        else:
            yield found, type_ == "DELETED"
