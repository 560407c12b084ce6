"""`ascendctl migrate convert`: a GPU project to one that runs on Ascend (docs/migrate-convert.md)."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ascend_jobs.cli import exits

if TYPE_CHECKING:
    from ascend_runtime.migrate.convert.folder import Outcome

_DESCRIPTION = """\
Modes: auto puts torch_npu's transfer_to_npu into entry files; convert rewrites source files in a copy of the project;
patch writes the same as a unified diff, and with --branch as a commit on a new branch, and touches nothing else.
What cannot be changed safely is listed in findings.json."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `convert` to the commands of `ascendctl migrate`."""
    parser = commands.add_parser("convert", help="convert a GPU project for Ascend", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the project")
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="OUT", help="folder for the results")
    parser.add_argument("--mode", choices=("auto", "convert", "patch"), default="convert", help="default: %(default)s")
    parser.add_argument("--torch-version", type=_version, default=(2, 7), metavar="X.Y", help="default: 2.7")
    parser.add_argument(
        "--entry", action="append", default=[], metavar="FILE", help="auto: entry file, in DIR; repeatable"
    )
    parser.add_argument("--branch", default="", metavar="NAME", help="patch: also commit on this new git branch of DIR")
    parser.add_argument("--distributed", action="store_true", help="make a single-card script distributed (DDP)")
    parser.add_argument("--main", default="", metavar="FILE", help="distributed: the entry file, in DIR")
    parser.add_argument(
        "--model", default="model", metavar="NAME", help="distributed: the model's variable, as self.model"
    )
    parser.set_defaults(func=convert)


def _version(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.\d+)?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version as 2.7.1")
    return int(found[1]), int(found[2])


def convert(args: argparse.Namespace) -> int:
    """Convert and print a summary; exit code 2 for options that do not go together, 1 for what cannot be written."""
    from ascend_runtime.migrate.convert.branch import BranchError
    from ascend_runtime.migrate.convert.run import InvalidOptions, Mode, Options, run

    if args.distributed != bool(args.main):
        print("ascendctl: --distributed and --main go together", file=sys.stderr)
        return exits.USAGE
    entries = frozenset(args.entry)
    options = Options(Mode(args.mode), args.torch_version, entries, args.main, args.model, args.branch)
    try:
        outcome = run(args.folder, args.output, options)
    except InvalidOptions as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.USAGE
    except (BranchError, OSError) as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.FAILED
    _print(outcome, args.output)
    return exits.OK


def _print(outcome: Outcome, output: Path) -> None:
    edits = sum(len(item.edits) for item in outcome.changed)
    print(
        f"{outcome.files} files read, {len(outcome.changed)} changed by {edits} edits, {len(outcome.findings)} findings"
    )
    for path, reason in sorted(outcome.skipped.items()):
        print(f"left alone: {path!a}: {reason}")
    print(f"results in {output}")
