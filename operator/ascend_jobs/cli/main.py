"""`ascendctl`, also `kubectl ascend`: follow objects, check files, ask models, fetch reports, run the operator."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ascend_jobs.cli import ask, canary, emulator, exits, operate, plan, report, validate, watch
from ascend_jobs.cli.kube import KubeError

_EPILOG = f"""\
exit codes: {exits.OK} done, {exits.FAILED} failed or not valid, {exits.USAGE} wrong usage, \
{exits.NOT_FOUND} not found, {exits.CLUSTER} no answer from the cluster, {exits.INTERRUPTED} Ctrl-C"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command sets `func`, which takes the arguments."""
    program = "kubectl ascend" if sys.argv[0].endswith("kubectl-ascend") else "ascendctl"
    parser = argparse.ArgumentParser(prog=program, description="Ascend NPU jobs on Kubernetes.", epilog=_EPILOG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (watch, validate, plan, ask, report, canary, operate, emulator):
        command.add_parser(commands)
    version = commands.add_parser("version", help="print the version of this program")
    version.set_defaults(func=print_version)
    return parser


def print_version(_: argparse.Namespace) -> int:
    """Print the version of the installed distribution."""
    from importlib.metadata import version

    print(f"ascend-jobs {version('ascend-jobs')}")
    return exits.OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code, with errors as one line on stderr."""
    args = make_parser().parse_args(arguments)
    try:
        return int(args.func(args))
    except KubeError as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.NOT_FOUND if err.status == 404 else exits.CLUSTER
    except KeyboardInterrupt:
        return exits.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
