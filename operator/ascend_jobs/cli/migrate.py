"""`ascendctl migrate analyse`: what stands between a GPU project and Ascend NPUs.

The work is done by ascend_runtime.migrate, which needs nothing but the standard library and reads files only; so the
same code runs here and in the phase of a job.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_jobs.cli import exits, migrate_convert

if TYPE_CHECKING:
    from ascend_runtime.migrate.analyse import Analysis

_DEFAULT_VERSION = "2.7.1"


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Add `migrate analyse` and `migrate convert`."""
    parser = subparsers.add_parser("migrate", help="move a PyTorch project from GPUs to Ascend NPUs")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    analyse = commands.add_parser("analyse", help="find what does not run on Ascend, and what to do about it")
    analyse.add_argument("folder", metavar="DIR", type=Path, help="folder of the project")
    analyse.add_argument("--output", "-o", required=True, type=Path, metavar="OUT", help="folder for the reports")
    analyse.add_argument(
        "--torch-version", default=_DEFAULT_VERSION, metavar="VERSION", help="PyTorch on Ascend (%(default)s)"
    )
    analyse.add_argument("--chip", default="", metavar="CHIP", help="A2, A3 or 950DT (all of them)")
    analyse.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (as many as there are cores)")
    analyse.set_defaults(func=run_analyse)
    migrate_convert.add_parser(commands)


def run_analyse(args: argparse.Namespace) -> int:
    """Analyse, write the reports, print the verdict; return USAGE for a wrong folder, version or chip."""
    from ascend_runtime.migrate.analyse import analyse
    from ascend_runtime.migrate.tables import CHIPS
    from ascend_runtime.migrate.write import write_analysis

    if args.chip and args.chip not in CHIPS:
        return _refuse(f"--chip: {args.chip} is none of {', '.join(CHIPS)}")
    if args.jobs < 0:
        return _refuse("--jobs: has to be 0 or more")
    try:
        result = analyse(args.folder, args.torch_version, chip=args.chip, jobs=args.jobs)
    except (ValueError, NotADirectoryError) as err:
        return _refuse(str(err))
    try:
        write_analysis(result, args.output)
    except OSError as err:
        print(f"ascendctl: --output: {err}", file=sys.stderr)
        return exits.FAILED
    _print(result, args.output)
    return exits.OK


def _refuse(message: str) -> int:
    print(f"ascendctl: {message}", file=sys.stderr)
    return exits.USAGE


def _print(result: Analysis, output: Path) -> None:
    assessment = result.assessment
    print(f"{assessment.feasibility}: about {assessment.hours:g} hours of work by hand")
    print(f"  {result.files} files, {result.lines} lines; PyTorch {result.torch_version}, {result.chip or 'all chips'}")
    counts = ", ".join(f"{count} {severity}" for severity, count in reversed(assessment.counts.items()))
    print(f"  findings: {counts}")
    for reason in assessment.reasons:
        print(f"  {_clean(reason)}")
    for skipped in result.skipped:
        print(f"  skipped {_clean(skipped.name)}: {_clean(skipped.reason)}")
    print(f"reports in {output}")


def _clean(text: str) -> str:
    """Return text of the project without what a terminal would obey."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
